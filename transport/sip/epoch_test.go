package sip

import (
	"testing"
	"time"

	"lamplight/actors/presence"
)

// A SIP dialog that is older than the journal gets no NOTIFY, and its subscription ends: the CSeq might go back in it.
func TestDialogOlderThanTheJournal(t *testing.T) {
	var told []presence.Notified
	s := newTestServer(nil)
	s.cluster = &repliesTo{&oneRealm{}, func(n presence.Notified) { told = append(told, n) }}
	to := presence.Address{Realm: testRealm, User: "1001"}
	epoch := time.Unix(1_700_000_000, 0)
	for begun, want := range map[int64]int{epoch.Unix() - 1: 1, epoch.Unix(): 0} {
		told = nil
		tag := string(s.sealer.seal(nil, sealTag, uint32(begun), []byte("call"), []byte("f")))
		n := s.notifierOf(to)
		n.push(&Told{To: to, Epoch: epoch, Sequence: 7, Targets: []Target{{CallID: "call" + tag, ToTag: tag, Contact: "nowhere"}}}, 0, epoch)
		gone := 0
		for _, r := range told {
			if r.Reply == codeGone {
				gone++
			}
		}
		if gone != want {
			t.Errorf("a dialog that began %d s after the journal: %+v", begun-epoch.Unix(), told)
		}
	}
	if s.epochs.note(0, epoch); s.epochs[0].Load() != epoch.Unix() {
		t.Error("the epoch was not noted")
	}
}

// repliesTo is a cluster that passes the replies of watchers on.
type repliesTo struct {
	*oneRealm
	heard func(presence.Notified)
}

func (r *repliesTo) Replied(_ string, _ presence.Address, n presence.Notified) { r.heard(n) }
