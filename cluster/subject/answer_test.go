package subject

import "testing"

// A node answers on inboxes. It never answers on subjects of the installation or of NATS.
func TestMayAnswer(t *testing.T) {
	for _, c := range []struct {
		prefix, reply string
		may           bool
	}{
		{"", "", true}, {"", "_INBOX.abc.1", true}, {"", "_INBOX_edge1.abc", true}, {"", "_R_.x.y", true}, {"", "lamplighters.inbox", true},
		{"", "lamplight.journal.0.17.claim", false}, {"", "lamplight.node.a", false}, {"", "lamplight.notify.edge1", false},
		{"", "presence.reset.acme%2Eexample%2Ecom.%2A", false}, {"", "omnipresence.subscribe.r.u", false},
		{"", "$JS.API.STREAM.DELETE.LAMPLIGHT_JOURNAL_0", false}, {"", "$KV.lamplight_directory.key.a", false},
		{"east.", "east.lamplight.journal.0.17.claim", false}, {"east.", "lamplight.journal.0.17.claim", true}, {"east.", "east.inbox.1", true},
	} {
		if Prefix(c.prefix).MayAnswer(c.reply) != c.may {
			t.Errorf("with prefix %q, %q: %v", c.prefix, c.reply, !c.may)
		}
	}
}
