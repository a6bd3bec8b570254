package chaos

import (
	"bytes"
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// last is the worker who reads every extension at the end.
const last = -1

// judged is how long porcupine may think about one extension.
const judged = 20 * time.Second

type input struct {
	kind  kind
	call  int
	state byte
}

// model is one extension in sequence. Its state is a string: the manual state, and each call that was heard of with what
// became of it. News moves a call forward only; a reset ends the calls that are known, and news of others still counts.
var model = porcupine.Model{
	Init:  func() any { return string(rune(noState)) },
	Equal: func(a, b any) bool { return a == b },
	Step: func(state, in, out any) (bool, any) {
		s, i := state.(string), in.(input)
		switch i.kind {
		case opRead:
			return visible(s) == out.(string), s
		case opSet:
			return true, manual(s, i.state)
		case opReset:
			return true, manual(ended(s), noState)
		case opResetTo:
			return true, manual(ended(s), i.state)
		}
		return true, heard(s, i.call, i.state)
	},
	DescribeOperation: func(in, out any) string {
		i := in.(input)
		return fmt.Sprintf("%v %d %c → %v", i.kind, i.call, i.state, out)
	},
	DescribeState: func(s any) string { return s.(string) },
}

const entry = 5 // four digits and a state

func manual(s string, state byte) string {
	if state == terminated {
		state = noState
	}
	return string(rune(state)) + s[1:]
}

func ended(s string) string {
	b := []byte(s)
	for i := entry; i < len(b); i += entry {
		b[i] = terminated
	}
	return string(b)
}

// visible is what a read shows of it.
func visible(s string) string {
	if !strings.ContainsRune(s, terminated) {
		return s
	}
	b := []byte{s[0]}
	for i := 1; i < len(s); i += entry {
		if s[i+entry-1] != terminated {
			b = append(b, s[i:i+entry]...)
		}
	}
	return string(b)
}

// heard moves a call forward.
func heard(s string, call int, state byte) string {
	name := fmt.Sprintf("%04d", call)
	n := (len(s) - 1) / entry
	at := sort.Search(n, func(i int) bool { return s[1+i*entry:1+i*entry+4] >= name })
	from := 1 + at*entry
	if at == n || s[from:from+4] != name {
		return s[:from] + name + string(rune(state)) + s[from:]
	}
	if rank(state) <= rank(s[from+4]) {
		return s
	}
	return s[:from+4] + string(rune(state)) + s[from+entry:]
}

// calls are the states of a call (early, confirmed, terminated) in the order in which it can take them.
var calls = []byte{early, confirmed, terminated}

func rank(state byte) int { return bytes.IndexByte(calls, state) }

// linearizable judges the history of one extension, whose last read is worker last's. If it is, order is what changed the
// extension until then, in an order that explains all that was read.
func linearizable(ops []op) (result porcupine.CheckResult, info porcupine.LinearizationInfo, order []input) {
	var events []porcupine.Operation
	for i := range ops {
		o := &ops[i]
		if o.outcome == refused || o.outcome == wrong || o.kind == opRead && (o.outcome != acknowledged || o.stale) || o.kind == opSubscribe || o.kind == opList || o.kind == opInsist {
			continue
		}
		e := porcupine.Operation{ClientId: o.worker, Input: input{o.kind, o.call, o.state}, Call: o.begin, Return: o.end}
		if o.kind == opRead {
			e.Output = o.seen
		}
		events = append(events, e)
	}
	result, info = porcupine.CheckOperationsVerbose(model, events, judged)
	if result != porcupine.Ok || len(events) == 0 {
		return result, info, nil
	}
	for _, i := range info.PartialLinearizations()[0][0] {
		if events[i].ClientId == last {
			break
		}
		if in := events[i].Input.(input); in.kind != opRead {
			order = append(order, in)
		}
	}
	return result, info, order
}
