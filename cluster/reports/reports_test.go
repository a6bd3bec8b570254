package reports

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"lamplight/cluster/natsd/natstest"
)

// Reports outlive the process that kept them, belong to one account, and are bounded for each account.
func TestReports(t *testing.T) {
	s := natstest.Start(t, t.TempDir())
	open := func() *Reports {
		r, err := New(Config{Conn: natstest.Connect(t, s), Prefix: "east.", Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	const mine, other = "00000000000000000000000000000001", "00000000000000000000000000000002"
	r := open()
	if _, err := r.Get(ctx, mine, strings.Repeat("1", 32)); !errors.Is(err, ErrUnknown) {
		t.Errorf("a report before there is any: %v", err)
	}
	id := r.Keep(ctx, mine, []byte(`{"n":0}`))
	if len(id) != 32 {
		t.Fatalf("the id %q", id)
	}
	if data, err := open().Get(ctx, mine, id); err != nil || string(data) != `{"n":0}` {
		t.Errorf("the report is %s, %v", data, err)
	}
	for _, wrong := range []string{"", id[:31], id + "0", strings.Repeat("f", 32), id[:16] + strings.Repeat("0", 16), strings.Repeat("0", 32), strings.Repeat("x", 32)} {
		if _, err := r.Get(ctx, mine, wrong); !errors.Is(err, ErrUnknown) {
			t.Errorf("the id %q: %v", wrong, err)
		}
	}
	if _, err := r.Get(ctx, other, id); !errors.Is(err, ErrUnknown) {
		t.Errorf("the report of another account: %v", err)
	}
	kept := r.Keep(ctx, other, []byte(`{}`))
	last := ""
	for n := range perAccount {
		last = r.Keep(ctx, mine, fmt.Append(nil, n))
	}
	if _, err := r.Get(ctx, mine, id); !errors.Is(err, ErrUnknown) {
		t.Errorf("the oldest of %d reports is still there: %v", perAccount+1, err)
	}
	for account, id := range map[string]string{mine: last, other: kept} {
		if _, err := r.Get(ctx, account, id); err != nil {
			t.Errorf("a report of %s: %v", account, err)
		}
	}
	if id := r.Keep(ctx, mine, make([]byte, MaxReport+8192)); id != "" {
		t.Errorf("a report that is too large has the id %s", id)
	}
}
