package telemetry

// Seconds returns the buckets of every histogram of durations that belong to a call or a turn. One scale for all lets stages be
// laid over each other; it is finest around 1 s, where interactive calls should end, and around 60 s, where turns must.
func Seconds() []float64 {
	return []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, .75, 1, 1.5, 2.5, 5, 10, 15, 20, 30, 45, 60, 90}
}
