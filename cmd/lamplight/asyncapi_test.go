package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"lamplight/cluster/subject"
	"lamplight/tools/need"
	"lamplight/transport/kazoo"
)

const asyncAPIFile = "../../docs/contract/asyncapi.yaml"

// asyncAPI is what the tests need of docs/contract/asyncapi.yaml.
type asyncAPI struct {
	messages map[string]*jsonschema.Schema // closed: a field that the document does not name is a mistake
	channels map[string][]string           // pattern of NATS → its messages
	answers  map[string][]string           // pattern of NATS → the messages that answer a request there
	fields   map[string]bool               // the properties of all schemas
}

var readAsyncAPI = sync.OnceValues(func() (*asyncAPI, error) {
	text, err := os.ReadFile(asyncAPIFile)
	if err != nil {
		return nil, err
	}
	type reference struct {
		To string `yaml:"$ref"`
	}
	var doc struct {
		Channels map[string]struct {
			Address  string               `yaml:"address"`
			Messages map[string]reference `yaml:"messages"`
		} `yaml:"channels"`
		Operations map[string]struct {
			Channel reference `yaml:"channel"`
			Reply   struct {
				Messages []reference `yaml:"messages"`
			} `yaml:"reply"`
		} `yaml:"operations"`
		Components struct {
			Messages map[string]struct{} `yaml:"messages"`
		} `yaml:"components"`
	}
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	var whole any
	if err := yaml.Unmarshal(text, &whole); err != nil {
		return nil, err
	}
	a := &asyncAPI{map[string]*jsonschema.Schema{}, map[string][]string{}, map[string][]string{}, map[string]bool{}}
	a.close(whole)
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft7)
	c.AssertFormat()
	if err := c.AddResource("asyncapi.json", whole); err != nil {
		return nil, err
	}
	for name := range doc.Components.Messages {
		if a.messages[name], err = c.Compile("asyncapi.json#/components/schemas/" + name); err != nil {
			return nil, err
		}
	}
	last := func(r reference) string { return r.To[strings.LastIndexByte(r.To, '/')+1:] }
	parameter := regexp.MustCompile(`\{\w+\}`)
	for name, channel := range doc.Channels {
		if channel.Address == "" {
			continue // the inbox
		}
		pattern := parameter.ReplaceAllString(channel.Address, "*")
		for _, m := range channel.Messages {
			a.channels[pattern] = append(a.channels[pattern], last(m))
		}
		for _, m := range doc.Operations[name].Reply.Messages {
			a.answers[pattern] = append(a.answers[pattern], last(m))
		}
	}
	return a, nil
})

// close adds additionalProperties: false to all schemas that say nothing about it, and notes all properties.
func (a *asyncAPI) close(v any) {
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			a.close(x)
		}
	case map[string]any:
		properties, isObject := v["properties"].(map[string]any)
		for name := range properties {
			a.fields[name] = true
		}
		if _, said := v["additionalProperties"]; isObject && !said {
			v["additionalProperties"] = false
		}
		for _, x := range v {
			a.close(x)
		}
	}
}

// named returns the message of a list that a document is, or why it is none of them.
func (a *asyncAPI) named(document []byte, messages []string) (name string, err error) {
	var v any = ""
	if len(document) > 0 {
		if v, err = jsonschema.UnmarshalJSON(bytes.NewReader(document)); err != nil {
			return "", err
		}
	}
	var mistakes []error
	for _, m := range messages {
		err := a.messages[m].Validate(v)
		if err == nil {
			return m, nil
		}
		mistakes = append(mistakes, fmt.Errorf("as %s: %w", m, err))
	}
	return "", fmt.Errorf("%.2000s is none of %q: %w", document, messages, errors.Join(mistakes...))
}

// pattern returns the channel of a subject.
func (a *asyncAPI) pattern(topic string) (pattern string, there bool) {
	for p := range a.channels {
		if matchesSubject(p, topic) {
			return p, true
		}
	}
	return "", false
}

