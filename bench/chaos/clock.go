package chaos

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The kernel has one time of day for all processes, and a static Go binary calls no C library that could be replaced. It calls
// the vDSO, code that the kernel maps into each process. This file overwrites that code in one process.

// canJump says whether setClockOffset works on this machine.
const canJump = runtime.GOARCH == "amd64" && runtime.GOOS == "linux"

// gettime replaces the vDSO's clock_gettime. It asks the kernel, and adds its own last eight bytes to the seconds of
// CLOCK_REALTIME. Those bytes are at a multiple of eight, so that a write changes all of them at once.
var gettime = []byte{
	0xb8, 228, 0, 0, 0, // mov eax, SYS_clock_gettime
	0x0f, 0x05, // syscall
	0x85, 0xff, // test edi, edi
	0x75, 10, // jne to the return
	0x48, 0x8b, 0x0d, 6, 0, 0, 0, // mov rcx, [rip+6]
	0x48, 0x01, 0x0e, // add [rsi], rcx
	0xc3,       // ret
	0xcc, 0xcc, // never reached
	0, 0, 0, 0, 0, 0, 0, 0, // the offset in seconds
}

// gettimeSeconds is where the offset is in gettime.
const gettimeSeconds = 24

// setClockOffset sets how far a process's time of day is ahead of the machine's, in whole seconds. It stops the process while it
// replaces the code, and waits until no thread is inside of it.
func setClockOffset(pid int, by time.Duration) error {
	memory, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer memory.Close()
	from, to, err := vdso(pid)
	if err != nil {
		return err
	}
	image := make([]byte, to-from)
	if _, err := memory.ReadAt(image, int64(from)); err != nil {
		return fmt.Errorf("the vDSO of %d: %w", pid, err)
	}
	at, err := symbol(image, "__vdso_clock_gettime")
	if err != nil {
		return err
	}
	seconds := binary.LittleEndian.AppendUint64(nil, uint64(int64(by/time.Second)))
	if bytes.Equal(image[at:at+gettimeSeconds], gettime[:gettimeSeconds]) {
		_, err = memory.WriteAt(seconds, int64(from+at+gettimeSeconds))
		return err
	}
	code := append(append([]byte{}, gettime[:gettimeSeconds]...), seconds...)
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		_ = syscall.Kill(pid, syscall.SIGSTOP)
		stopped, outside := false, false
		for err == nil && !stopped && time.Now().Before(deadline) {
			stopped, outside, err = threadsStopped(pid, from, to)
		}
		if err == nil && stopped && outside {
			_, err = memory.WriteAt(code, int64(from+at))
		}
		_ = syscall.Kill(pid, syscall.SIGCONT)
		if err != nil || stopped && outside {
			return err
		}
	}
	return fmt.Errorf("process %d did not stop outside of its vDSO within 10 s", pid)
}

// vdso gives the addresses of a process's vDSO.
func vdso(pid int) (from, to uint64, err error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(maps)) {
		if strings.HasSuffix(line, "[vdso]\n") {
			_, err := fmt.Sscanf(line, "%x-%x", &from, &to)
			return from, to, err
		}
	}
	return 0, 0, fmt.Errorf("process %d has no vDSO", pid)
}

// symbol gives the offset at which a function begins in an image. The function must be long enough to hold gettime.
func symbol(image []byte, name string) (uint64, error) {
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return 0, err
	}
	all, err := f.DynamicSymbols()
	if err != nil {
		return 0, err
	}
	for _, s := range all {
		if s.Name == name && s.Size >= uint64(len(gettime)) && s.Value%8 == 0 {
			return s.Value, nil
		}
	}
	return 0, fmt.Errorf("the vDSO has no %s of %d bytes", name, len(gettime))
}

// threadsStopped says whether all threads of a process are stopped, and whether all of them are outside of an address range.
func threadsStopped(pid int, from, to uint64) (stopped, outside bool, err error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	if err != nil || len(threads) == 0 {
		return false, false, fmt.Errorf("process %d has no threads: %v", pid, err)
	}
	outside = true
	for _, thread := range threads {
		stat, err := os.ReadFile(thread + "/stat")
		if err != nil {
			return false, false, err
		}
		if _, rest, ok := strings.Cut(string(stat), ") "); !ok || rest[0] != 'T' {
			return false, false, nil
		}
		call, err := os.ReadFile(thread + "/syscall") // its last word is the program counter
		if err != nil {
			return false, false, err
		}
		part := strings.Fields(string(call))
		counter, err := strconv.ParseUint(part[len(part)-1], 0, 64)
		if err != nil {
			return false, false, nil // "running": not stopped yet
		}
		outside = outside && (counter < from || counter >= to)
	}
	return true, outside, nil
}
