package chaos

import (
	"fmt"
	"strings"
	"testing"

	sipphone "lamplight/transport/sip/phone"
)

// The judge of SIP phones finds a phone that was left behind or never told, a subscription that ended, and a CSeq or version that goes back.
func TestSIPPhonesAreJudged(t *testing.T) {
	notify := func(cseq, version uint32, state string) *sipphone.Notify {
		return &sipphone.Notify{CSeq: cseq, State: "active", Body: fmt.Sprintf(`<dialog-info version="%d"><dialog><state>%s</state></dialog></dialog-info>`, version, state)}
	}
	h := &history{}
	p := &sipPhone{history: h, callID: "sip-1"}
	if why := p.behind(&shown{State: "terminated"}); !strings.Contains(why, "never told") {
		t.Errorf("a phone that was never told: %q", why)
	}
	p.hear("sip-1", notify(7, 7, "early"))
	p.hear("sip-0", notify(1, 1, "early")) // of a dialog that has ended
	for state, want := range map[string]string{"early": "", "confirmed": "it was told early"} {
		if why := p.behind(&shown{State: state}); want == "" && why != "" || !strings.Contains(why, want) {
			t.Errorf("%s: %q", state, why)
		}
	}
	if len(h.wrongs) != 0 {
		t.Errorf("a good phone is called wrong: %v", h.wrongs)
	}
	for _, n := range []*sipphone.Notify{notify(7, 8, "early"), notify(8, 8, "early"), notify(9, 8, "early")} { // each repeats the CSeq or the version before it
		p.hear("sip-1", n)
	}
	if len(h.wrongs) != 3 {
		t.Errorf("%d of 3 faults were found: %v", len(h.wrongs), h.wrongs)
	}
	ended := notify(10, 10, "early")
	ended.State, ended.Reason = "terminated", "timeout"
	p.hear("sip-1", ended)
	if why := p.behind(&shown{State: "early"}); !strings.Contains(why, "terminated (timeout)") {
		t.Errorf("an ended subscription: %q", why)
	}
	idle := &sipPhone{history: h, latest: &sipphone.Notify{State: "active", Body: "<dialog-info/>"}}
	if why := idle.behind(&shown{State: "terminated"}); why != "" {
		t.Errorf("a dark lamp: %q", why)
	}
}
