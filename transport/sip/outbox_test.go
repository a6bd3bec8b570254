package sip

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// pair makes a connection of an outbox and the phone at its other end, with small buffers in the kernel.
func pair(t *testing.T) (*outbox, *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	phone, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = phone.(*net.TCPConn).SetReadBuffer(16 << 10)
	_ = c.(*net.TCPConn).SetWriteBuffer(16 << 10)
	o, err := newOutbox(c.(*net.TCPConn))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = phone.Close(); _ = c.Close() })
	_ = phone.SetDeadline(time.Now().Add(patience))
	return o, phone.(*net.TCPConn)
}

// A phone that does not read holds nobody up: Write returns at once, and past the bound the connection is closed.
func TestOutboxDoesNotWaitForAPhone(t *testing.T) {
	o, phone := pair(t)
	data, done := bytes.Repeat([]byte("x"), 1000), make(chan error, 1)
	go func() {
		for range 100_000 { // far more than the kernel and the outbox take
			if _, err := o.Write(data); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	select {
	case err := <-done:
		if !errors.Is(err, errTooSlow) {
			t.Errorf("Write failed with %v, not because the phone is too slow", err)
		}
	case <-time.After(unsentTime - time.Second): // drain's own deadline comes later
		t.Fatal("Write waits for the phone")
	}
	if _, err := o.Write(data); !errors.Is(err, errTooSlow) {
		t.Errorf("Write after the end: %v", err)
	}
	if _, err := io.Copy(io.Discard, phone); errors.Is(err, net.ErrClosed) {
		t.Errorf("the phone's own end is closed: %v", err)
	}
	if _, err := o.Conn.Write(data); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the connection is not closed: %v", err)
	}
}

// What a phone reads late comes whole and in order.
func TestOutboxKeepsTheOrder(t *testing.T) {
	o, phone := pair(t)
	for i := range 8 {
		// Half of the bound: the goroutine that writes may not have noted yet that the round before is out.
		round := bytes.Repeat([]byte{byte(i)}, maxUnsent/2)
		for at := 0; at < len(round); at += 1024 {
			if _, err := o.Write(round[at : at+1024]); err != nil {
				t.Fatalf("round %d: %v", i, err)
			}
		}
		got := make([]byte, len(round))
		if _, err := io.ReadFull(phone, got); err != nil || !bytes.Equal(got, round) {
			t.Fatalf("round %d came otherwise: %v", i, err)
		}
	}
}

// After the phone has gone, Write says so.
func TestOutboxOfAPhoneThatHasGone(t *testing.T) {
	o, phone := pair(t)
	_ = phone.SetLinger(0)
	_ = phone.Close()
	for end := time.Now().Add(patience); ; {
		if _, err := o.Write([]byte("x")); err != nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal("Write goes on to a phone that has gone")
		}
	}
}
