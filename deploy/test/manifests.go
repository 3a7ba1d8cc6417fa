package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// definitions are the Go modules with the resource definitions that manifests of ours are of, besides Linkerd's, which no module has.
var definitions = []struct{ module, dir string }{
	{"sigs.k8s.io/gateway-api@v1.2.1", "config/crd/standard"},
	{"github.com/kedacore/keda/v2@v2.21.0", "config/crd/bases"},
	{"github.com/cert-manager/cert-manager@v1.21.2", "deploy/crds"},
	{"github.com/prometheus-operator/prometheus-operator@v0.85.0", "example/prometheus-operator-crd"},
}

// manifest is one object as text.
type manifest struct{ from, kind, text string }

// manifests has the API server check every object of every chart with every set of values, and what lies in deploy beside the charts: as it
// would create them, with fields that it does not know refused.
func (r *run) manifests(ctx context.Context) error {
	if err := r.define(ctx); err != nil {
		return err
	}
	all, sets, err := r.render(ctx)
	if err != nil {
		return err
	}
	others, err := r.written()
	if err != nil {
		return err
	}
	all = append(all, others...)
	known, err := r.kinds(ctx)
	if err != nil {
		return err
	}
	unknown := map[string]int{}
	byFrom := map[string][]string{}
	checked := 0
	for _, m := range all {
		if !known[m.kind] {
			unknown[m.kind]++
			continue
		}
		byFrom[m.from] = append(byFrom[m.from], m.text)
		checked++
	}
	if err := r.foreignNamespaces(ctx, all); err != nil {
		return err
	}
	if err := r.accounts(ctx, all); err != nil {
		return err
	}
	var refused []string
	for _, from := range slices.Sorted(maps.Keys(byFrom)) {
		stdin := strings.NewReader(strings.Join(byFrom[from], "\n---\n"))
		args := []string{"apply", "--dry-run=server", "--validate=strict", "-f", "-"}
		if !strings.HasPrefix(from, "deploy/") { // those name their namespaces themselves
			args = append(args, "-n", r.namespace)
		}
		if _, err := r.kubectl(ctx, stdin, args...); err != nil {
			refused = append(refused, fmt.Sprintf("%s: %v", from, err))
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if len(refused) > 0 {
		return fmt.Errorf("%d of %d sources are refused:\n%s", len(refused), len(byFrom), strings.Join(refused, "\n"))
	}
	r.note("%d objects of %d renderings and %d files accepted", checked, sets, len(byFrom)-sets)
	for _, kind := range slices.Sorted(maps.Keys(unknown)) {
		r.note("%d objects %s not checked: no definition of it can be had here", unknown[kind], kind)
	}
	return nil
}

// define creates the resource definitions that the cluster lacks.
func (r *run) define(ctx context.Context) error {
	dirs := []string{filepath.Join(r.shared(), "crds", "linkerd")}
	for _, d := range definitions {
		out, err := r.command(ctx, nil, "go", "mod", "download", "-json", d.module)
		if err != nil {
			r.note("no definitions of %s: %v", d.module, err)
			continue
		}
		var downloaded struct{ Dir string }
		if err := json.Unmarshal(out, &downloaded); err != nil {
			return err
		}
		dirs = append(dirs, filepath.Join(downloaded.Dir, d.dir))
	}
	there, err := r.kubectl(ctx, nil, "get", "customresourcedefinitions", "-o", "name")
	if err != nil {
		return err
	}
	name := regexp.MustCompile(`(?m)^  name: ["']?([a-z0-9.-]+)`)
	for _, dir := range dirs {
		files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
		if err != nil {
			return err
		}
		if len(files) == 0 {
			r.note("no definitions in %s", dir)
		}
		for _, file := range files {
			for _, m := range split(file, must(os.ReadFile(file))) {
				found := name.FindStringSubmatch(m.text)
				if !strings.HasPrefix(m.kind, "apiextensions.k8s.io/v1 ") || found == nil || strings.Contains(string(there), found[1]+"\n") {
					continue
				}
				if _, err := r.kubectl(ctx, strings.NewReader(m.text), "create", "-f", "-"); err != nil {
					return err
				}
				r.made = append(r.made, "customresourcedefinition/"+found[1])
			}
		}
	}
	for { // until all have a state, kubectl wait fails at once
		_, err := r.kubectl(ctx, nil, "wait", "--for=condition=Established", "--timeout=30s", "--all", "customresourcedefinition")
		if err == nil {
			return nil
		}
		if wait(ctx, time.Second) != nil {
			return err
		}
	}
}

// shared is the folder beside the repository that the cluster's scripts are in.
func (r *run) shared() string {
	if r.scripts != "none" {
		return filepath.Dir(r.scripts)
	}
	return filepath.Join(filepath.Dir(r.root), "shared")
}

func must(data []byte, err error) []byte {
	if err != nil {
		return nil // an unreadable file has no objects; the step says how many were checked
	}
	return data
}

// render renders each chart with its defaults and with each set of values in its folder ci.
func (r *run) render(ctx context.Context) (all []manifest, sets int, err error) {
	charts, err := filepath.Glob(filepath.Join(r.root, "deploy", "helm", "*", "templates", "all.yaml"))
	if err != nil {
		return nil, 0, err
	}
	charts = append(charts, filepath.Join(r.root, "deploy", "helm", "ragmesh", "templates"))
	for _, file := range charts {
		chart := strings.TrimSuffix(strings.TrimSuffix(file, "/all.yaml"), "/templates")
		values, err := filepath.Glob(filepath.Join(chart, "ci", "*.yaml"))
		if err != nil {
			return nil, 0, err
		}
		for _, v := range append([]string{""}, values...) {
			args := []string{"template", "ragmesh", chart}
			from := filepath.Base(chart)
			if v != "" {
				args = append(args, "-f", v)
				from += " with " + filepath.Base(v)
			}
			out, err := r.helm(ctx, args...)
			if err != nil {
				return nil, 0, err
			}
			all = append(all, split(from, out)...)
			sets++
		}
	}
	return all, sets, nil
}

// written returns the manifests that are committed as they are.
func (r *run) written() (all []manifest, err error) {
	root, err := os.OpenRoot(r.root)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	err = fs.WalkDir(root.FS(), "deploy", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains([]string{"helm", "check", "images", "test", "testdata"}, entry.Name()):
			return fs.SkipDir
		case filepath.Ext(path) == ".yaml":
			data, err := root.ReadFile(path)
			if err != nil {
				return err
			}
			all = append(all, split(path, data)...)
		}
		return nil
	})
	return all, err
}

