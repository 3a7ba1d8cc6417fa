package settings

import (
	"github.com/ragmesh/ragmesh/libs/config"
	"github.com/ragmesh/ragmesh/libs/identity"
)

// Diff returns the keys that differ, with the service's name in front: "retriever.search.strategy".
func Diff(before, after *Settings) []config.Change {
	var all []config.Change
	for _, one := range []struct {
		service       string
		before, after any
	}{
		{identity.Dialog, before.Dialog.Value, after.Dialog.Value},
		{identity.Retriever, before.Retriever.Value, after.Retriever.Value},
		{identity.Tools, before.Tools.Value, after.Tools.Value},
		{identity.Gateway, before.Gateway.Value, after.Gateway.Value},
		{identity.Eval, before.Eval.Value, after.Eval.Value},
	} {
		for _, c := range config.Diff(one.before, one.after) {
			c.Key = one.service + "." + c.Key
			all = append(all, c)
		}
	}
	return all
}
