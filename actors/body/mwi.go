package body

import (
	"bytes"
	"strconv"
)

// AppendMessageSummary appends an application/simple-message-summary document (RFC 3842 §5.2).
// Its lines end with CRLF.
func AppendMessageSummary(dst []byte, m MessageSummary) []byte {
	waiting := "no"
	if m.New > 0 || m.UrgentNew > 0 {
		waiting = "yes"
	}
	dst = append(append(append(dst, "Messages-Waiting: "...), waiting...), "\r\n"...)
	if m.Account != "" {
		dst = append(dst, "Message-Account: "...)
		start := len(dst)
		dst = appendURI(dst, m.Account)
		uri := bytes.ReplaceAll(dst[start:], []byte("&amp;"), []byte("&")) // appendURI escapes these for XML, and this is no XML
		uri = bytes.ReplaceAll(uri, []byte("&apos;"), []byte("'"))
		dst = append(append(dst[:start], uri...), "\r\n"...)
	}
	dst = append(dst, "Voice-Message: "...)
	dst = appendPair(dst, m.New, m.Saved)
	dst = append(dst, " ("...)
	dst = appendPair(dst, m.UrgentNew, m.UrgentSaved)
	return append(dst, ")\r\n"...)
}

// appendPair appends two counts as "new/saved".
func appendPair(dst []byte, a, b uint32) []byte {
	dst = strconv.AppendUint(dst, uint64(a), 10)
	dst = append(dst, '/')
	return strconv.AppendUint(dst, uint64(b), 10)
}
