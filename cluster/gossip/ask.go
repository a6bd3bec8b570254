package gossip

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/hashicorp/memberlist"
)

// askerPrefix is the prefix in the metadata of one who only asks. No installation can have it (subject.CheckPrefix), so no node takes the
// asker for a member.
const askerPrefix = "?"

// The errors of an Answer.
var (
	ErrNoConnection = errors.New("no TCP connection")
	ErrOtherKey     = errors.New("the other side has another gossip key, or only one of the two sides has one")
	ErrNoGossip     = errors.New("what listens there does not speak gossip")
	ErrNoPacket     = errors.New("no UDP packet came back")
)

// Answer is what a peer answered to Ask.
type Answer struct {
	Members []Member // that the peer sees, sorted by name
	Stream  error    // of the question over TCP: nil, or one that is ErrNoConnection, ErrOtherKey or ErrNoGossip
	Packet  error    // of the question over UDP: nil or ErrNoPacket. It was not asked if Stream is not nil
}

// Ask asks the node at a gossip address, HOST:PORT, whom it sees, over TCP, and then for a sign of life over UDP. It becomes no member.
// listen is the host of the own gossip address and key the gossip key; an answer needs the same key on both sides. Each of the two
// questions takes within at the longest.
func Ask(listen string, key []byte, peer string, within time.Duration) (a Answer, err error) {
	address, err := net.ResolveTCPAddr("tcp", peer)
	if err != nil {
		return a, err
	}
	o := memberlist.DefaultLANConfig()
	o.Name, o.BindAddr, o.BindPort, o.AdvertisePort = "asker-"+rand.Text(), "0.0.0.0", 0, 0
	if ip := net.ParseIP(listen); ip != nil {
		o.BindAddr = ip.String()
	}
	o.SecretKey, o.Logger = key, log.New(io.Discard, "", 0)
	o.TCPTimeout, o.ProbeTimeout = within, within
	// It probes nobody and passes nothing on: what it can't reach, the members may well reach.
	o.ProbeInterval, o.GossipInterval, o.PushPullInterval = 24*time.Hour, 0, 0
	meta, err := json.Marshal(metadata{Schema: OldestSchema, Oldest: OldestSchema, Prefix: askerPrefix})
	if err != nil {
		return a, err
	}
	o.Delegate = asker(meta)
	list, err := memberlist.Create(o)
	if err != nil {
		return a, err
	}
	defer func() { _ = list.Shutdown() }()
	if _, err := list.Join([]string{address.String()}); err != nil {
		a.Stream = streamError(err)
		return a, nil
	}
	for _, n := range list.Members() {
		if d, err := readMetadata(n.Meta); n.Name != o.Name && err == nil {
			a.Members = append(a.Members, Member{Name: n.Name, Address: n.Address(), Route: d.Route, Schema: d.Schema})
		}
	}
	slices.SortFunc(a.Members, func(x, y Member) int { return strings.Compare(x.Name, y.Name) })
	if _, err := list.Ping("", &net.UDPAddr{IP: address.IP, Port: address.Port}); err != nil {
		a.Packet = ErrNoPacket
	}
	return a, nil
}

// streamError says which of the errors of an Answer an error of memberlist's Join is. It has only the text to go by.
func streamError(err error) error {
	switch text := err.Error(); {
	case strings.Contains(text, "crypt"):
		return fmt.Errorf("%w (%w)", ErrOtherKey, err)
	case strings.Contains(text, "dial "):
		return fmt.Errorf("%w: %w", ErrNoConnection, err)
	}
	return fmt.Errorf("%w: %w", ErrNoGossip, err)
}

// asker is the memberlist.Delegate of one who only asks: its metadata.
type asker []byte

func (a asker) NodeMeta(int) []byte           { return a }
func (asker) NotifyMsg([]byte)                {}
func (asker) GetBroadcasts(int, int) [][]byte { return nil }
func (asker) LocalState(bool) []byte          { return nil }
func (asker) MergeRemoteState([]byte, bool)   {}
