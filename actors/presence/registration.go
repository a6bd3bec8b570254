package presence

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Registration is news of a phone of the extension that registered, or whose registration has ended. The extension's basic status (RFC 3863)
// is open while any registration lives, or a publication that says open, and closed once the last of them has ended.
//
// A registration is kept as a publication of the registrar: it composes with those of others, and ends when its time is over. The newest
// news of a contact by its Timestamp wins; of two with the same Timestamp, the one that lives longer.
type Registration struct {
	Contact   string    // names the registration of the extension; "": it has one
	Expires   int       // seconds from Timestamp, at most LongestLease; 0: it has ended
	Timestamp time.Time // when it happened; zero: when the news arrived
}

// registrar is the publisher of registrations. No other publisher can have this name.
const registrar = "\x00registrar"

// registration takes news of a registration.
func (e *Extension) registration(eff *Effects, ev *Registration, now int64) error {
	if err := fits(ev.Expires, LongestLease, ev.Contact); err != nil {
		return err
	}
	if e.rules.writes() < publicationSchema {
		return ErrTooNew
	}
	at := stamp(ev.Timestamp, now)
	key := string('0'+byte(Presence)) + publisherName(registrar) + publisherName(ev.Contact)
	var old *publication
	i, found := 0, false
	if e.more != nil {
		if i, found = searchPublication(e.more.published, key); found {
			old = e.more.published[i]
			heard, lease := newestNews(old.tag)
			switch newer := cmp.Or(cmp.Compare(at, heard), cmp.Compare(ev.Expires, lease)); {
			case old.until <= now || newer > 0:
			case newer < 0:
				eff.Ignored = IgnoredOvertaken
				return nil
			default:
				return nil
			}
		}
		if most := 4 * e.rules.MaxCalls; !found && most > 0 && len(e.more.published) >= most {
			return fmt.Errorf("%w: it has %d publications and registrations, at most %d are allowed", ErrTooManyCalls, len(e.more.published), most)
		}
	}
	p := publication{key: key, publisher: registrar, tag: fmt.Sprint(at, " ", ev.Expires), schema: e.rules.writes(), until: at + int64(ev.Expires)*second}
	if p.open = p.until > now; !p.open { // it stays for a tombstone's life, so that older news of it loses
		p.until = now + e.tombstoneLife()
	}
	m := e.open()
	if found {
		p.unknown = old.unknown
		*old = p
	} else {
		old = &p
		m.published = slices.Insert(m.published, i, old)
	}
	e.keepPublication(eff, old, now)
	e.notePresence(eff, now)
	e.changed(eff, "registration", now)
	return nil
}

// newestNews reads the tag of a registration: when its newest news happened (µs), and for how many seconds it said that it lives.
func newestNews(tag string) (at int64, expires int) {
	_, _ = fmt.Sscan(tag, &at, &expires)
	return at, expires
}

// registered says whether any registration of the extension lives.
func (m *details) registered(now int64) bool {
	return slices.ContainsFunc(m.published, func(p *publication) bool { return p.open && p.until > now && p.publisher == registrar })
}