var (
	separator  = regexp.MustCompile(`(?m)^---.*$`)
	apiVersion = regexp.MustCompile(`(?m)^apiVersion: *["']?([^\s"']+)`)
	kindLine   = regexp.MustCompile(`(?m)^kind: *["']?(\w+)`)
)

// split splits a file into its objects; what is none, such as values of a chart, is left out.
func split(from string, data []byte) []manifest {
	var all []manifest
	for _, text := range separator.Split(string(data), -1) {
		version, kind := apiVersion.FindStringSubmatch(text), kindLine.FindStringSubmatch(text)
		if version != nil && kind != nil {
			all = append(all, manifest{from, version[1] + " " + kind[1], text})
		}
	}
	return all
}

// kinds returns what the API server knows, as "group/version Kind".
func (r *run) kinds(ctx context.Context) (map[string]bool, error) {
	out, err := r.kubectl(ctx, nil, "api-versions")
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for version := range strings.FieldsSeq(string(out)) {
		path := "/apis/" + version
		if !strings.Contains(version, "/") {
			path = "/api/" + version
		}
		listed, err := r.kubectl(ctx, nil, "get", "--raw", path)
		if err != nil {
			return nil, err
		}
		var list struct{ Resources []struct{ Kind string } }
		if err := json.Unmarshal(listed, &list); err != nil {
			return nil, err
		}
		for _, resource := range list.Resources {
			known[version+" "+resource.Kind] = true
		}
	}
	return known, nil
}

// accounts creates the service accounts in charts: pods are refused without them, even in a dry run.
func (r *run) accounts(ctx context.Context, all []manifest) error {
	made := map[string]bool{}
	for _, m := range all {
		if m.kind != "v1 ServiceAccount" || strings.HasPrefix(m.from, "deploy/") || made[m.text] {
			continue
		}
		made[m.text] = true
		if _, err := r.kubectl(ctx, strings.NewReader(m.text), "-n", r.namespace, "apply", "--validate=strict", "-f", "-"); err != nil {
			return err
		}
	}
	return nil
}

var namespaceLine = regexp.MustCompile(`(?m)^  namespace: *["']?([a-z0-9-]+)`)

// foreignNamespaces makes the namespaces that objects name and the cluster lacks: even a dry run wants them.
func (r *run) foreignNamespaces(ctx context.Context, all []manifest) error {
	wanted := map[string]bool{}
	for _, m := range all {
		if found := namespaceLine.FindStringSubmatch(m.text); found != nil {
			wanted[found[1]] = true
		}
	}
	for name := range wanted {
		if _, err := r.kubectl(ctx, nil, "get", "namespace", name); err == nil {
			continue
		}
		if _, err := r.kubectl(ctx, nil, "create", "namespace", name); err != nil {
			return err
		}
		r.made = append(r.made, "namespace/"+name)
	}
	return nil
}
