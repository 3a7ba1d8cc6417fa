package tiltfile

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"
	"go.starlark.net/syntax"
)

// signatures are the functions of Tilt that our files may call, with the names of their arguments in order. Others are
// undefined, so that a new one is looked up before it is used.
var signatures = map[string][]string{
	"allow_k8s_contexts": {"contexts"},
	"analytics_settings": {"enable"},
	"blob":               {"input"},
	"ci_settings":        {"k8s_grace_period", "timeout", "readiness_timeout"},
	"docker_build": {
		"ref", "context", "build_args", "dockerfile", "dockerfile_contents", "live_update", "match_in_env_vars", "ignore", "only", "entrypoint",
		"container_args", "target", "ssh", "network", "secret", "extra_tag", "cache_from", "pull", "platform", "extra_hosts",
	},
	"default_registry":               {"host", "host_from_cluster", "single_name"},
	"helm":                           {"pathToDirectory", "name", "namespace", "values", "set", "kube_version", "skip_crds"},
	"http_get_action":                {"port", "host", "scheme", "path"},
	"k8s_resource":                   {"workload", "new_name", "port_forwards", "extra_pod_selectors", "trigger_mode", "resource_deps", "objects", "auto_init", "pod_readiness", "links", "labels", "discovery_strategy"},
	"k8s_yaml":                       {"yaml", "allow_duplicates"},
	"link":                           {"url", "name"},
	"local":                          {"command", "quiet", "command_bat", "echo_off", "env", "dir", "stdin"},
	"local_resource":                 {"name", "cmd", "deps", "trigger_mode", "resource_deps", "ignore", "auto_init", "serve_cmd", "cmd_bat", "serve_cmd_bat", "allow_parallel", "links", "labels", "env", "serve_env", "readiness_probe", "dir", "serve_dir"},
	"port_forward":                   {"local_port", "container_port", "name", "link_path", "host"},
	"probe":                          {"initial_delay_secs", "timeout_secs", "period_secs", "success_threshold", "failure_threshold", "exec", "http_get", "tcp_socket"},
	"run":                            {"cmd", "trigger", "echo_off"},
	"sync":                           {"local_path", "remote_path"},
	"tcp_socket_action":              {"port", "host"},
	"version_settings":               {"check_updates", "constraint"},
	"watch_file":                     {"paths"},
	"v1alpha1.cmd":                   {"name", "labels", "annotations", "args", "dir", "env", "readiness_probe", "restart_on", "start_on", "disable_source"},
	"v1alpha1.ui_button":             {"name", "labels", "annotations", "location", "text", "icon_name", "icon_svg", "disabled", "requires_confirmation", "inputs"},
	"v1alpha1.ui_component_location": {"component_id", "component_type"},
	"v1alpha1.ui_input_spec":         {"name", "label", "text", "bool", "hidden", "choice"},
	"v1alpha1.ui_text_input_spec":    {"default_value", "placeholder"},
	"v1alpha1.start_on_spec":         {"start_after", "ui_buttons"},
}

// call is one call of a function of Tilt: its arguments by name, as Go values.
type call map[string]any

func (c call) text(name string) string { s, _ := c[name].(string); return s }

func (c call) struct_(name string) call { s, _ := c[name].(call); return s }

// list returns an argument that may be one text or a list of them.
func (c call) list(name string) []string {
	switch v := c[name].(type) {
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, item := range v {
			if s, ok := item.(string); ok {
				out = append(out, s)
			}
		}
		return out
	}
	return nil
}

// session is what evaluating a Tiltfile came to.
type session struct {
	root     string
	settings map[string]any
	calls    map[string][]call
	enabled  []string
	names_   map[string]bool
	modules  map[string]starlark.StringDict
	globals  starlark.StringDict
}

func (s *session) of(fn string) []call { return s.calls[fn] }

