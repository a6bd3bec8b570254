package subject

import "strings"

// inbox is the first token of NATS's inboxes. A user with inboxes of its own has inbox + "_" + a name instead.
const inbox = "_INBOX"

// MayAnswer says whether a node may publish an answer to this reply subject, which the sender of a message chose. Only an inbox
// may be answered: a subject whose first token is _INBOX or begins with "_INBOX_". NATS itself makes the other form that passes,
// _R_, in the place of an inbox in another account. Everything else is refused. A node has permission to publish into the
// journal and to the other nodes, also of another installation on the same NATS, and most senders do not: a node that answered
// there would lend the sender its permissions. No reply subject at all is fine, for then nothing is answered.
func MayAnswer(reply string) bool {
	if reply == "" {
		return true
	}
	first, rest, _ := strings.Cut(reply, ".")
	return rest != "" && !strings.ContainsAny(reply, "*> \t\r\n") && (IsInbox(first) || first == "_R_")
}

// IsInbox says whether a prefix of inboxes, such as _INBOX_edge1, is one below which nodes answer.
func IsInbox(prefix string) bool {
	first, _, _ := strings.Cut(prefix, ".")
	return first == inbox || strings.HasPrefix(first, inbox+"_")
}
