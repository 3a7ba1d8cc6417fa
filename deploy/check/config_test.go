package check_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/ragmesh/ragmesh/deploy/check/code"
	"github.com/ragmesh/ragmesh/deploy/check/lint"
	"github.com/ragmesh/ragmesh/deploy/check/render"
)

// What charts mount as configuration, and the variables they set, is what the services read: no other key, file or variable.
func TestConfigurationIsWhatServicesRead(t *testing.T) {
	t.Parallel()
	program := ragmesh(t)
	for _, c := range render.Cases(t) {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			all := configurations(t, c.Render(t))
			if len(all[0].files) == 0 {
				t.Skip("the chart has no service of ours")
			}
			for _, c := range all {
				if err := program.CheckConfig(t, c.files, c.env); err != nil {
					t.Error(err)
				}
				// A file that nobody reads would pass whatever is in it. Folders are read once the files are in order.
				readsAll(t, program, c, func(name string) bool { return !strings.Contains(name, "/") })
				readsAll(t, program, c, func(name string) bool { return strings.Contains(name, "/") })
			}
		})
	}
	t.Run("a variable that nobody knows", func(t *testing.T) {
		t.Parallel()
		c := configurations(t, render.Render(t, "dialog", render.YAML(`extraEnv: [{name: RAGMESH_DIALOG__TURN__BUDEGT, value: 1s}]`)))[0]
		err := program.CheckConfig(t, c.files, c.env)
		if err == nil || !strings.Contains(err.Error(), "RAGMESH_DIALOG__TURN__BUDEGT") {
			t.Errorf("says %v", err)
		}
	})
}

// readsAll breaks some files and wants to hear of each.
func readsAll(t *testing.T, program code.Program, c configured, which func(name string) bool) {
	t.Helper()
	files := maps.Clone(c.files)
	var broken []string
	for name := range files {
		if which(name) {
			files[name] = "nobody_knows: 1\n"
			broken = append(broken, name)
		}
	}
	if len(broken) == 0 {
		return
	}
	err := program.CheckConfig(t, files, c.env)
	for _, name := range broken {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("nobody reads %s: %v", name, err)
		}
	}
}

// configured is a folder of configuration, and the variables that go with it.
type configured struct{ files, env map[string]string }

// configurations returns what the services' pods have under /etc/ragmesh, and their variables: those of all services together, and by
// themselves those of a workload whose service has another one, with other files.
func configurations(t *testing.T, objects render.Objects) []configured {
	t.Helper()
	all := []configured{{map[string]string{}, map[string]string{}}}
	for _, o := range objects.Kind("Deployment", "StatefulSet") {
		if !slices.Contains(code.Services(), o.Labels()["app.kubernetes.io/name"]) {
			continue
		}
		files, apart := map[string]string{}, false
		for _, file := range lint.ConfigFiles(objects, o) {
			name, ok := strings.CutPrefix(file.Path, "/etc/ragmesh/")
			if !ok {
				t.Errorf("%s: %s is outside /etc/ragmesh", o.ID(), file.Path)
			}
			files[name] = file.Text
			other, ok := all[0].files[name]
			apart = apart || ok && other != file.Text
		}
		if apart {
			all = append(all, configured{files, lint.Environment(o)})
			continue
		}
		maps.Copy(all[0].files, files)
		maps.Copy(all[0].env, lint.Environment(o))
	}
	return all
}
