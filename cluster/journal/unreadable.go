package journal

import (
	"errors"
	"fmt"
	"time"

	"lamplight/cluster/ownership"
	"lamplight/cluster/subject"
)

// readableLease decodes the lease of a node. One that can't be read is logged and becomes an Unreadable one, which the rules
// replace (docs/contract/journal.md, rule 10). ok is false when the rules must not hear of it: a newer release wrote it, or a
// message announced it, which proves nothing. The caller holds s.mu.
func (s *stream) readableLease(node string, data []byte, seq uint64, at time.Time) (l ownership.Lease, ok bool) {
	l, err := decodeLease(data)
	if err == nil && l.Node != node {
		err = fmt.Errorf("lease: it names the node %.40q, its subject %.40q", l.Node, node)
	}
	if err != nil {
		return ownership.Lease{Node: node, Unreadable: true}, s.noteUnreadable(subject.Lease(node), seq, at, err)
	}
	return l, true
}

// readableClaim is readableLease for the claim of a range. The caller holds s.mu.
func (s *stream) readableClaim(id int, data []byte, seq uint64, at time.Time) (c ownership.Claim, ok bool) {
	if c, err := decodeClaim(data); err == nil {
		return c, true
	} else {
		return ownership.Claim{Unreadable: true}, s.noteUnreadable(subject.Claim(id), seq, at, err)
	}
}

// noteUnreadable logs and counts, once, that a lease or claim can't be read. It says whether the rules are to replace it. The
// caller holds s.mu.
func (s *stream) noteUnreadable(name string, seq uint64, at time.Time, err error) bool {
	newer := errors.Is(err, errNewer)
	if at.IsZero() {
		return false
	}
	if s.unreadable[name] == seq {
		return !newer
	}
	s.unreadable[name] = seq
	if newer {
		s.j.log.Error("a newer release wrote a lease or claim, so this node leaves it and its shards alone; upgrade this node",
			"subject", s.store.subject+name, "sequence", seq, "err", err)
		return false
	}
	s.j.metrics.unreadable.Inc()
	s.j.log.Error("a lease or claim can't be read; it is replaced, and the node or shard that it belongs to begins again; find "+
		"out who wrote it: only nodes may write to the journal", "subject", s.store.subject+name, "sequence", seq, "err", err)
	return true
}
