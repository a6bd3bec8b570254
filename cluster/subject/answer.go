package subject

import "strings"

// MayAnswer says whether a node may publish an answer to this reply subject, which the sender of a message chose. It
// refuses subjects of NATS itself (below $) and those of this installation, with its prefix. A node has permission to
// publish into the journal and to the other nodes, and most senders do not: a node that answered there would lend the
// sender its permissions.
func (p Prefix) MayAnswer(reply string) bool {
	if strings.HasPrefix(reply, "$") {
		return false
	}
	own, ok := strings.CutPrefix(reply, string(p))
	if !ok {
		return true
	}
	head, _, _ := strings.Cut(own, ".")
	return head != lamplight && head != presence && head != omnipresence
}
