package body

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// bound is how much of one outside value a document holds.
const bound = 1024

// text appends a value escaped for XML, without what XML 1.0 can't hold.
func text(dst []byte, s string) []byte {
	if len(s) > bound {
		s = s[:bound]
	}
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1, r < 0x20, r == 0x7f, r == 0xfffe, r == 0xffff:
		case r == '&':
			dst = append(dst, "&amp;"...)
		case r == '<':
			dst = append(dst, "&lt;"...)
		case r == '>':
			dst = append(dst, "&gt;"...)
		case r == '"':
			dst = append(dst, "&quot;"...)
		default:
			dst = append(dst, s[i:i+n]...)
		}
		i += n
	}
	return dst
}

func attribute(dst []byte, name, value string) []byte {
	dst = append(dst, ' ')
	dst = append(dst, name...)
	dst = append(dst, `="`...)
	dst = text(dst, value)
	return append(dst, '"')
}

func uri(dst []byte, address string) []byte {
	if !strings.HasPrefix(address, "sip:") && !strings.HasPrefix(address, "sips:") && !strings.HasPrefix(address, "tel:") {
		dst = append(dst, "sip:"...)
	}
	return text(dst, address)
}

// AppendDialogInfo appends an application/dialog-info+xml document (RFC 4235 §4.1).
func AppendDialogInfo(dst []byte, d DialogInfo) []byte {
	dst = append(dst, `<?xml version="1.0"?><dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="`...)
	dst = strconv.AppendUint(dst, uint64(d.Version), 10)
	dst = append(dst, `" state="full" entity="`...)
	dst = uri(dst, d.Entity)
	dst = append(dst, `">`...)
	dialogs := d.Dialogs
	if d.Single && len(dialogs) > 1 {
		best := 0
		for i := range dialogs {
			if importance(dialogs[i].State) > importance(dialogs[best].State) {
				best = i
			}
		}
		dialogs = dialogs[best : best+1]
	}
	if len(dialogs) == 0 && d.Dummy {
		dialogs = []Dialog{{ID: "0", State: "terminated"}}
	}
	for i := range dialogs {
		dst = appendDialog(dst, d.Entity, &dialogs[i])
	}
	return append(dst, "</dialog-info>"...)
}

func importance(state string) int {
	switch state {
	case "early":
		return 4
	case "confirmed":
		return 3
	case "proceeding":
		return 2
	case "trying":
		return 1
	}
	return 0
}

func appendDialog(dst []byte, entity string, d *Dialog) []byte {
	dst = append(dst, "<dialog"...)
	dst = attribute(dst, "id", d.ID)
	for _, a := range [...][2]string{{"call-id", d.CallID}, {"local-tag", d.LocalTag}, {"remote-tag", d.RemoteTag}, {"direction", d.Direction}} {
		if a[1] != "" {
			dst = attribute(dst, a[0], a[1])
		}
	}
	dst = append(dst, "><state>"...)
	dst = text(dst, d.State)
	dst = append(dst, "</state>"...)
	local := d.Local
	if local == "" {
		local = entity
	}
	dst = party(dst, "local", local)
	if d.Remote != "" {
		dst = party(dst, "remote", d.Remote)
	}
	return append(dst, "</dialog>"...)
}

func party(dst []byte, side, address string) []byte {
	dst = append(append(append(dst, '<'), side...), "><identity>"...)
	dst = uri(dst, address)
	dst = append(dst, `</identity><target uri="`...)
	dst = uri(dst, address)
	dst = append(dst, `"/></`...)
	return append(append(dst, side...), '>')
}

// AppendPIDF appends an application/pidf+xml document (RFC 3863 §4, RFC 4480 §3.2).
func AppendPIDF(dst []byte, p PIDF) []byte {
	dst = append(dst, `<?xml version="1.0" encoding="UTF-8"?><presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" entity="`...)
	dst = uri(dst, p.Entity)
	dst = append(dst, `"><tuple id="t1"><status><basic>`...)
	if p.Closed {
		dst = append(dst, "closed"...)
	} else {
		dst = append(dst, "open"...)
	}
	dst = append(dst, "</basic></status></tuple>"...)
	if p.State == "confirmed" {
		dst = append(dst, `<dm:person id="p1"><rpid:activities><rpid:on-the-phone/></rpid:activities></dm:person>`...)
	}
	return append(dst, "</presence>"...)
}

// AppendMessageSummary appends an application/simple-message-summary document (RFC 3842 §5.2).
func AppendMessageSummary(dst []byte, m MessageSummary) []byte {
	dst = append(dst, "Messages-Waiting: "...)
	if m.New > 0 || m.UrgentNew > 0 {
		dst = append(dst, "yes\r\n"...)
	} else {
		dst = append(dst, "no\r\n"...)
	}
	if m.Account != "" {
		dst = append(dst, "Message-Account: "...)
		account := strings.Map(func(r rune) rune {
			if r < 0x20 || r == 0x7f {
				return -1
			}
			return r
		}, m.Account[:min(len(m.Account), bound)])
		if !strings.Contains(account, ":") {
			dst = append(dst, "sip:"...)
		}
		dst = append(dst, account...)
		dst = append(dst, "\r\n"...)
	}
	dst = append(dst, "Voice-Message: "...)
	dst = strconv.AppendUint(dst, uint64(m.New), 10)
	dst = append(dst, '/')
	dst = strconv.AppendUint(dst, uint64(m.Saved), 10)
	dst = append(dst, " ("...)
	dst = strconv.AppendUint(dst, uint64(m.UrgentNew), 10)
	dst = append(dst, '/')
	dst = strconv.AppendUint(dst, uint64(m.UrgentSaved), 10)
	return append(dst, ")\r\n"...)
}
