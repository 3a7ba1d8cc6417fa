//go:build !linux

package spawn

import "errors"

var errProcessors = errors.New("only Linux lets a program choose its processors")

// On does work in a thread that runs on one processor; below 0, on any.
func On(cpu int, work func() error) error {
	if cpu < 0 {
		return work()
	}
	return errProcessors
}

// Stay keeps all of this process on one processor.
func Stay(cpu int) error {
	if cpu < 0 {
		return nil
	}
	return errProcessors
}
