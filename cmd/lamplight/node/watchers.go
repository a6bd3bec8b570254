package node

import (
	"cmp"
	"context"
	"strings"
	"time"

	"lamplight/cluster/budget"
	"lamplight/cluster/status"
)

// ledgerTime is how long a status waits for the shards to say what their watchers lag.
const ledgerTime = 700 * time.Millisecond

// watchers says how many watchers behind each edge may show something else than they should.
func (n *Node) watchers() (all []status.Watchers) {
	ctx, cancel := context.WithTimeout(context.Background(), ledgerTime)
	defer cancel()
	by, complete := n.system.Ledger(ctx)
	if !complete {
		n.log.Warn("some shards did not say in time what their watchers lag; the answer to lamplight watchers lacks them", "waited", ledgerTime)
	}
	now := time.Now()
	for edge, lag := range by {
		state := n.fanout.State(edge, now)
		w := status.Watchers{Edge: strings.ToValidUTF8(cmp.Or(edge, "any"), "?"), Watchers: lag.Watchers, Untold: lag.Untold, Unanswered: lag.Unanswered, Since: lag.Since.UTC(),
			Listens: state.Listens, ListensAt: state.At.UTC()}
		for _, x := range lag.Worst {
			w.Worst = append(w.Worst, status.Extension{Extension: x.To.String(), Untold: x.Untold, Unanswered: x.Unanswered, Since: x.Since.UTC()})
		}
		all = append(all, w)
	}
	status.Bound(&all)
	return all
}

// top says which accounts use most of the node over some time, and waits for that time.
func (n *Node) top(over time.Duration) []status.Use {
	begun := time.Now()
	before := map[string]budget.Use{}
	for _, u := range n.budgets.Uses() {
		before[u.Account] = u
	}
	time.Sleep(over)
	perSecond := func(now, before uint64) float64 { return float64(now-before) / time.Since(begun).Seconds() }
	by := map[string]*status.Use{}
	use := func(account string) *status.Use {
		if by[account] == nil {
			by[account] = &status.Use{Account: account}
		}
		return by[account]
	}
	for _, u := range n.budgets.Uses() {
		was, is := before[u.Account], use(u.Account)
		is.Requests = perSecond(u.Used[budget.Requests], was.Used[budget.Requests])
		is.Events = perSecond(u.Used[budget.Events], was.Used[budget.Events])
		is.Notifies = perSecond(u.Used[budget.Notifies], was.Used[budget.Notifies])
		for what := range u.Refused {
			is.Refused += perSecond(u.Refused[what], was.Refused[what])
		}
	}
	for realm, held := range n.system.Subscriptions() {
		if account, ok := n.directory.RealmAccount(realm); ok {
			use(account).Subscriptions += held
		}
	}
	all := make([]status.Use, 0, len(by))
	for _, u := range by {
		all = append(all, *u)
	}
	all = status.MostUsed(all, status.MaxTop)
	for i := range all {
		all[i].Realm = n.directory.Realm(all[i].Account)
	}
	return all
}
