package cluster

import "strings"

// MayAnswer says whether a node may publish an answer to a reply subject that a stranger named. A node may write where
// others may not: to the journal, to the other nodes, to NATS's own subjects. Nobody may have it do so by asking.
func MayAnswer(prefix, reply string) bool {
	if strings.HasPrefix(reply, "$") {
		return false
	}
	own, ok := strings.CutPrefix(reply, prefix)
	if !ok {
		return true
	}
	head, _, _ := strings.Cut(own, ".")
	return head != "lamplight" && head != "presence" && head != "omnipresence"
}
