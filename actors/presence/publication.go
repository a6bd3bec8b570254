package presence

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// publication is one publication of the extension (RFC 3903 §4.1).
//
// A publication reports calls and registers by their keys, which hold the publisher and the dialog's id. A published call or register
// lives as long as the last publication that reports it: its lease is the latest end of those. It ends before that when a publication
// says that it is terminated. It is not shown any more, and may be shown again, when no publication reports it.
type publication struct {
	key       string // the number of its event package, the name of its publisher, its first entity-tag
	tag       string // its present entity-tag
	publisher string
	until     int64    // µs, when it ends
	reports   []string // the keys of the calls and registers that it reports, sorted
	open      bool     // it says that the basic status is open
	unknown   string   // the record's fields of a newer release
	schema    uint8    // of the record
}

// The bounds of publications.
const (
	MaxPublished    = 100 // dialogs in one document, and that one publication reports
	maxTag          = 64  // bytes of an entity-tag
	maxPublishedID  = 100 // bytes of a dialog's id in a key; a longer one is replaced by its hash
	pubReportFields = 4   // fields of a record for the keys: MaxPublished of them take three at most
)

// publicationSchema is the Schema of the first release that takes publications. An older owner could not refresh or end what they report.
const publicationSchema = 2

// publisherName is what stands for a publisher in the keys of its calls.
func publisherName(publisher string) string {
	sum := sha256.Sum256([]byte(publisher))
	return hex.EncodeToString(sum[:6])
}

// publishedKey is the key of the call or register that a dialog of a publication is, and whether it is a register. A dialog whose id is
// the extension's own name, or that has neither a Call-ID nor tags, is a register: switches publish the state of a hint or of a slot so,
// under the same id for ever.
func (e *Extension) publishedKey(publisher string, d *CallEvent) (key string, isRegister bool) {
	id := d.ID
	if id == "" && d.CallID != "" {
		id = strings.Trim(d.CallID+";"+d.FromTag+";"+d.ToTag, ";")
	}
	bare, _ := cutScheme(id)
	own := id == "" || strings.EqualFold(bare, e.user) || strings.EqualFold(bare, e.Address().String())
	if own {
		id = e.user
	}
	if own || d.CallID == "" && d.FromTag == "" && d.ToTag == "" {
		return "l" + RegisterName(publisher+" "+id), true
	}
	if len(id) > maxPublishedID || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		sum := sha256.Sum256([]byte(id))
		id = hex.EncodeToString(sum[:])
	}
	return keyPublished + publisherName(publisher) + "." + id, false
}

// presenceKey is the key of the register that says that the extension has had a basic status published. It has no lease: it stays when the
// publications have ended, until a reset. RegisterName makes no such name.
const presenceKey = "bpublished"

// notPresent says whether the basic status is closed because it was published before, and no publication lives that says open: a publication
// that has ended composes no more (RFC 3903 §4.1, RFC 3856 §5). Of an extension of which none was ever published nothing is known.
func (m *details) notPresent(now int64) bool {
	if _, found := searchRegister(m.registers, presenceKey); !found {
		return false
	}
	return !slices.ContainsFunc(m.published, func(p *publication) bool { return p.open && p.until > now })
}

// notePresence notes that the extension has had a basic status published.
func (e *Extension) notePresence(eff *Effects, now int64) {
	m := e.open()
	i, found := searchRegister(m.registers, presenceKey)
	if found && !m.registers[i].off() {
		return
	}
	r := &register{key: presenceKey, schema: e.rules.writes(), state: Offline, at: now, since: now, source: "publish"}
	if found {
		m.registers[i] = r
	} else {
		m.registers = slices.Insert(m.registers, i, r)
	}
	e.keepRegister(eff, r, now)
}

// basicKey is the key of the register that holds the basic status of a publisher.
func basicKey(publisher string) string { return "b" + RegisterName(publisher+" presence") }

