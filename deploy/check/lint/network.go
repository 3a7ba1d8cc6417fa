package lint

import (
	"slices"

	"github.com/ragmesh/ragmesh/deploy/check/render"
)

func networkRules() []Rule { return []Rule{appProtocol} }

var appProtocol = Rule{
	Name: "app-protocol",
	Why:  "Linkerd takes a port with any other value for opaque TCP: no metrics, no balancing of calls.",
	Check: func(objects render.Objects, report Report) {
		known := []string{"", "http", "kubernetes.io/h2c", "linkerd.io/opaque", "linkerd.io/tcp"}
		for _, o := range objects.Kind("Service") {
			ports, _ := o.At("spec", "ports").([]any)
			for i := range ports {
				value := o.String("spec", "ports", i, "appProtocol")
				if !slices.Contains(known, value) {
					report(o, "port %s: appProtocol %q is none of http, kubernetes.io/h2c, linkerd.io/opaque, linkerd.io/tcp", o.String("spec", "ports", i, "name"), value)
				}
			}
		}
	},
}
