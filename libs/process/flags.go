package process

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// options are a program's flags.
type options struct {
	configDir string
	version   bool
	values    map[string]string // by configuration key
	names     map[string]string // the flag a key came from, where that is not --set
}

var errHelp = errors.New("help was asked for")

// shortcuts are the flags for keys that are set often.
var shortcuts = map[string]struct{ key, usage string }{
	"data":       {"data", "keep data and look for keys in `DIR`"},
	"rpc-addr":   {"rpc.addr", "serve calls on `HOST:PORT`"},
	"admin-addr": {"admin.addr", "serve health and metrics on `HOST:PORT` (default: RPC port + 1000)"},
	"nats-url":   {"nats.url", "connect to NATS at `URL`"},
}

func parseFlags(service string, args []string, stderr io.Writer) (options, error) {
	o := options{values: map[string]string{}, names: map[string]string{}}
	flags := flag.NewFlagSet(service, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.configDir, "config", "", "read `DIR`/"+service+".yaml and the folders beside it")
	flags.BoolVar(&o.version, "version", false, "print the version and exit")
	for name, shortcut := range shortcuts {
		flags.Func(name, shortcut.usage, func(value string) error {
			o.values[shortcut.key], o.names[shortcut.key] = value, "--"+name
			return nil
		})
	}
	flags.Func("set", "set one configuration key, `KEY=VALUE`; may be repeated", func(pair string) error {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return errors.New("write it as key=value")
		}
		o.values[key] = value
		delete(o.names, key)
		return nil
	})
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(stderr, "Runs ragmesh's %s service.\n\nFlags:\n", service)
		flags.SetOutput(stderr)
		flags.PrintDefaults()
		return o, errHelp
	case err != nil:
		return o, err
	case flags.NArg() > 0:
		return o, fmt.Errorf("%q is no flag; nothing but flags is expected", flags.Arg(0))
	}
	return o, nil
}
