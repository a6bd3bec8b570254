package chaos

import (
	"bytes"
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// finalReader is the worker number of the reads at the end (readFinalLamps).
const finalReader = -1

// checkTimeout is how long porcupine may take for one extension's history.
const checkTimeout = 20 * time.Second

// input is an operation as the model sees it.
type input struct {
	kind  kind
	call  int
	state byte
}

// model is one extension that carries out operations one after the other. Its state is a string: a byte for the manual state,
// then for each known call its number and its state, in the order of the numbers. News moves a call forward only. A reset ends
// the known calls; news of other calls still counts.
var model = porcupine.Model{
	Init:  func() any { return string(rune(noState)) },
	Equal: func(a, b any) bool { return a == b },
	Step: func(state, in, out any) (bool, any) {
		s, i := state.(string), in.(input)
		switch i.kind {
		case opRead:
			return visible(s) == out.(string), s
		case opSet:
			return true, setManual(s, i.state)
		case opReset:
			return true, setManual(endCalls(s), noState)
		case opResetTo:
			return true, setManual(endCalls(s), i.state)
		}
		return true, moveCall(s, i.call, i.state)
	},
	DescribeOperation: func(in, out any) string {
		i := in.(input)
		return fmt.Sprintf("%v %d %c → %v", i.kind, i.call, i.state, out)
	},
	DescribeState: func(s any) string { return s.(string) },
}

const entrySize = 5 // bytes of one call: a number of four digits and a state

// setManual gives a state with another manual state; terminated is none.
func setManual(s string, state byte) string {
	if state == terminated {
		state = noState
	}
	return string(rune(state)) + s[1:]
}

// endCalls gives a state in which all known calls have ended.
func endCalls(s string) string {
	b := []byte(s)
	for i := entrySize; i < len(b); i += entrySize {
		b[i] = terminated
	}
	return string(b)
}

// visible is what a read shows of a state: all but the calls that have ended.
func visible(s string) string {
	if !strings.ContainsRune(s, terminated) {
		return s
	}
	b := []byte{s[0]}
	for i := 1; i < len(s); i += entrySize {
		if s[i+entrySize-1] != terminated {
			b = append(b, s[i:i+entrySize]...)
		}
	}
	return string(b)
}

// moveCall gives a state after news of a call. The call only moves forward.
func moveCall(s string, call int, state byte) string {
	name := fmt.Sprintf("%04d", call)
	n := (len(s) - 1) / entrySize
	at := sort.Search(n, func(i int) bool { return s[1+i*entrySize:1+i*entrySize+4] >= name })
	from := 1 + at*entrySize
	if at == n || s[from:from+4] != name {
		return s[:from] + name + string(rune(state)) + s[from:]
	}
	if rank(state) <= rank(s[from+4]) {
		return s
	}
	return s[:from+4] + string(rune(state)) + s[from+entrySize:]
}

// callStates are the states of a call, in the order in which it can take them.
var callStates = []byte{early, confirmed, terminated}

// rank is the place of a state in callStates.
func rank(state byte) int { return bytes.IndexByte(callStates, state) }

// linearizable judges the history of one extension. If it is linearizable, order has the operations that changed the extension
// before the final reader's read, in an order that explains all reads.
func linearizable(ops []op) (result porcupine.CheckResult, info porcupine.LinearizationInfo, order []input) {
	var events []porcupine.Operation
	for i := range ops {
		o := &ops[i]
		if o.outcome == refused || o.outcome == wrong || o.kind == opRead && (o.outcome != acknowledged || o.stale) || o.kind == opSubscribe || o.kind == opList || o.kind == opRepeatedSet {
			continue
		}
		e := porcupine.Operation{ClientId: o.worker, Input: input{o.kind, o.call, o.state}, Call: o.begin, Return: o.end}
		if o.kind == opRead {
			e.Output = o.seen
		}
		events = append(events, e)
	}
	result, info = porcupine.CheckOperationsVerbose(model, events, checkTimeout)
	if result != porcupine.Ok || len(events) == 0 {
		return result, info, nil
	}
	for _, i := range info.PartialLinearizations()[0][0] {
		if events[i].ClientId == finalReader {
			break
		}
		if in := events[i].Input.(input); in.kind != opRead {
			order = append(order, in)
		}
	}
	return result, info, order
}
