// Package marks keeps what a node has seen acknowledged of each store, so that a store that has lost something is not taken
// for one that holds nothing (docs/contract/journal.md, rule 10). A store is a stream of the journal, or the stream below the
// directory's bucket. The package knows neither NATS nor what is in a store. Its functions are for any goroutine.
package marks

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
)

// Mark is what was seen of a store: when it was made, and the sequence up to which it has acknowledged messages.
type Mark struct {
	Created  time.Time `json:"created"`
	Sequence uint64    `json:"sequence"`
}

// Marks are marks by the name of the store.
type Marks map[string]Mark

// Found is how a store looks now.
type Found struct {
	Mark
	Restored bool // a restore made it
}

// Missing describes each store that shows less than its mark. found holds the stores that are there. A store that a restore
// made after the marked one is in order.
func (m Marks) Missing(found map[string]Found) (missing []string) {
	for name, mark := range m {
		now, there := found[name]
		switch {
		case !there:
			missing = append(missing, fmt.Sprintf("%s is not there; it was made at %s%s", name, at(mark.Created), mark.held()))
		case now.Created.Equal(mark.Created) && now.Sequence < mark.Sequence:
			missing = append(missing, fmt.Sprintf("%s ends at sequence %d, and messages up to %d were acknowledged",
				name, now.Sequence, mark.Sequence))
		case now.Created.Equal(mark.Created), now.Restored && now.Created.After(mark.Created):
		default:
			missing = append(missing, fmt.Sprintf("%s was made at %s; the one that was in use was made at %s%s",
				name, at(now.Created), at(mark.Created), mark.held()))
		}
	}
	slices.Sort(missing)
	return missing
}

// held says how much a store held; "": that is not known.
func (m Mark) held() string {
	if m.Sequence == 0 {
		return ""
	}
	return fmt.Sprintf(" and held messages up to sequence %d", m.Sequence)
}

// Newest returns, for each store, what all the marks together say of the one that was made last.
func Newest(all ...Marks) Marks {
	newest := Marks{}
	for _, marks := range all {
		for name, m := range marks {
			known, ok := newest[name]
			if !ok || m.Created.After(known.Created) || m.Created.Equal(known.Created) && m.Sequence > known.Sequence {
				newest[name] = m
			}
		}
	}
	return newest
}

func at(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Encode returns the marks as JSON.
func (m Marks) Encode() []byte {
	data, err := json.Marshal(m, json.Deterministic(true))
	if err != nil {
		panic(err) // a map of numbers and times can always be written
	}
	return data
}

// Decode reads what Encode returned. No data is no marks.
func Decode(data []byte) (m Marks, err error) {
	if len(data) > 0 {
		err = json.Unmarshal(data, &m)
	}
	return m, err
}

// file is the name of the marks' file in a data directory.
const file = "marks.json"

// Load reads the marks in a data directory; none: nobody has kept any.
func Load(dir string) (Marks, error) {
	data, err := os.ReadFile(filepath.Join(dir, file))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m, err := Decode(data)
	if err != nil || len(m) == 0 {
		return nil, fmt.Errorf("%s can't be read, so nobody knows whether the stores show all that was acknowledged (%w)",
			filepath.Join(dir, file), errors.Join(err, errEmpty))
	}
	return m, nil
}

var errEmpty = errors.New("it holds no marks")

// Save writes the marks into a data directory. A reader finds the old ones or the new ones, also after a power cut.
func (m Marks) Save(dir string) error {
	name := filepath.Join(dir, file)
	f, err := os.OpenFile(name+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(m.Encode())
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// History remembers what the stores showed, to know what they showed a while ago. A power cut of a NATS server may take what it
// acknowledged last, and that is no reason to refuse the store. The zero value is empty. One goroutine uses a History.
type History struct {
	seen []sample
}

type sample struct {
	at    time.Time
	marks Marks
}

// Add notes what the stores show now.
func (h *History) Add(now time.Time, m Marks) { h.seen = append(h.seen, sample{now, m}) }

// Before returns what the stores showed at a moment, and forgets what they showed before. A store that was not known then, or
// was another one then, has a mark without a sequence.
func (h *History) Before(moment time.Time) Marks {
	if len(h.seen) == 0 {
		return nil
	}
	last := 0
	for last+1 < len(h.seen) && !h.seen[last+1].at.After(moment) {
		last++
	}
	h.seen = h.seen[last:]
	then := h.seen[0]
	m := Marks{}
	for name, now := range h.seen[len(h.seen)-1].marks {
		was := then.marks[name]
		if then.at.After(moment) || !was.Created.Equal(now.Created) || was.Sequence > now.Sequence {
			was = Mark{Created: now.Created}
		}
		m[name] = was
	}
	return m
}
