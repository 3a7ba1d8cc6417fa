// Command reference writes the configuration reference to the file it is given, for go generate.
package main

import (
	"bytes"
	"fmt"
	"os"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/settings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "reference:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("want one argument, the file to write, not %d", len(args))
	}
	var page bytes.Buffer
	if err := settings.Reference(&page); err != nil {
		return err
	}
	return os.WriteFile(args[0], page.Bytes(), 0o644)
}
