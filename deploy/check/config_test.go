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
			files, env := configuration(t, c.Render(t))
			if len(files) == 0 {
				t.Skip("the chart has no service of ours")
			}
			if err := program.CheckConfig(t, files, env); err != nil {
				t.Error(err)
			}
			// A file that nobody reads would pass whatever is in it. Folders are read once the files are in order.
			readsAll(t, program, files, env, func(name string) bool { return !strings.Contains(name, "/") })
			readsAll(t, program, files, env, func(name string) bool { return strings.Contains(name, "/") })
		})
	}
	t.Run("a variable that nobody knows", func(t *testing.T) {
		t.Parallel()
		files, env := configuration(t, render.Render(t, "dialog", render.YAML(`extraEnv: [{name: RAGMESH_DIALOG__TURN__BUDEGT, value: 1s}]`)))
		err := program.CheckConfig(t, files, env)
		if err == nil || !strings.Contains(err.Error(), "RAGMESH_DIALOG__TURN__BUDEGT") {
			t.Errorf("says %v", err)
		}
	})
}

// readsAll breaks some files and wants to hear of each.
func readsAll(t *testing.T, program code.Program, files, env map[string]string, which func(name string) bool) {
	t.Helper()
	files = maps.Clone(files)
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
	err := program.CheckConfig(t, files, env)
	for _, name := range broken {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("nobody reads %s: %v", name, err)
		}
	}
}

// configuration returns what the services' pods have under /etc/ragmesh, and their variables.
func configuration(t *testing.T, objects render.Objects) (files, env map[string]string) {
	t.Helper()
	files, env = map[string]string{}, map[string]string{}
	for _, o := range objects.Kind("Deployment", "StatefulSet") {
		if !slices.Contains(code.Services(), o.Labels()["app.kubernetes.io/name"]) {
			continue
		}
		for _, file := range lint.ConfigFiles(objects, o) {
			name, ok := strings.CutPrefix(file.Path, "/etc/ragmesh/")
			if !ok {
				t.Errorf("%s: %s is outside /etc/ragmesh", o.ID(), file.Path)
			}
			files[name] = file.Text
		}
		maps.Copy(env, lint.Environment(o))
	}
	return files, env
}
