package check_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/ragmesh/ragmesh/deploy/check/lint"
	"github.com/ragmesh/ragmesh/deploy/check/render"
	"github.com/ragmesh/ragmesh/deploy/check/schema"
)

var (
	fence = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$")
	// A command that installs one of our charts, as far as the line goes.
	install = regexp.MustCompile(`helm (?:install|upgrade|template) \S+ +deploy/helm/([a-z-]+)([^\n|]*)`)
	set     = regexp.MustCompile(`--set[ =]([^\s` + "`" + `]+)`)
	setFile = regexp.MustCompile(`--set-file[ =]([^\s=]+)=([^\s` + "`" + `]+)`)
	inline  = regexp.MustCompile("`--set ([a-z-]+\\.[^` ]+=[^` .]+)`")
	file    = regexp.MustCompile(`(?:-f|--values)[ =](\S+)`)
)

// pages returns the pages that say how to install ragmesh, by name.
func pages(t *testing.T) map[string]string {
	t.Helper()
	root := render.Root(t)
	all := map[string]string{}
	read := func(name string) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		short, _ := filepath.Rel(root, name)
		all[short] = string(text)
	}
	read(filepath.Join(root, "README.md"))
	for _, dir := range []string{"docs", "deploy"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(name string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() && filepath.Ext(name) == ".md" {
				read(name)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// What the pages tell people to write is taken: values by the charts and the services, manifests by an API server.
func TestPagesShowWhatWorks(t *testing.T) {
	t.Parallel()
	program := ragmesh(t)
	found := 0
	for page, text := range pages(t) {
		for i, match := range fence.FindAllStringSubmatch(text, -1) {
			found++
			t.Run(fmt.Sprintf("%s/%d", page, i), func(t *testing.T) {
				t.Parallel()
				objects, err := render.Parse(match[1])
				if err == nil {
					checkShown(t, objects, "labels", "resources")
					return
				}
				var values render.Values
				if err := yaml.UnmarshalStrict([]byte(match[1]), &values); err != nil {
					t.Fatalf("is no YAML: %v", err)
				}
				for key := range values {
					if !slices.Contains(append(render.Charts(t), "global", "identity"), key) {
						t.Skipf("no values of the umbrella: %s", key)
					}
				}
				objects = render.Render(t, "ragmesh", values)
				checkShown(t, objects)
				for _, c := range configurations(t, objects) {
					if err := program.CheckConfig(t, c.files, c.env); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	if found < 3 {
		t.Errorf("only %d examples found", found)
	}
}

// checkShown checks objects as an API server would, and by all rules but some.
func checkShown(t *testing.T, objects render.Objects, but ...string) {
	t.Helper()
	for _, o := range objects {
		for _, err := range schema.Check(o) {
			t.Errorf("%s: %v", o.ID(), err)
		}
	}
	rules := slices.DeleteFunc(lint.Rules(), func(r lint.Rule) bool { return slices.Contains(but, r.Name) })
	for _, finding := range lint.Run(objects, rules...) {
		t.Error(finding)
	}
}

// The commands that install our charts do, with what they set.
func TestPagesInstallWhatRenders(t *testing.T) {
	t.Parallel()
	root, program := render.Root(t), ragmesh(t)
	found := 0
	for page, text := range pages(t) {
		for _, match := range install.FindAllStringSubmatch(strings.ReplaceAll(text, "\\\n", ""), -1) {
			found++
			t.Run(page+"/"+match[0], func(t *testing.T) {
				t.Parallel()
				var values []render.Values
				for _, name := range file.FindAllStringSubmatch(match[2], -1) {
					text, err := os.ReadFile(filepath.Join(root, name[1]))
					if err != nil && !strings.HasPrefix(name[1], "my-") { // the reader's own
						t.Error(err)
					}
					values = append(values, render.YAML(string(text)))
				}
				for _, pair := range set.FindAllStringSubmatch(match[2], -1) {
					values = append(values, render.Set(pair[1]))
				}
				for _, pair := range setFile.FindAllStringSubmatch(match[2], -1) {
					text, err := os.ReadFile(filepath.Join(root, pair[2]))
					if err != nil {
						t.Fatal(err)
					}
					values = append(values, render.SetText(pair[1], string(text)))
				}
				objects := render.Render(t, match[1], values...)
				checkShown(t, objects)
				for _, c := range configurations(t, objects) {
					if err := program.CheckConfig(t, c.files, c.env); err != nil {
						t.Error(err)
					}
				}
			})
		}
		// Elsewhere on a page, a value is one of the umbrella's; only docs/config.md speaks of the flags of `ragmesh up`.
		if page == "docs/config.md" {
			continue
		}
		for _, match := range inline.FindAllStringSubmatch(text, -1) {
			t.Run(page+"/"+match[1], func(t *testing.T) {
				t.Parallel()
				render.Render(t, "ragmesh", render.Set(match[1]))
			})
		}
	}
	if found < 5 {
		t.Errorf("only %d commands found", found)
	}
}
