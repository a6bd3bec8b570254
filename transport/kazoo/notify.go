package kazoo

import (
	"strconv"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/transport/appendjson"
)

// The bounds of a NOTIFY message (docs/contract/nats.md, "NOTIFY").
const (
	MaxTargets = 500       // watchers in one message
	MaxMessage = 256 << 10 // bytes of one message
)

// Sender is the encoded part of a NOTIFY message that all messages of a node have in common.
type Sender []byte

// NewSender encodes a Sender, once for the life of the node.
func NewSender(version, node string) Sender {
	var b []byte
	b = appendjson.Field(b, "Event-Category", "presence")
	b = appendjson.Field(b, "Event-Name", "notify")
	b = appendjson.Field(b, "App-Name", "lamplight")
	b = appendjson.Field(b, "App-Version", version)
	return appendjson.Field(b, "Node", node)
}

// AppendNotifyHead appends the members of a NOTIFY message that are the same for all edges: all but Msg-ID, Edge-Seq and
// Targets. incarnation is that of the node. It appends no braces.
func AppendNotifyHead(b []byte, s Sender, incarnation string, n *actors.Notification) []byte {
	b = append(b, s...)
	b = appendjson.Field(b, "Incarnation", incarnation)
	b = appendjson.Number(b, "Shard", int64(n.Shard))
	b = appendjson.Number(b, "Generation", int64(n.Claim.Generation))
	b = appendjson.Time(b, "Epoch", n.Claim.Epoch)
	b = append(appendjson.Key(b, "Presentity"), '"')
	b = append(appendjson.Escape(append(appendjson.Escape(b, n.To.User), '@'), n.To.Realm), '"')
	b = appendjson.Field(b, "Event-Package", n.Package.String())
	b = appendjson.Field(b, "State", n.State.String())
	b = appendjson.Number(b, "Sequence", int64(n.Sequence))
	if n.Request != "" {
		b = appendjson.Field(b, "Request-ID", n.Request)
	}
	b = appendjson.Field(b, "Content-Type", n.ContentType)
	b = append(appendjson.Key(b, "Body"), '"')
	return append(appendjson.Escape(b, n.Body), '"')
}

// AppendPickupCookies appends the member of a NOTIFY message that only the edges get that asked for it (EdgeUp.PickupCookies): the pickup
// cookies of the dialogs of its document, in their order. It appends nothing when no dialog has one.
func AppendPickupCookies(b []byte, n *actors.Notification) []byte {
	if n.Package != presence.Dialog {
		return b
	}
	cookies := n.View.PickupCookies()
	if cookies == nil {
		return b
	}
	b = append(appendjson.Key(b, "Pickup-Cookies"), '[')
	for i, cookie := range cookies {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), cookie...), '"') // hexadecimal digits
	}
	return append(b, ']')
}

// AppendTarget appends one watcher of a NOTIFY message as an object. It leaves empty fields out.
func AppendTarget(b []byte, w *presence.Subscription, n *actors.Notification) []byte {
	if w.Quotable() && w.CallID != "" { // nearly always; JSON, too, takes such strings as they are
		b = append(append(b, `{"Call-ID":"`...), w.CallID...)
		if w.From != "" {
			b = append(append(b, `","From":"`...), w.From...)
		}
		if w.FromTag != "" {
			b = append(append(b, `","From-Tag":"`...), w.FromTag...)
		}
		if w.ToTag != "" {
			b = append(append(b, `","To-Tag":"`...), w.ToTag...)
		}
		if w.Contact != "" {
			b = append(append(b, `","Contact":"`...), w.Contact...)
		}
		if w.ProxyRoute != "" {
			b = append(append(b, `","Proxy-Route":"`...), w.ProxyRoute...)
		}
		if w.SubscriptionID != "" {
			b = append(append(b, `","Subscription-ID":"`...), w.SubscriptionID...)
		}
		b = append(b, `","Subscription-State":"`...)
	} else {
		b = append(b, '{')
		for _, v := range [...]member{{"Call-ID", w.CallID}, {"From", w.From}, {"From-Tag", w.FromTag}, {"To-Tag", w.ToTag},
			{"Contact", w.Contact}, {"Proxy-Route", w.ProxyRoute}, {"Subscription-ID", w.SubscriptionID}} {
			if v.value != "" {
				b = appendjson.Field(b, v.name, v.value)
			}
		}
		b = append(appendjson.Key(b, "Subscription-State"), '"')
	}
	if n.End != "" {
		return append(append(append(b, `terminated;reason=`...), n.End...), `"}`...)
	}
	b = append(b, `active"`...)
	for _, v := range [...]struct {
		name appendjson.Literal
		rate uint32
	}{{"Max-Rate", w.MaxRate()}, {"Min-Rate", w.MinRate()}} { // the NOTIFY repeats the SUBSCRIBE's rates (RFC 6446)
		if v.rate > 0 {
			b = appendjson.Field(b, v.name, strconv.FormatFloat(float64(v.rate)/1000, 'f', -1, 64))
		}
	}
	b = strconv.AppendInt(append(b, `,"Expires":`...), int64(w.Left(n.Now)), 10)
	return append(b, '}')
}

// AppendState appends a change of a lamp as a document of the state feed (docs/contract/nats.md, "State feed"). account is
// the id of the account that has the realm. When the dialogs do not fit into MaxMessage bytes, AppendState leaves out the
// least important ones.
func AppendState(b []byte, c *actors.LampNews, account, node string) []byte {
	b = append(b, '{')
	b = appendjson.Field(b, "extension", c.To.User)
	b = appendjson.Field(b, "realm", c.To.Realm)
	b = appendjson.Field(b, "account_id", account)
	b = appendjson.Field(b, "state", c.Change.State.String())
	b = appendjson.Field(b, "previous", c.Change.Previous.String())
	b = appendjson.Key(b, "dialogs")
	head, dialogs := len(b), c.Change.View.Dialogs
	for b = AppendDialogs(b, dialogs); len(b) > MaxMessage && len(dialogs) > 1; b = AppendDialogs(b[:head], dialogs) {
		dialogs = dialogs[:len(dialogs)/2] // the most important dialogs come first
	}
	b = appendjson.Number(b, "sequence", int64(c.Sequence))
	b = appendjson.Time(b, "at", c.Change.At)
	b = appendjson.Field(b, "node", node)
	return append(b, '}')
}