// theAsyncAPI reads the document.
func theAsyncAPI(t *testing.T) *asyncAPI {
	t.Helper()
	a, err := readAsyncAPI()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// internal are the subjects that only nodes use among themselves.
var internal = []string{subject.AnyNode, subject.AnyAnswers, subject.AnyClaims, subject.AnyRecord, subject.AnyReport}

// The document has every subject that programs of others use, and no other, and every field of the documents that nodes read. The parser of
// AsyncAPI's makers finds no mistake in it, and finds one that is put in.
func TestAsyncAPI(t *testing.T) {
	t.Parallel()
	a := theAsyncAPI(t)
	var want []string
	for _, s := range subject.All() {
		if !slices.Contains(internal, s) {
			want = append(want, s)
		}
	}
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(a.channels)); !slices.Equal(got, want) {
		t.Errorf("the channels are\n%q, the subjects\n%q", got, want)
	}
	read := reflect.TypeFor[kazoo.Document]()
	for i := range read.NumField() {
		if name := read.Field(i).Tag.Get("json"); name != "-" && !a.fields[name] {
			t.Errorf("nodes read the field %s, which no schema has", name)
		}
	}
	_, err := exec.LookPath("node")
	if err == nil {
		_, err = os.Stat("../../tools/asyncapi/node_modules")
	}
	need.Met(t, err == nil, "npm ci --ignore-scripts --prefix tools/asyncapi")
	if out, err := exec.Command("node", "../../tools/asyncapi/check.cjs", asyncAPIFile).CombinedOutput(); err != nil {
		t.Errorf("the parser: %v\n%s", err, out)
	}
	text, err := os.ReadFile(asyncAPIFile)
	if err != nil {
		t.Fatal(err)
	}
	wrong := t.TempDir() + "/wrong.yaml"
	if err := os.WriteFile(wrong, bytes.Replace(text, []byte("action: send"), []byte("action: shout"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("node", "../../tools/asyncapi/check.cjs", wrong).CombinedOutput(); err == nil || !strings.Contains(string(out), "action") {
		t.Errorf("the parser finds no mistake in a wrong document: %s", out)
	}
}

// example is a document of nats.md. topic is the subject that stands before it, or "".
type example struct{ topic, document string }

// natsExamples returns all documents that nats.md shows.
func natsExamples(t *testing.T) (all []example) {
	t.Helper()
	for _, block := range anyFence.FindAllStringSubmatch(contract(t, "nats.md"), -1) {
		if block[1] != "" && block[1] != "json" || strings.Contains(block[2], "S: ") {
			continue
		}
		for rest, topic := strings.TrimSpace(block[2]), ""; rest != ""; {
			if rest[0] != '{' {
				topic, rest, _ = strings.Cut(rest, "\n")
				if rest == "" {
					all = append(all, example{topic, ""})
				}
				continue
			}
			var document json.RawMessage
			d := json.NewDecoder(strings.NewReader(rest))
			if err := d.Decode(&document); err != nil {
				t.Fatalf("%v in %s", err, rest)
			}
			all = append(all, example{topic, string(document)})
			rest, topic = strings.TrimSpace(rest[d.InputOffset():]), ""
		}
	}
	return all
}

// Each document that nats.md shows is what the document says.
func TestAsyncAPIFitsTheExamples(t *testing.T) {
	t.Parallel()
	a := theAsyncAPI(t)
	everything := slices.Sorted(maps.Keys(a.messages))
	found := 0
	for _, e := range natsExamples(t) {
		if strings.Contains(e.document, `"io.nats.micro`) {
			continue // NATS's own
		}
		found++
		messages := everything
		if e.topic != "" {
			p, there := a.pattern(e.topic)
			if !there {
				t.Errorf("no channel has the subject %s", e.topic)
				continue
			}
			messages = a.channels[p]
		}
		if _, err := a.named([]byte(e.document), messages); err != nil {
			t.Errorf("%s: %v", e.topic, err)
		}
	}
	if found < 45 {
		t.Errorf("only %d examples were found", found)
	}
}

// tap hears what goes over a NATS server, and looks at some documents of each kind.
type tap struct {
	t     *testing.T
	api   *asyncAPI
	asked map[string]*nats.Msg // requests by their inboxes
	kept  map[string]int       // documents by pattern

	mu   sync.Mutex
	seen map[string]bool // messages
}

// keep is at how many documents of one pattern a tap looks. Tests with load send very many.
const keep = 100

// listen has a tap check, until the test ends, that the documents which the process and its clients send are those of the AsyncAPI document.
// Documents that the node refuses are not looked at: tests send wrong ones on purpose.
func listen(t *testing.T, url string) *tap {
	t.Helper()
	w := &tap{t: t, api: theAsyncAPI(t), asked: map[string]*nats.Msg{}, kept: map[string]int{}, seen: map[string]bool{}}
	conn, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan *nats.Msg, 10000) // one channel, so that a request comes before its answer
	for _, pattern := range append(slices.Collect(maps.Keys(w.api.channels)), "_INBOX.>") {
		if _, err := conn.ChanSubscribe(pattern, heard); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for m := range heard {
			w.hear(m)
		}
	}()
	t.Cleanup(func() { conn.Close(); close(heard); <-done })
	return w
}

// hear looks at a document. One that nodes read is looked at with its answer.
func (w *tap) hear(m *nats.Msg) {
	if q := w.asked[m.Subject]; q != nil {
		p, _ := w.api.pattern(q.Subject)
		if m.Header.Get("Status") != "" {
			return // nobody listened
		}
		if w.look(p, m.Data, w.api.answers[p]); !bytes.Contains(m.Data, []byte(`"Status":"error"`)) && !bytes.Contains(m.Data, []byte(`"error":"`)) {
			w.look(p, q.Data, w.api.channels[p])
		}
		return
	}
	p, there := w.api.pattern(m.Subject)
	if !there {
		return
	}
	if w.kept[p]++; w.kept[p] > keep {
		return
	}
	if m.Reply != "" && len(w.api.answers[p]) > 0 {
		w.asked[m.Reply] = m
	} else if len(w.api.answers[p]) == 0 { // what is sent without a reply subject may be refused, and nobody hears of it
		w.look(p, m.Data, w.api.channels[p])
	}
}

func (w *tap) look(pattern string, document []byte, messages []string) {
	name, err := w.api.named(document, messages)
	if err != nil {
		w.t.Errorf("%s: %v", pattern, err)
		w.kept[pattern] = keep // one mistake says it all
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen[name] = true
}

// has says whether a message was seen.
func (w *tap) has(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen[name]
}

// A running node takes the documents of nats.md as they stand, and all that it answers and publishes is what the AsyncAPI document says.
func TestAsyncAPIIsWhatNodesSay(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir(), "--node", "a")
	p.sample()
	w := p.heard
	ask := func(topic, document string) {
		t.Helper()
		m, err := p.conn.Request(topic, []byte(document), 12*time.Second)
		if err != nil {
			t.Fatalf("%s: %v", topic, err)
		}
		if bytes.Contains(m.Data, []byte(`"Status":"error"`)) {
			t.Errorf("%s %s is answered %s", topic, document, m.Data)
		}
	}
	edge := p.edge("edge1")
	for _, e := range natsExamples(t) {
		pattern, _ := w.api.pattern(e.topic)
		switch {
		case len(w.api.answers[pattern]) > 0:
			ask(e.topic, e.document)
		case pattern == subject.AnyEdgeUp || pattern == subject.AnyNotified:
			if err := p.conn.Publish(e.topic, []byte(e.document)); err != nil {
				t.Fatal(err)
			}
		}
	}
	p.next(edge)
	ask("lamplight.edge.secret", "")
	ask("lamplight.status", "")
	ask("lamplight.detail", `{"watchers":true, "top_ms":1}`)
	ask("lamplight.log_level", `{"part":"journal","level":"info"}`)
	doc := subscription("c0")
	ask("presence.subscriptions.acme%2Eexample%2Ecom", string(document("subscription", doc)))
	for i := range 500 { // so that a listing comes in parts
		doc = subscription(fmt.Sprint("c", i))
		doc["From"], doc["User-Agent"] = fmt.Sprint("sip:", i, "@", realm), strings.Repeat("x", 200)
		ask(subject1001, string(document("subscription", doc)))
	}
	ask("presence.search_req.acme%2Eexample%2Ecom", string(document("search_req", map[string]any{"Realm": realm})))
	var missing []string
	eventually(t, "every document was seen", 20*time.Second, func() bool {
		missing = missing[:0]
		for name := range w.api.messages {
			if name != "show_partial_resp" && !w.has(name) { // it comes only when an extension has more subscriptions than NATS carries in a message
				missing = append(missing, name)
			}
		}
		t.Log(missing)
		return len(missing) == 0
	})
}
