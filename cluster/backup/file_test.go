package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	made    = time.Unix(1764000000, 5).UTC()
	entries = []Entry{
		{Part: Journal, Name: "7.claim", Data: []byte(`{"schema":1}`), At: made},
		{Part: Journal, Name: "7.a.s.a0", Data: []byte{1, 2, 0, 255}, TTL: 90 * time.Second, At: made},
		{Part: Journal, Name: "7.a.s.a0", Data: []byte{}, TTL: time.Millisecond, At: made.Add(time.Second)},
		{Part: Directory, Name: "account.4f", Data: []byte(`{}`)},
	}
)

func sample(t testing.TB) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, "0.1.0", made)
	for _, e := range entries {
		if err == nil {
			err = w.Add(e)
		}
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func read(b []byte) (got []Entry, s Summary, err error) {
	s, err = Read(bytes.NewReader(b), func(e Entry) error {
		e.Data = bytes.Clone(e.Data)
		if !e.At.IsZero() {
			e.At = e.At.UTC()
		}
		got = append(got, e)
		return nil
	})
	return got, s, err
}

func TestRoundTrip(t *testing.T) {
	got, s, err := read(sample(t))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(entries, got); d != "" {
		t.Error(d)
	}
	if s.Version != "0.1.0" || !s.At.Equal(made) || s.Journal != 3 || s.Directory != 1 {
		t.Errorf("%+v", s)
	}
}

// A file that was cut off at any byte, or in which any bit was changed, is refused.
func TestDamage(t *testing.T) {
	whole := sample(t)
	for n := range len(whole) {
		if _, _, err := read(whole[:n]); !errors.Is(err, ErrCut) && !(n < len(magic) && errors.Is(err, ErrNoBackup)) {
			t.Errorf("the first %d bytes: %v", n, err)
		}
	}
	for n := range whole {
		for bit := range 8 {
			b := bytes.Clone(whole)
			b[n] ^= 1 << bit
			if _, _, err := read(b); err == nil {
				t.Errorf("bit %d of byte %d turned: taken", bit, n)
			}
		}
	}
	if _, _, err := read(append(bytes.Clone(whole), 0)); !errors.Is(err, ErrDamaged) {
		t.Errorf("a byte too much: %v", err)
	}
}

// A newer schema is refused. Fields that are not known are passed over.
func TestSchemas(t *testing.T) {
	framed := func(b []byte) []byte { return append(binary.AppendUvarint(nil, uint64(len(b))), b...) }
	newer := append([]byte(magic), framed(number(number(nil, fieldKind, header), fieldSchema, Schema+1))...)
	if _, _, err := read(newer); !errors.Is(err, ErrNewer) {
		t.Errorf("a newer schema: %v", err)
	}
	later := append([]byte(magic), framed(text(number(number(nil, fieldKind, header), fieldSchema, Schema), 99, []byte("new")))...)
	later = append(later, framed(number(text(number(nil, fieldKind, uint64(Journal)), fieldName, []byte("7.claim")), 77, 5))...)
	sum := sha256.Sum256(later)
	later = append(later, framed(text(number(number(nil, fieldKind, trailer), fieldEntries, 1), fieldSum, sum[:]))...)
	if got, _, err := read(later); err != nil || len(got) != 1 || got[0].Name != "7.claim" {
		t.Errorf("with new fields: %+v, %v", got, err)
	}
}

// Whatever a file holds, if it can be read, the entries are as many as its summary says.
func FuzzRead(f *testing.F) {
	f.Add(sample(f))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, data []byte) {
		if got, s, err := read(data); err == nil && len(got) != s.Journal+s.Directory {
			t.Fatalf("%d entries, %+v", len(got), s)
		}
	})
}
