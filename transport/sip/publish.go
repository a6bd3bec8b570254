package sip

func (r *reader) publish(f flow) {}