// lostFork says whether a published call that is not answered is a fork of one of the same publisher that is: its Call-ID and direction
// are the same. The others are being cancelled then, and their end may come late or never.
func (e *Extension) lostFork(c *call, now int64) bool {
	if !strings.HasPrefix(c.key, keyPublished) || c.state >= Confirmed || c.parts[partCallID].value == "" {
		return false
	}
	publisher, _, _ := strings.Cut(c.key, ".")
	return slices.ContainsFunc(e.more.calls, func(o *call) bool {
		return o.state == Confirmed && o.visible(now) && strings.HasPrefix(o.key, publisher) && o.parts[partCallID].value == c.parts[partCallID].value &&
			o.parts[partDirection].value == c.parts[partDirection].value
	})
}

// searchPublication finds a publication by its key, or the place where it belongs.
func searchPublication(all []*publication, key string) (int, bool) {
	return slices.BinarySearchFunc(all, key, func(p *publication, key string) int { return strings.Compare(p.key, key) })
}

// reported says whether the publication reports what has the key.
func (p *publication) reported(key string) bool {
	_, found := slices.BinarySearch(p.reports, key)
	return found
}

// add has the publication report what has the key.
func (p *publication) add(key string) {
	if i, found := slices.BinarySearch(p.reports, key); !found {
		p.reports = slices.Insert(p.reports, i, key)
	}
}

// drop has the publication not report what has the key. It says whether it did.
func (p *publication) drop(key string) bool {
	i, found := slices.BinarySearch(p.reports, key)
	if found {
		p.reports = slices.Delete(p.reports, i, i+1)
	}
	return found
}

// keepPublication adds the publication's record to the effects and asks for the Tick that it needs.
func (e *Extension) keepPublication(eff *Effects, p *publication, now int64) {
	e.due(p.until)
	e.keep(eff, KindPublication, p.key, e.encodePublication(p), p.until, now)
}

// buryPublication replaces the publication's record by a tombstone. None stays in memory: whoever asks for the publication is refused.
func (e *Extension) buryPublication(eff *Effects, p *publication, now int64) {
	gone := now + e.tombstoneLife()
	e.bury(eff, KindPublication, p.key, appendNum(e.appendHead(nil, p.schema, p.key), recGone, uint64(gone)), gone, now)
}

// encodePublication makes the record of a publication.
func (e *Extension) encodePublication(p *publication) []byte {
	b := e.appendHead(make([]byte, 0, 192), p.schema, p.key)
	b = appendStr(b, pubTag, p.tag)
	b = appendStr(b, pubPublisher, p.publisher)
	b = appendNum(b, pubUntil, uint64(p.until))
	if p.open {
		b = appendNum(b, pubOpen, 1)
	}
	const each = (MaxPublished + pubReportFields - 1) / pubReportFields
	field := pubReports
	for keys := range slices.Chunk(p.reports, each) {
		b = appendStr(b, field, strings.Join(keys, " "))
		field++
	}
	return append(b, p.unknown...)
}

// loadPublication takes the record of a publication, or of its end.
func (e *Extension) loadPublication(data []byte) error {
	var r record
	if err := e.read(&r, data, pubNum, pubStr); err != nil {
		return err
	}
	p := &publication{key: strings.Clone(r.str[recKey]), tag: strings.Clone(r.str[pubTag]), publisher: strings.Clone(r.str[pubPublisher]),
		unknown: r.unknown, schema: uint8(r.num[recSchema])}
	var err error
	p.until, err = r.moment(pubUntil)
	p.open = r.num[pubOpen] != 0
	gone := r.num[recGone] != 0
	switch {
	case err != nil:
		return err
	case len(p.key) < 2 || Package(p.key[0]-'0') > LastPackage || !gone && p.tag == "":
		return fmt.Errorf("%w: publication %q with the entity-tag %q", ErrRecord, p.key, p.tag)
	}
	for i := range pubReportFields {
		for key := range strings.FieldsSeq(strings.Clone(r.str[pubReports+i])) {
			p.add(key)
		}
	}
	m := e.open()
	i, found := searchPublication(m.published, p.key)
	switch {
	case gone && found:
		m.published = slices.Delete(m.published, i, i+1)
	case gone:
	case found:
		m.published[i] = p
	default:
		m.published = slices.Insert(m.published, i, p)
	}
	return nil
}
