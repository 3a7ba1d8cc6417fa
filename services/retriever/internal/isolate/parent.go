package isolate

import (
	"os"
	"time"
)

// withParent ends this process when the one that started it is gone, whatever it is at: nobody waits for the answer.
func withParent() (stop func()) {
	parent := os.Getppid()
	done := make(chan struct{})
	go func() {
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				if os.Getppid() != parent {
					os.Exit(1) //nolint:forbidigo // a child is a program of its own
				}
			}
		}
	}()
	return func() { close(done) }
}
