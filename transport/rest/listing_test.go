package rest

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"lamplight/actors"
	"lamplight/transport/kazoo"
)

// The number of listings at a time is bounded, because each holds memory.
func TestManyListings(t *testing.T) {
	e := newBed(t, 0)
	begun, goOn := make(chan struct{}, maxListings), make(chan struct{})
	e.router.beforeList = func() { begun <- struct{}{}; <-goOn }
	path := "/v2/accounts/" + root + "/presence"
	codes := make(chan int, maxListings)
	for range listingsOfOne {
		go func() { codes <- e.do("GET", path, e.tokens[root], "").Code }()
	}
	for range listingsOfOne {
		<-begun
	}
	if r := e.do("GET", path, e.tokens[root], ""); r.Code != 429 || r.Header.Get("Retry-After") == "" {
		t.Errorf("one more: %d %s", r.Code, r.Raw)
	}
	go func() { codes <- e.do("GET", "/v2/accounts/"+other+"/presence", e.tokens[other], "").Code }()
	select {
	case <-begun:
	case <-time.After(10 * time.Second):
		t.Error("another account can't list meanwhile")
	}
	close(goOn)
	for range listingsOfOne + 1 {
		if code := <-codes; code != 200 {
			t.Errorf("one of them: %d", code)
		}
	}
	if r := e.do("GET", path, e.tokens[root], ""); r.Code != 200 {
		t.Errorf("afterwards: %d", r.Code)
	}
}

// A large listing is streamed, a summary counts, and a listing with holes names them.
func TestListings(t *testing.T) {
	e := newBed(t, 0)
	mine, path := e.tokens[root], "/v2/accounts/"+root+"/presence"
	for i := range 12000 {
		e.router.rows = append(e.router.rows, actors.SubscriptionView{User: "u" + strconv.Itoa(100000+i/3), CallID: "c" + strconv.Itoa(i%3), From: "w@root.test", Granted: 1820, Renewed: time.Unix(1, 0), Version: 1})
	}
	r := e.do("GET", path, mine, "")
	m, _ := r.Data.(map[string]any)
	subs, _ := m["subscriptions"].(map[string]any)
	if len(subs) != 4000 || r.Header.Get("ETag") != "" || r.Status != "success" {
		t.Fatalf("a streamed listing: %d extensions, ETag %q, %s", len(subs), r.Header.Get("ETag"), r.Status)
	}
	if c := subs["u103999"].(map[string]any)["dialog"].(map[string]any); len(c) != 3 {
		t.Errorf("last extension: %v", c)
	}
	r = e.do("GET", path+"?summary=true", mine, "")
	if !strings.Contains(r.Raw, `"u100000":{"dialog":3}`) {
		t.Errorf("summary: %.300s", r.Raw)
	}
	e.router.mu.Lock()
	e.router.rows, e.router.cover = e.router.rows[:3], actors.Coverage{Missing: []int{3, 9}, Next: "u2"}
	e.router.mu.Unlock()
	if r = e.do("GET", path, mine, ""); !strings.Contains(r.Raw, `"timeout":true,"missing_shards":[3,9]`) || r.Next != "u2" || r.Code != 200 {
		t.Errorf("holes: %s", r.Raw)
	}
}

// A listing that breaks off when a part of it was sent says so. One whose client closes the connection leaves no goroutine.
func TestStreamBreaksOff(t *testing.T) {
	e := newBed(t, 0)
	for i := range 30_000 {
		e.router.rows = append(e.router.rows, actors.SubscriptionView{User: fmt.Sprint(100000 + i), CallID: "c", From: "w@root.test", Granted: 1820, Renewed: time.Unix(1, 0), Version: 1})
	}
	e.router.listErr = actors.ErrUnavailable
	r := e.do("GET", "/v2/accounts/"+root+"/presence?pretty_print=true", e.tokens[root], "")
	m, _ := r.Data.(map[string]any)
	if holes, _ := m["missing_shards"].([]any); r.Code != 200 || m["timeout"] != true || len(holes) != actors.Shards || r.Status != "success" {
		t.Errorf("%d, timeout %v, %d shards missing", r.Code, m["timeout"], len(holes))
	}
	c, err := net.Dial("tcp", e.server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(c, "GET /v2/accounts/%s/presence HTTP/1.1\r\nHost: x\r\nX-Auth-Token: %s\r\n\r\n", root, e.tokens[root])
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.Contains(line, "200") {
		t.Fatalf("%q %v", line, err)
	}
	c.Close()
}

// rowsOf is a Presence that lists so many rows.
type rowsOf struct {
	Presence
	n int
}

func (r rowsOf) List(_ context.Context, _ actors.Query, yield func(actors.SubscriptionView) error) (actors.Coverage, error) {
	for range r.n {
		if err := yield(actors.SubscriptionView{User: "1001", CallID: "c"}); err != nil {
			return actors.Coverage{}, err
		}
	}
	return actors.Coverage{}, nil
}

// A row of a listing is encoded without an allocation of its own.
func TestListingAllocatesNoRows(t *testing.T) {
	const rows = 10_000
	each := testing.AllocsPerRun(3, func() {
		c := &chunks{Rows: &kazoo.Listing{}, full: make(chan []byte), free: make(chan []byte, 2)}
		go func() { c.encode(t.Context(), rowsOf{n: rows}, actors.Query{}); close(c.full) }()
		for chunk := range c.full {
			c.free <- chunk
		}
	})
	if each > rows/10 {
		t.Errorf("%v allocations for %d rows", each, rows)
	}
}
