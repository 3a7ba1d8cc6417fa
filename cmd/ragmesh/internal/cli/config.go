package cli

import (
	"github.com/spf13/cobra"

	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/settings"
	"github.com/ragmesh/ragmesh/cmd/ragmesh/internal/wire"
	"github.com/ragmesh/ragmesh/libs/config"
)

func (a *app) config() *cobra.Command {
	c := &cobra.Command{Use: "config", Short: "Check and show the configuration"}
	c.AddCommand(a.configCheck(), a.configShow(), a.configDiff())
	return c
}

func addConfig(c *cobra.Command, dir *string) {
	c.Flags().StringVar(dir, "config", "", "folder with the configuration")
	must(c.MarkFlagRequired("config"))
	must(c.MarkFlagDirname("config"))
}

func (a *app) configCheck() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "check --config DIR",
		Short: "Check every service's file, and all prompts, strategies and tools",
		Long:  "Check every service's file, and all prompts, strategies and tools. Problems are listed as file:line; exit code 1 when there is one.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			loaded, err := settings.Load(settings.Source{Dir: dir, Environ: a.Environ})
			if err != nil {
				return err
			}
			revisions, err := wire.Check(cmd.Context(), loaded)
			if err != nil {
				return err
			}
			checked, err := loaded.Documents()
			if err != nil {
				return err
			}
			for i := range checked {
				checked[i].Revision = revisions[checked[i].Service]
			}
			if a.json {
				return a.out.value(map[string]any{"ok": true, "services": checked})
			}
			for _, c := range checked {
				a.out.printf("%s %-12s revision %s", a.out.style(green, "✓"), c.Service, c.Revision)
				for _, f := range c.Files {
					a.out.printf("  %s", a.out.style(dim, f))
				}
				a.out.printf("\n")
			}
			return nil
		},
	}
	addConfig(c, &dir)
	return c
}

func (a *app) configShow() *cobra.Command {
	var dir, service string
	c := &cobra.Command{
		Use:   "show [--config DIR]",
		Short: "Print the configuration in effect: defaults, files and environment together",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			loaded, err := settings.Load(settings.Source{Dir: dir, Environ: a.Environ})
			if err != nil {
				return err
			}
			documents, err := loaded.Documents()
			if err != nil {
				return err
			}
			return a.showConfig(documents, service)
		},
	}
	c.Flags().StringVar(&dir, "config", "", "folder with the configuration (default: built-in defaults)")
	c.Flags().StringVar(&service, "service", "", "only this service")
	return c
}

func (a *app) showConfig(documents []settings.Document, service string) error {
	found := false
	for _, d := range documents {
		if service != "" && d.Service != service {
			continue
		}
		found = true
		if a.json {
			if err := a.out.value(d); err != nil {
				return err
			}
			continue
		}
		a.out.printf("# %s.yaml, revision %s\n%s\n", d.Service, d.Revision, d.YAML)
	}
	if !found {
		return usagef("there is no service %q", service)
	}
	return nil
}

func (a *app) configDiff() *cobra.Command {
	var dir, other string
	c := &cobra.Command{
		Use:   "diff --config DIR [--with DIR]",
		Short: "Show what a configuration changes, against the defaults or another folder",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			// The environment would hide on both sides what differs between the folders.
			before, err := settings.Load(settings.Source{Dir: other})
			if err != nil {
				return err
			}
			after, err := settings.Load(settings.Source{Dir: dir})
			if err != nil {
				return err
			}
			return a.showChanges(settings.Diff(before, after))
		},
	}
	addConfig(c, &dir)
	c.Flags().StringVar(&other, "with", "", "folder to compare with (default: the built-in defaults)")
	return c
}

func (a *app) showChanges(changes []config.Change) error {
	for _, ch := range changes {
		if a.json {
			if err := a.out.value(ch); err != nil {
				return err
			}
			continue
		}
		if ch.Old != "" {
			a.out.printf("%s\n", a.out.style(red, "- "+ch.Key+": "+ch.Old))
		}
		if ch.New != "" {
			a.out.printf("%s\n", a.out.style(green, "+ "+ch.Key+": "+ch.New))
		}
	}
	if len(changes) == 0 && !a.json {
		a.out.printf("No differences.\n")
	}
	return nil
}
