package sip

import (
	"encoding/hex"
	"net"
	"net/netip"
	"testing"
)

// binding is the head of a binding request with the transaction id of RFC 5769 §2.
const binding = "000100002112a442b7e7a701bc34d686fa87dfae"

// The answers have the mapped addresses of RFC 5769 §2.2 and §2.3.
func TestRFC5769(t *testing.T) {
	ask, _ := hex.DecodeString(binding)
	if !isSTUN(ask) {
		t.Fatal("a binding request was not known")
	}
	for from, want := range map[string]string{
		"192.0.2.1:32853": "0101000c2112a442b7e7a701bc34d686fa87dfae" + "002000080001a147e112a643",
		"[2001:db8:1234:5678:11:2233:4455:6677]:32853": "010100182112a442b7e7a701bc34d686fa87dfae" + "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9",
	} {
		if got := hex.EncodeToString(appendSTUN(nil, ask, netip.MustParseAddrPort(from))); got != want {
			t.Errorf("%s is answered\n%s, want\n%s", from, got, want)
		}
	}
	for name, text := range map[string]string{"nothing": "", "a short one": binding[:38], "another cookie": "000100002112a443b7e7a701bc34d686fa87dfae",
		"an answer": "010100002112a442b7e7a701bc34d686fa87dfae", "a wrong length": "000100042112a442b7e7a701bc34d686fa87dfae", "an odd length": "000100022112a442b7e7a701bc34d686fa87dfae0000"} {
		data, _ := hex.DecodeString(text)
		if isSTUN(data) {
			t.Errorf("%s was taken for a binding request", name)
		}
	}
}

// RFC 5626 §4.4.2: a keep-alive on UDP is answered with where it came from, and line breaks alone are not.
func TestKeepAlivesOnUDP(t *testing.T) {
	_, conn := startEdge(t, UDP, nil)
	ask, _ := hex.DecodeString(binding)
	for _, text := range []string{ping, pong, "\x00", string(ask)} {
		if _, err := conn.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	buffer := make([]byte, 1024)
	n, err := conn.Read(buffer)
	if want := appendSTUN(nil, ask, conn.LocalAddr().(*net.UDPAddr).AddrPort()); err != nil || string(buffer[:n]) != string(want) {
		t.Errorf("the answer is %x, %v; want %x", buffer[:n], err, want)
	}
}

func FuzzSTUN(f *testing.F) {
	ask, _ := hex.DecodeString(binding)
	f.Add(ask)
	f.Add([]byte(ping))
	f.Fuzz(func(t *testing.T, data []byte) {
		if !isSTUN(data) {
			return
		}
		for _, from := range []string{"192.0.2.1:1", "[2001:db8::1]:65535"} {
			answer := appendSTUN(nil, data, netip.MustParseAddrPort(from))
			if len(answer) > 44 || string(answer[4:stunHead]) != string(data[4:stunHead]) || isSTUN(answer) {
				t.Fatalf("%x is answered %x", data, answer)
			}
		}
	})
}
