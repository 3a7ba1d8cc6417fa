package lint

import (
	"maps"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/ragmesh/ragmesh/deploy/check/render"
)

func configRules() []Rule { return []Rule{configSecrets, configData} }

// Whole returns the rules for releases that hold all services: in one of a single service, what it names is elsewhere.
func Whole() []Rule { return []Rule{serviceAccounts, configAddresses} }

// File is a file that a pod finds in a mounted ConfigMap.
type File struct {
	Path string
	Text string
}

// ConfigFiles returns the files of the ConfigMaps that the pods of a workload mount, by path.
func ConfigFiles(objects render.Objects, workload render.Object) []File {
	p, err := podOf(workload)
	if err != nil {
		return nil
	}
	var files []File
	for _, c := range p.spec.Containers {
		for _, m := range c.VolumeMounts {
			for _, v := range p.spec.Volumes {
				if v.Name != m.Name || v.ConfigMap == nil {
					continue
				}
				o, _ := objects.Find("ConfigMap", v.ConfigMap.Name)
				data := o.Strings("data")
				for _, name := range slices.Sorted(maps.Keys(data)) {
					files = append(files, File{path.Join(m.MountPath, name), data[name]})
				}
			}
		}
	}
	return files
}

// PodSpec returns what a workload's pods are made of.
func PodSpec(workload render.Object) (corev1.PodSpec, error) {
	p, err := podOf(workload)
	return p.spec, err
}

// Environment returns the names of the variables that the first container of a workload's pods has, with their values; those from
// elsewhere have the value "elsewhere".
func Environment(workload render.Object) map[string]string {
	p, err := podOf(workload)
	if err != nil || len(p.spec.Containers) == 0 {
		return nil
	}
	env := map[string]string{}
	for _, e := range p.spec.Containers[0].Env {
		env[e.Name] = e.Value
		if e.ValueFrom != nil {
			env[e.Name] = "elsewhere"
		}
	}
	return env
}

var configSecrets = Rule{
	Name: "config-secrets",
	Why:  "A process whose configuration refers to a file or variable that its pod does not have does not start.",
	Check: func(objects render.Objects, report Report) {
		for _, p := range pods(objects) {
			mounted := secretFiles(p)
			env := Environment(p.Object)
			for _, file := range ConfigFiles(objects, p.Object) {
				eachText(file.Text, func(key, value string) {
					_, hasEnv := env[value]
					switch {
					case strings.HasPrefix(value, "/var/run/secrets/") && !slices.Contains(mounted, value):
						report(p.Object, "%s: %s is %s, which no Secret is mounted as", file.Path, key, value)
					case strings.HasSuffix(key, ".env") && !hasEnv:
						report(p.Object, "%s: %s is %s, a variable that the container does not have", file.Path, key, value)
					}
				})
			}
		}
	},
}

// secretFiles returns the paths of the files that Secrets are mounted as, as far as the pod names them.
func secretFiles(p pod) []string {
	var files []string
	for _, c := range p.spec.Containers {
		for _, m := range c.VolumeMounts {
			for _, v := range p.spec.Volumes {
				if v.Name != m.Name {
					continue
				}
				var items []corev1.KeyToPath
				if v.Secret != nil {
					items = v.Secret.Items
				}
				if v.Projected != nil {
					for _, source := range v.Projected.Sources {
						if source.Secret != nil {
							items = append(items, source.Secret.Items...)
						}
					}
				}
				for _, item := range items {
					files = append(files, path.Join(m.MountPath, item.Path))
				}
			}
		}
	}
	return files
}

var configData = Rule{
	Name: "config-data",
	Why:  "A process that writes where nothing writable is mounted fails, or fills the container's own layer.",
	Check: func(objects render.Objects, report Report) {
		for _, p := range pods(objects) {
			for _, file := range ConfigFiles(objects, p.Object) {
				var config struct{ Data string }
				if yaml.Unmarshal([]byte(file.Text), &config) != nil || config.Data == "" {
					continue
				}
				writable := slices.ContainsFunc(p.spec.Containers[0].VolumeMounts, func(m corev1.VolumeMount) bool {
					return !m.ReadOnly && (config.Data == m.MountPath || strings.HasPrefix(config.Data, m.MountPath+"/"))
				})
				if !writable {
					report(p.Object, "%s: data is %s, where nothing writable is mounted", file.Path, config.Data)
				}
			}
		}
	},
}

var configAddresses = Rule{
	Name: "config-addresses",
	Why:  "A service whose configuration names a Service or port that is not there waits for it for ever.",
	Check: func(objects render.Objects, report Report) {
		// NATS may come from a release of its own.
		ownNATS := slices.ContainsFunc(objects.Kind("Service"), func(s render.Object) bool { return hasPort(s, strconv.Itoa(natsPort)) })
		for _, p := range pods(objects) {
			for _, file := range ConfigFiles(objects, p.Object) {
				eachText(file.Text, func(key, value string) {
					if key == "nats.url" && !ownNATS {
						return
					}
					for part := range strings.SplitSeq(value, ",") {
						u, err := url.Parse(part)
						if err != nil || u.Host == "" || !own(objects, firstLabel(u.Hostname())) {
							continue
						}
						s, ok := objects.Find("Service", firstLabel(u.Hostname()))
						if !ok || !hasPort(s, u.Port()) {
							report(p.Object, "%s: %s is %s, which no Service of the release is", file.Path, key, part)
						}
					}
				})
			}
		}
	},
}

func firstLabel(host string) string {
	first, _, _ := strings.Cut(host, ".")
	return first
}

// eachText calls visit with each text of a YAML document and its key, parts joined by dots.
func eachText(document string, visit func(key, value string)) {
	var v any
	if yaml.Unmarshal([]byte(document), &v) == nil {
		walkText("", v, visit)
	}
}

func walkText(key string, v any, visit func(key, value string)) {
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			walkText(strings.TrimPrefix(key+"."+name, "."), value, visit)
		}
	case []any:
		for _, value := range v {
			walkText(key, value, visit)
		}
	case string:
		visit(key, v)
	}
}