// names returns the first arguments of all calls of fn, sorted.
func (s *session) names(fn string) []string {
	var out []string
	for _, c := range s.of(fn) {
		out = append(out, c.text(signatures[fn][0]))
	}
	slices.Sort(out)
	return out
}

func (s *session) resource(t *testing.T, name string) call {
	t.Helper()
	for _, c := range s.of("local_resource") {
		if c.text("name") == name {
			return c
		}
	}
	t.Fatalf("there is no local_resource %s", name)
	return nil
}

// checkResources: what resources wait for and watch is there.
func (s *session) checkResources(t *testing.T) {
	t.Helper()
	known := map[string]bool{"uncategorized": true} // Tilt's own: objects that belong to no workload
	for _, fn := range []string{"local_resource", "k8s_resource"} {
		for _, c := range s.of(fn) {
			known[c.text(signatures[fn][0])] = true
			known[c.text("new_name")] = true
		}
	}
	for _, fn := range []string{"local_resource", "k8s_resource"} {
		for _, c := range s.of(fn) {
			name := c.text(signatures[fn][0])
			for _, dep := range c.list("resource_deps") {
				if !known[dep] {
					t.Errorf("%s waits for %s, which is no resource", name, dep)
				}
			}
			for _, dep := range c.list("deps") {
				if _, err := os.Stat(filepath.Join(s.root, dep)); err != nil && !strings.HasPrefix(dep, ".ragmesh/") {
					t.Errorf("%s watches something that is not there: %v", name, err)
				}
			}
		}
	}
	for _, c := range s.of("docker_build") {
		if f := c.text("dockerfile"); f != "" {
			if _, err := os.Stat(filepath.Join(s.root, f)); err != nil {
				t.Errorf("no Dockerfile: %v", err)
			}
		}
	}
}

// evaluate runs dir's Tiltfile with what `tilt up -- ...` was given.
func evaluate(dir string, settings map[string]any) (*session, error) {
	s := &session{root: dir, settings: settings, calls: map[string][]call{}, names_: map[string]bool{}, modules: map[string]starlark.StringDict{}}
	s.globals = s.builtins()
	_, err := s.load(nil, "Tiltfile")
	return s, err
}

var options = &syntax.FileOptions{TopLevelControl: true, GlobalReassign: true, Set: true}

// load runs a file of the repository, once.
func (s *session) load(from *starlark.Thread, name string) (starlark.StringDict, error) {
	if strings.Contains(name, "://") {
		return nil, fmt.Errorf("%s is not a file of this repository", name)
	}
	if from != nil {
		name = path.Join(path.Dir(from.Name), name)
	}
	if done, ok := s.modules[name]; ok {
		return done, nil
	}
	thread := &starlark.Thread{Name: name, Load: s.load}
	thread.SetMaxExecutionSteps(1_000_000)
	globals, err := starlark.ExecFileOptions(options, thread, filepath.Join(s.root, filepath.FromSlash(name)), nil, s.globals)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	s.modules[name] = globals
	return globals, nil
}

// builtins are the stand-ins.
func (s *session) builtins() starlark.StringDict {
	globals := starlark.StringDict{
		"struct":              starlark.NewBuiltin("struct", starlarkstruct.Make),
		"TRIGGER_MODE_MANUAL": starlark.String("TRIGGER_MODE_MANUAL"),
		"fail":                starlark.NewBuiltin("fail", fail),
		"config":              s.config(),
	}
	v1alpha1 := starlark.StringDict{}
	for name := range signatures {
		if short, ok := strings.CutPrefix(name, "v1alpha1."); ok {
			v1alpha1[short] = s.recorder(name)
		} else {
			globals[name] = s.recorder(name)
		}
	}
	globals["v1alpha1"] = starlarkstruct.FromStringDict(starlark.String("v1alpha1"), v1alpha1)
	return globals
}

