// Command policies writes deploy/linkerd/policies.yaml from the charts, for go generate.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/ragmesh/ragmesh/deploy/check/mesh"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "policies:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("want one argument, the top folder of the checkout, not %d", len(args))
	}
	text, err := mesh.Policies(args[0])
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(args[0], mesh.PoliciesFile), text, 0o644)
}
