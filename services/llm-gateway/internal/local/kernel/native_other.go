//go:build !amd64 && !arm64

package kernel

// native is empty: this platform has the plain kernels only.
func native() []*Set { return nil }
