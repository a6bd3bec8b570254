package sip

import (
	"sync/atomic"
	"time"

	"lamplight/actors"
	"lamplight/actors/presence"
)

// epochs remembers since when the journal of each shard exists, as far as NOTIFYs have said. The CSeqs of the edge's NOTIFYs may begin
// anew when it has been made again, so SIP dialogs of before must end (docs/contract/nats.md, "Writing an edge").
type epochs [actors.Shards]atomic.Int64

// note notes the Epoch of a NOTIFY.
func (e *epochs) note(shard int, epoch time.Time) {
	if shard < 0 || shard >= len(e) || epoch.IsZero() {
		return
	}
	at := &e[shard]
	for old := at.Load(); old < epoch.Unix(); old = at.Load() {
		if at.CompareAndSwap(old, epoch.Unix()) {
			return
		}
	}
}

// current says whether a SIP dialog that began at a time, in Unix s, is not older than the journal of its extension.
func (e *epochs) current(to presence.Address, begun uint32) bool {
	return int64(begun) >= e[actors.ShardOf(to)].Load()
}
