package subject

import "strings"

// MayAnswer says whether a node may publish an answer to a reply subject that a stranger named. A node may publish where
// others may not: into the journal, to the other nodes, to NATS's own subjects below $. Answering there would lend the
// sender the node's permissions.
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
