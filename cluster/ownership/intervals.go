package ownership

import "time"

// The intervals of the rules. They must be the same on all nodes of a cluster, so they are not settings.
const (
	Heartbeat      = 200 * time.Millisecond // rule 1: the time between two heartbeats
	Retry          = 300 * time.Millisecond // rule 1: a heartbeat without an answer is repeated; also for claims and releases
	Validity       = 800 * time.Millisecond // rule 1: L, how long a node may answer after it sent an accepted heartbeat
	Guard          = 20 * time.Millisecond  // rule 2: added to Validity before another node's lease counts as over
	HolderSilence  = 3 * time.Second        // rule 11: a holder without a heartbeat for so long has lost NATS
	CandidateSeen  = 2 * time.Second        // rule 11: a member must have had a heartbeat in this time to be given ranges
	HandOverDelay  = 500 * time.Millisecond // rule 11: how long the reason for a hand-over must have stood
	UntoldWindow   = 10 * time.Second       // rule 7: what was written so shortly before the last sign of life is told again
	LongOutage     = time.Minute            // rule 7: after so long without a sign of life all is told again
	UnreadableWait = 10 * time.Second       // rule 10: how long the holder of an unreadable claim has to claim the range again
	DeposedTime    = 10 * time.Second       // rule 10: a leader that shows less for so long is not merely deposed
)
