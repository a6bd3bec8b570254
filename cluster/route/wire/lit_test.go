package wire

import (
	"reflect"
	"testing"

	"lamplight/actors"
	"lamplight/actors/presence"
)

// arrives checks that a call arrives as it was sent, and says what it asks in no field that the release before reads. last is the last of these.
func arrives(t *testing.T, want Call, last uint64) {
	t.Helper()
	data := AppendNow(AppendCall(AppendHead(nil, presence.Schema, "a"), want), 1, 1)
	b, err := ReadBatch(data)
	if err != nil || len(b.Calls) != 1 || !reflect.DeepEqual(b.Calls[0], want) {
		t.Fatalf("%v\n got %+v\nwant %+v", err, b.Calls, want)
	}
	c := coder{}
	callFields(&c, &want)
	text := reader(string(c.out))
	for n := text.peek(); n != 0; n = text.peek() {
		if n >= callShow && n <= last {
			t.Errorf("the field %d is one that the release before reads", n)
		}
		text.skip()
	}
}

// A question for lit lamps, and its answer, arrive as they were sent. A node of a release without it finds no field that it knows in
// what is asked, so it refuses the question and does not list subscriptions.
func TestLitWindow(t *testing.T) {
	want := Call{ID: 3, Deadline: 7, Window: &Window{Query: actors.Query{Realm: "acme.test", From: "1", Limit: 500, Lit: true,
		State: presence.Early, Source: "mailbox", Until: at}, Until: "2", Only: shardsOf(0, 1023)}}
	arrives(t, want, callRealmCommand)
	done := commanded()
	done.Extensions = 7
	if got, err := ReadCommanded(string(AppendCommanded(nil, &done))); err != nil || got != done {
		t.Errorf("%v %+v", err, got)
	}
	a := show(0)
	rows := actors.Window{Rows: []actors.SubscriptionView{{User: "1001", Lamp: a.View}, {User: "1002", Lamp: a.View}}}
	if got, err := ReadWindow(string(AppendWindow(nil, &rows))); err != nil || !reflect.DeepEqual(got, rows) {
		t.Errorf("%v\n got %+v\nwant %+v", err, got, rows)
	}
}
