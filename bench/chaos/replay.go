package chaos

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"lamplight/bench/local"
)

// singleNode makes a cluster of one node with its embedded NATS server.
func singleNode(product, dir string, l layout) *cluster {
	url := "nats://" + local.At(l.nats(1), l.ports.NATS)
	n := &node{name: "alone", http: local.At(l.http(1), l.ports.HTTP), log: filepath.Join(dir, "alone.log")}
	n.argv = []string{product, "serve", "--drain-grace", "0", "--node", n.name, "--data", filepath.Join(dir, n.name), "--http", n.http,
		"--gossip", local.At(l.gossip(1), l.ports.Gossip), "--gossip-key", filepath.Join(dir, "gossip.key"), "--nats-listen", local.At(l.nats(1), l.ports.NATS)}
	return &cluster{product: product, dir: dir, layout: l, nodes: []*node{n}, natsURLs: []string{url}}
}

// replay repeats the history on one node alone, in the orders that explain what the cluster showed, and says what ends
// differently.
func (r *run) replay(orders map[*extension][]input, lamps map[*extension]*shown) (differs []string, err error) {
	l, err := loopback(rand.New(rand.NewPCG(r.seed, uint64(os.Getpid())+1)))
	if err != nil {
		return nil, err
	}
	c := singleNode(r.cluster.product, r.cluster.dir, l)
	defer c.end()
	if err := c.start(); err != nil {
		return nil, err
	}
	client, err := newClient(c)
	if err != nil {
		return nil, err
	}
	defer client.close()
	problems := make(chan string, len(r.world.all)+len(r.phones()))
	n := c.nodes[0]
	r.each(len(r.world.all), func(i int, _ *rand.Rand) {
		e := r.world.all[i]
		order, explained := orders[e]
		if !explained || lamps[e] == nil {
			return
		}
		for _, in := range order {
			var out outcome
			var err error
			if in.kind == opCall {
				subject, event, fields := e.news(e.calls[in.call], in.state)
				out, _, err = client.bus(0, subject, event, fields)
			} else {
				out, err = client.command(n, i%2 == 0, 0, e, in.kind, in.state)
			}
			if out != acknowledged {
				problems <- fmt.Sprintf("one node alone does not take %v of %s: %v", in, e.name, err)
				return
			}
		}
		if out, s, _, err := client.show(n, i%2 == 0, 0, e.name, ""); out != acknowledged {
			problems <- fmt.Sprintf("one node alone does not show %s: %v", e.name, err)
		} else if why := compareLamps(e, lamps[e], &s); why != "" {
			problems <- why
		}
	})
	phones := r.phones()
	r.each(len(phones), func(i int, _ *rand.Rand) {
		p := phones[i]
		for cseq := 1; cseq <= p.cseq; cseq++ {
			expires := p.expires
			if cseq == p.cseq && !p.active {
				expires = 0
			}
			subject, event, fields := p.document(cseq, expires)
			if out, _, err := client.bus(0, subject, event, fields); out != acknowledged {
				problems <- fmt.Sprintf("one node alone does not take a SUBSCRIBE of %s: %v", p.callID, err)
				return
			}
		}
	})
	_, data, _, err := client.rest(n, "GET", "/presence", nil)
	if err != nil {
		return nil, err
	}
	var one listing
	if err := json.Unmarshal(data, &one); err != nil {
		return nil, err
	}
	close(problems)
	for p := range problems {
		differs = append(differs, p)
	}
	return append(differs, compareSubscriptions(phones, &one, time.Now(), r.skew())...), nil
}

// compareLamps says how one node's lamp differs from the cluster's, or "" if it does not.
func compareLamps(e *extension, cluster, one *shown) string {
	was, err := e.lamp(cluster)
	is, err2 := e.lamp(one)
	if err = errors.Join(err, err2); err != nil || was != is {
		return fmt.Sprintf("%s ends as %q in the cluster and as %q on one node alone (%v)", e.name, was, is, err)
	}
	return ""
}

// compareSubscriptions says which subscriptions exist only in the cluster, or only on one node.
func compareSubscriptions(phones []*phone, one *listing, now time.Time, skew time.Duration) (differ []string) {
	for _, p := range phones {
		_, there := one.Subscriptions[p.extension.name]["dialog"][p.callID]
		if may, _ := p.lapsed(now, skew); !may && there != p.active {
			differ = append(differ, fmt.Sprintf("subscription %s of %s: active %v in the cluster, and listed by one node: %v", p.callID, p.extension.name, p.active, there))
		}
	}
	return differ
}
