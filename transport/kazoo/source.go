package kazoo

import (
	"lamplight/actors/presence"
	"lamplight/transport/appendjson"
)

// SwitchGone returns what a `switch_gone` document means. Without Before, the time is zero.
func (f *Document) SwitchGone() (gone presence.SwitchGone, err error) {
	if f.SwitchURI == "" {
		return gone, refuse("Switch-URI is missing; it must be that of the switch whose calls are to end")
	}
	if gone.Switch = string(f.SwitchURI); len(gone.Switch) > presence.MaxSwitch {
		return gone, refuse("Switch-URI has %d bytes; at most %d are allowed here", len(gone.Switch), presence.MaxSwitch)
	}
	gone.Before, err = timestamp("Before", f.Before)
	gone.Origin = f.Origin()
	return gone, err
}

// AppendWatched appends a watched document to dst: an extension has its first watcher of an event package.
func AppendWatched(dst []byte, to presence.Address, p presence.Package, node string) []byte {
	dst = appendjson.Field(append(dst, '{'), "Event-Category", "presence")
	dst = appendjson.Field(dst, "Event-Name", "watched")
	dst = appendjson.Field(dst, "Username", to.User)
	dst = appendjson.Field(dst, "Realm", to.Realm)
	dst = appendjson.Field(dst, "Event-Package", p.String())
	return append(appendjson.Field(dst, "Node", node), '}')
}

// ReadSourceUp reads a source.up document (docs/contract/nats.md, "Sources"). source is the name in the subject that it came on; the
// document must name the same source. Its errors are Refusals.
func ReadSourceUp(data []byte, source string) (up presence.SourceUp, err error) {
	var d struct {
		Source      Text   `json:"Source"`
		SwitchURI   Text   `json:"Switch-URI"`
		Incarnation Text   `json:"Incarnation"`
		Expires     Number `json:"Expires"`
		Timestamp   Number `json:"Timestamp"`
	}
	if err := readEdgeDocument(data, &d); err != nil {
		return up, err
	}
	switch {
	case string(d.Source) != source:
		return up, refuse("Source is %.100q, the subject is about %.100q", d.Source, source)
	case d.SwitchURI == "", d.Incarnation == "":
		return up, refuse("Switch-URI or Incarnation is missing")
	case !d.Expires.set:
		return up, refuse("Expires is missing; it must be the seconds after which a silent source is taken for gone, or 0 when the source stops")
	}
	up = presence.SourceUp{Source: source, Switch: string(d.SwitchURI), Incarnation: string(d.Incarnation)}
	if up.Expires, err = expires(d.Expires, presence.LongestSourceLease); err != nil {
		return up, err
	}
	up.Timestamp, err = timestamp("Timestamp", d.Timestamp)
	return up, err
}

// AppendSourceUp appends a source.up document to dst.
func AppendSourceUp(dst []byte, up *presence.SourceUp) []byte {
	dst = appendjson.Field(append(dst, '{'), "Source", up.Source)
	dst = appendjson.Field(dst, "Switch-URI", up.Switch)
	dst = appendjson.Field(dst, "Incarnation", up.Incarnation)
	dst = appendjson.Number(dst, "Expires", int64(up.Expires))
	if !up.Timestamp.IsZero() {
		dst = appendjson.Number(dst, "Timestamp", up.Timestamp.UnixMicro())
	}
	return append(dst, '}')
}
