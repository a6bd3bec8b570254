package subject

import "testing"

// A node answers on inboxes and nowhere else: not on subjects of NATS, of this installation, of another one, or of anybody.
func TestMayAnswer(t *testing.T) {
	for reply, may := range map[string]bool{
		"": true, "_INBOX.abc.1": true, "_INBOX_edge1.abc": true, "_INBOX_edge1.a.b.c": true, "_R_.x.y": true,
		"lamplight.journal.0.17.claim": false, "lamplight.node.a": false, "lamplight.notify.edge1": false, "lamplighters.inbox": false,
		"presence.reset.acme%2Eexample%2Ecom.%2A": false, "omnipresence.subscribe.r.u": false,
		"$JS.API.STREAM.DELETE.LAMPLIGHT_JOURNAL_0": false, "$KV.lamplight_directory.key.a": false, "$JS.ACK.S.C.1.2.3.4.5": false, "$SYS.REQ.SERVER.PING": false,
		"east.lamplight.journal.0.17.claim": false, "east.lamplight.claims.0": false, "carrier.east.lamplight.journal.0.lease.a": false, "east.inbox.1": false,
		"orders.new": false, "inbox.1": false, "_inbox.1": false, "_INBOX": false, "_INBOX.": false, "_INBOX_": false, "_INBOXES.1": false, "_INBOX1.a": false,
		"_INBOX.*": false, "_INBOX.>": false, "_INBOX.a b": false, "_INBOX.a\r\nPUB x 0": false, "x._INBOX.a": false, "_R_": false, ">": false, "*.a": false,
	} {
		if MayAnswer(reply) != may {
			t.Errorf("%q: %v", reply, !may)
		}
	}
}
