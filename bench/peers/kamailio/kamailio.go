// Package kamailio runs Kamailio as a presence server in memory (Debian's packages kamailio and kamailio-presence-modules), for measurements and tests.
package kamailio

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// config is Kamailio's configuration; %[1]s is its address.
const config = `#!KAMAILIO
debug=0
log_stderror=yes
children=2
auto_aliases=no
disable_tcp=yes
listen=udp:%[1]s
mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules/"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "presence.so"
loadmodule "presence_dialoginfo.so"
modparam("presence", "subs_db_mode", 0)
modparam("presence", "publ_cache", 2)
modparam("presence", "server_address", "sip:%[1]s")
modparam("presence", "max_expires", 7200)
modparam("presence", "subs_htable_size", 17)
request_route {
	if (!t_newtran()) { sl_reply_error(); exit; }
	if (method == "SUBSCRIBE") { handle_subscribe(); t_release(); exit; }
	if (method == "PUBLISH") { handle_publish(); t_release(); exit; }
	t_reply("404", "Not here");
}
`

// ErrMissing says that Kamailio is not installed.
var ErrMissing = errors.New("the program kamailio is not installed; on Debian: apt-get install kamailio kamailio-presence-modules")

// Start starts Kamailio on a free UDP port of loopback, with its files in a directory. group is its process group.
func Start(dir string) (address string, group int, stop func(), err error) {
	program, err := exec.LookPath("kamailio")
	if err != nil {
		program = "/usr/sbin/kamailio"
	}
	if _, err := os.Stat(program); err != nil {
		return "", 0, nil, ErrMissing
	}
	free, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return "", 0, nil, err
	}
	address = free.LocalAddr().String()
	_ = free.Close()
	file := filepath.Join(dir, "kamailio.cfg")
	if err := os.WriteFile(file, fmt.Appendf(nil, config, address), 0o600); err != nil {
		return "", 0, nil, err
	}
	cmd := exec.Command(program, "-DD", "-E", "-f", file, "-m", "1024", "-M", "32", "-Y", dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return "", 0, nil, err
	}
	return address, cmd.Process.Pid, func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) // its own group: the server and its children
		_ = cmd.Wait()
	}, nil
}
