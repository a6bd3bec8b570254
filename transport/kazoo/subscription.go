package kazoo

import (
	"strconv"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/transport/appendjson"
)

// AppendSubscription appends a `subscription` document to dst: what Document.Subscription reads as the same message. version is the
// App-Version of the edge. The Call-ID is the Msg-ID too.
func AppendSubscription(dst []byte, version string, to actors.Address, s *presence.Subscribe) []byte {
	dst = append(dst, `{"App-Name":"lamplight edge","Event-Category":"presence","Event-Name":"subscription"`...)
	dst = appendjson.Field(dst, "App-Version", version)
	dst = appendjson.Field(dst, "Msg-ID", s.CallID)
	dst = append(appendjson.Key(dst, "User"), '"')
	dst = append(appendjson.Escape(append(appendjson.Escape(dst, to.User), '@'), to.Realm), '"')
	for _, f := range [...]struct {
		name  appendjson.Literal
		value string
	}{{"Call-ID", s.CallID}, {"From", s.From}, {"From-Tag", s.FromTag}, {"To-Tag", s.ToTag}, {"Contact", s.Contact}, {"Event-Package", s.Package.String()},
		{"Proxy-Route", s.ProxyRoute}, {"User-Agent", s.UserAgent}, {"Subscription-ID", s.SubscriptionID}, {"Server-ID", s.ServerID}, {"Queue", s.Queue}} {
		if f.value != "" {
			dst = appendjson.Field(dst, f.name, f.value)
		}
	}
	dst = appendjson.Number(dst, "Expires", int64(s.Expires))
	if s.HasCSeq {
		dst = appendjson.Number(dst, "CSeq", int64(s.CSeq))
	}
	dst = appendRate(dst, "Max-Rate", s.MaxRate)
	dst = appendRate(dst, "Min-Rate", s.MinRate)
	if s.InDialog {
		dst = appendjson.True(dst, "In-Dialog")
	}
	return append(dst, '}')
}

// appendRate appends a rate in notifications per 1000 s, if there is one. Nodes refuse more than 1000 a second, which is as good as none.
func appendRate(dst []byte, name appendjson.Literal, rate uint32) []byte {
	if rate == 0 {
		return dst
	}
	dst = append(appendjson.Key(dst, name), '"')
	return append(strconv.AppendFloat(dst, float64(min(rate, 1_000_000))/1000, 'f', -1, 64), '"')
}
