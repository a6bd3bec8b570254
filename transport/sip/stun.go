package sip

import (
	"encoding/binary"
	"net/netip"
)

// The parts of STUN that a keep-alive needs (RFC 5389 §6, §15.2; RFC 5626 §4.4.2).
const (
	stunHead      = 20
	stunCookie    = 0x2112A442
	bindingAsk    = 0x0001
	bindingAnswer = 0x0101
	xorMapped     = 0x0020
)

// isSTUN says whether a datagram is a STUN binding request.
func isSTUN(data []byte) bool {
	return len(data) >= stunHead && binary.BigEndian.Uint16(data) == bindingAsk && binary.BigEndian.Uint32(data[4:]) == stunCookie &&
		int(binary.BigEndian.Uint16(data[2:])) == len(data)-stunHead && len(data)%4 == 0
}

// appendSTUN appends the answer to a binding request: the address that it came from.
func appendSTUN(dst, ask []byte, from netip.AddrPort) []byte {
	ip := from.Addr().AsSlice()
	family := byte(1)
	if len(ip) == 16 {
		family = 2
	}
	dst = binary.BigEndian.AppendUint16(dst, bindingAnswer)
	dst = binary.BigEndian.AppendUint16(dst, uint16(8+len(ip)))
	dst = append(dst, ask[4:stunHead]...)
	dst = binary.BigEndian.AppendUint16(dst, xorMapped)
	dst = binary.BigEndian.AppendUint16(dst, uint16(4+len(ip)))
	dst = append(dst, 0, family)
	dst = binary.BigEndian.AppendUint16(dst, from.Port()^(stunCookie>>16))
	for i, b := range ip {
		dst = append(dst, b^ask[4+i])
	}
	return dst
}
