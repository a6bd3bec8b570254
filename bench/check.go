package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"lamplight/cluster/directory"
	"lamplight/transport/client"
)

// ErrWrong says that the cluster did not do what it had acknowledged, or refused what it should have taken.
var ErrWrong = errors.New("the run is WRONG")

// importAccounts loads the accounts of the run, and gets a token that is good for all of them.
func (r *run) importAccounts(ctx context.Context) error {
	r.progress.Phase("loading accounts", 0)
	file, err := directory.Read(strings.NewReader(r.world.directory(r.Password)))
	if err != nil {
		return err
	}
	d := directory.New(directory.Config{Conn: r.conns[0], Log: slog.New(slog.DiscardHandler)})
	if err := d.Start(ctx); err != nil {
		return err
	}
	defer func() { _ = d.Stop(ctx) }()
	if _, err := d.Import(ctx, file); err != nil {
		return err
	}
	answer, err := r.ask(ctx, http.MethodPut, "/v2/api_auth", map[string]any{"api_key": r.world.key})
	if err == nil {
		r.token = answer.AuthToken
	}
	return err
}

// removeAccounts deletes the accounts of the run from a cluster that the run did not start.
func (r *run) removeAccounts() error {
	r.progress.Phase("removing accounts", len(r.world.accounts))
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	var all error
	for i := range r.world.accounts {
		if _, err := r.ask(ctx, http.MethodDelete, "/v2/accounts/"+r.world.accounts[i].id, nil); err != nil {
			all = err
		}
		r.progress.At(i+1, "")
	}
	if _, err := r.ask(ctx, http.MethodDelete, "/v2/accounts/"+r.world.parent, nil); err != nil {
		all = err
	}
	if all != nil {
		return fmt.Errorf("accounts of this run remain in the cluster, below account %s; delete them there: %w", r.world.parent, all)
	}
	return nil
}

// ask makes one REST request. It asks up to 20 times more while it gets no answer, or the answer is 503 or 429.
func (r *run) ask(ctx context.Context, method, path string, data any) (*client.Envelope, error) {
	for try := 0; ; try++ {
		c := client.REST{Base: r.target.HTTP[try%len(r.target.HTTP)], Token: r.token, HTTP: r.client}
		e, err := c.Do(ctx, method, path, data)
		full := e == nil || e.Code == http.StatusServiceUnavailable || e.Code == http.StatusTooManyRequests
		if err == nil || !full || try == 20 {
			return e, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// check fills in the verdict: what every watcher was told last, and whether the listings show every subscription once.
func (r *run) check(ctx context.Context) error {
	r.progress.Phase("checking", len(r.world.accounts))
	v := &r.result.Verdict
	v.Watchers = len(r.world.watched)
	var example string
	v.Never, v.Stuck, example = r.model.behind()
	if example != "" {
		v.Examples = append(v.Examples, example)
	}
	listed := make([]uint8, len(r.world.watched))
	for i := range r.world.accounts {
		if err := r.list(ctx, &r.world.accounts[i], listed); err != nil {
			return err
		}
		r.progress.At(i+1, "")
	}
	for i, n := range listed {
		switch {
		case n == 0:
			v.Missing++
			example = r.world.callID(int32(i)) + " is missing in the listing of " + r.world.accountOf(r.world.watched[i]).realm
		case n > 1:
			v.Twice++
			example = r.world.callID(int32(i)) + " is listed more than once"
		default:
			continue
		}
		if v.Missing+v.Twice <= 3 {
			v.Examples = append(v.Examples, example)
		}
	}
	for _, p := range []*Part{&r.result.Ramp, &r.result.Load} {
		for _, o := range p.Operations {
			v.Failed += o.Failed
		}
	}
	m := r.model
	v.OutOfOrder, v.Duplicates, v.Mistakes = m.outOfOrder.Load(), m.duplicates.Load(), m.mistakeCount.Load()
	v.Replaced = m.replaced.Load()
	for _, e := range r.edges {
		c := e.Counts()
		v.SentAgain, v.Fenced = v.SentAgain+c.Duplicates, v.Fenced+c.Fenced
	}
	v.Examples = append(append(append(v.Examples, m.mistakes.list()...), r.nats.failures.list()...), r.rest.failures.list()...)
	if r.sip != nil {
		v.Examples = append(v.Examples, r.sip.failures.list()...)
	}
	if !v.Right() {
		return fmt.Errorf("%w: %s", ErrWrong, v.text())
	}
	return nil
}

// list counts in listed how often an account's listing shows each subscription. It asks again, five times in all, while the
// listing says that shards are missing.
func (r *run) list(ctx context.Context, a *account, listed []uint8) error {
	var shown struct {
		Subscriptions map[string]map[string]map[string]struct{} `json:"subscriptions"` // extension → package → Call-ID
		Timeout       bool                                      `json:"timeout"`
	}
	for range 5 {
		answer, err := r.ask(ctx, http.MethodGet, "/v2/accounts/"+a.id+"/presence", nil)
		if err == nil {
			shown.Subscriptions, shown.Timeout = nil, false
			err = json.Unmarshal(answer.Data, &shown)
		}
		if err != nil {
			return fmt.Errorf("the listing of %s: %w", a.realm, err)
		}
		if !shown.Timeout {
			break
		}
	}
	for _, packages := range shown.Subscriptions {
		for _, calls := range packages {
			for callID := range calls {
				if i := r.world.findWatcher(callID); i >= 0 && listed[i] < 255 {
					listed[i]++
				}
			}
		}
	}
	return nil
}
