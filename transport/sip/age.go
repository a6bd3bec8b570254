package sip

import "time"

// processBegan is when this process began.
var processBegan = time.Now()

// age is how old this process was at a time that it read from the clock. Whoever waits for something compares ages and not times of day:
// the time of day jumps when somebody sets it, and an age does not (package time, "Monotonic Clocks").
func age(at time.Time) time.Duration { return at.Sub(processBegan) }
