package phone

import (
	"context"
	"net"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"lamplight/transport/sip"
)

// webSocket is a WebSocket connection (RFC 7118) whose Read and Write take whole messages.
type webSocket struct{ net.Conn }

func dialWebSocket(ctx context.Context, c Config) (net.Conn, error) {
	scheme := "ws://"
	if c.Transport == sip.WSS {
		scheme = "wss://"
	}
	conn, _, _, err := ws.Dialer{Protocols: []string{"sip"}, TLSConfig: c.TLS}.Dial(ctx, scheme+c.Server)
	if err != nil {
		return nil, err
	}
	return &webSocket{conn}, nil
}

// Read implements net.Conn. It returns one message.
func (w *webSocket) Read(b []byte) (int, error) {
	data, _, err := wsutil.ReadServerData(w.Conn)
	return copy(b, data), err
}

// Write implements net.Conn. It sends one message.
func (w *webSocket) Write(b []byte) (int, error) {
	return len(b), wsutil.WriteClientText(w.Conn, b)
}
