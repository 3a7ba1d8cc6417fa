package cli

import (
	"runtime"

	"github.com/spf13/cobra"

	"github.com/ragmesh/ragmesh/libs/telemetry"
)

func (a *app) version() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this program",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if a.json {
				return a.out.value(map[string]string{"version": telemetry.Version, "go": runtime.Version()})
			}
			a.out.printf("ragmesh %s (%s %s/%s)\n", telemetry.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return nil
		},
	}
}