func fail(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	var parts []string
	for _, a := range args {
		text, _ := starlark.AsString(a)
		parts = append(parts, text)
	}
	return nil, errors.New(strings.Join(parts, " "))
}

// recorder is a stand-in that checks the names of the arguments and notes the call. It returns the call as a struct.
func (s *session) recorder(name string) *starlark.Builtin {
	return starlark.NewBuiltin(name, func(_ *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		values := make([]starlark.Value, len(signatures[name]))
		var pairs []any
		for i, argument := range signatures[name] {
			pairs = append(pairs, argument+"?", &values[i])
		}
		if err := starlark.UnpackArgs(fn.Name(), args, kwargs, pairs...); err != nil {
			return nil, err
		}
		made, fields := call{}, starlark.StringDict{}
		for i, argument := range signatures[name] {
			if values[i] != nil {
				made[argument], fields[argument] = toGo(values[i]), values[i]
			}
		}
		if first := made.text("name"); name == "local_resource" {
			if s.names_[first] {
				return nil, fmt.Errorf("%s is declared twice", first)
			}
			s.names_[first] = true
		}
		s.calls[name] = append(s.calls[name], made)
		return starlarkstruct.FromStringDict(starlark.String(name), fields), nil
	})
}

// config is Tilt's config.* over s.settings.
func (s *session) config() starlark.Value {
	define := func(_ *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		var name, usage string
		var rest bool
		return starlark.None, starlark.UnpackArgs(fn.Name(), args, kwargs, "name", &name, "args?", &rest, "usage?", &usage)
	}
	parse := func(*starlark.Thread, *starlark.Builtin, starlark.Tuple, []starlark.Tuple) (starlark.Value, error) {
		parsed := starlark.NewDict(len(s.settings))
		for _, name := range slices.Sorted(maps.Keys(s.settings)) {
			if err := parsed.SetKey(starlark.String(name), fromGo(s.settings[name])); err != nil {
				return nil, err
			}
		}
		return parsed, nil
	}
	enable := func(_ *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		var list *starlark.List
		if err := starlark.UnpackArgs(fn.Name(), args, kwargs, "resources", &list); err != nil {
			return nil, err
		}
		s.enabled = call{"resources": toGo(list)}.list("resources")
		return starlark.None, nil
	}
	return starlarkstruct.FromStringDict(starlark.String("config"), starlark.StringDict{
		"define_string":         starlark.NewBuiltin("config.define_string", define),
		"define_string_list":    starlark.NewBuiltin("config.define_string_list", define),
		"define_bool":           starlark.NewBuiltin("config.define_bool", define),
		"parse":                 starlark.NewBuiltin("config.parse", parse),
		"set_enabled_resources": starlark.NewBuiltin("config.set_enabled_resources", enable),
	})
}

func fromGo(v any) starlark.Value {
	switch v := v.(type) {
	case string:
		return starlark.String(v)
	case bool:
		return starlark.Bool(v)
	case []string:
		var list []starlark.Value
		for _, s := range v {
			list = append(list, starlark.String(s))
		}
		return starlark.NewList(list)
	}
	panic(fmt.Sprintf("a setting of type %T", v))
}

func toGo(v starlark.Value) any {
	switch v := v.(type) {
	case starlark.String:
		return string(v)
	case starlark.Bool:
		return bool(v)
	case starlark.Int:
		n, _ := v.Int64()
		return n
	case *starlark.Dict:
		out := call{}
		for _, item := range v.Items() {
			key, _ := starlark.AsString(item[0])
			out[key] = toGo(item[1])
		}
		return out
	case *starlarkstruct.Struct:
		out := call{}
		fields := starlark.StringDict{}
		v.ToStringDict(fields)
		for name, field := range fields {
			out[name] = toGo(field)
		}
		return out
	case starlark.Iterable:
		out := []any{}
		for item := range starlark.Elements(v) {
			out = append(out, toGo(item))
		}
		return out
	}
	return nil
}
