package journal

// Holder is the node whose claim of the shard stands, as far as the stream showed; "" when none is known.
func (j *Journal) Holder(shard int) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.machine == nil {
		return ""
	}
	return j.machine.Holder(shard)
}

// Mine implements actors.Journal: the node holds the shard's claim, or has it back from an earlier incarnation of
// itself and is taking it over.
func (j *Journal) Mine(shard int) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	l := &j.lanes[shard]
	return l.open || l.spent || j.machine != nil && j.machine.Holder(shard) == j.cfg.Node
}
