// Package disk makes what was written outlive a power cut.
package disk

import (
	"errors"
	"os"
)

// Sync returns when a file's content, or what a folder lists, is on the disk. A file that was made, renamed or removed is there
// for certain once its folder is synced, too.
func Sync(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
