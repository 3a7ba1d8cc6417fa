// Package dashboard writes Grafana dashboards from what differs between their panels: a title, a sentence, a unit and queries. The JSON
// that Grafana wants is twenty times as long and the same everywhere, so it is generated (go test . -update) and committed.
package dashboard

import (
	"encoding/json"
	"fmt"
)

// Board is a dashboard.
type Board struct {
	// UID is the dashboard's own, for links. The data source is a variable, and has none.
	UID, Title, Description string
	// Services adds a variable for the services.
	Services bool
	Rows     []Row
}

// Row is a group of panels with a title.
type Row struct {
	Title  string
	Panels []Panel
}

// Kind is how a panel shows its queries.
type Kind string

// The kinds of panel.
const (
	Lines Kind = "timeseries"
	Stat  Kind = "stat"
	Table Kind = "table"
)

// Panel is one picture.
type Panel struct {
	Title, Description string
	Kind               Kind
	// Unit is one of Grafana's: s, percentunit, reqps, bytes, short ...
	Unit string
	// Width in columns of 24. Default 8, a Stat 4.
	Width int
	// Stack piles lines up: only for parts of a whole.
	Stack bool
	// Warn and Bad colour a Stat from these values on; with Bad below Warn, down to them. Both 0 for no colours.
	Warn, Bad float64
	Queries   []Query
}

// Query is a PromQL expression, and how its lines are called.
type Query struct{ Expr, Legend string }

// schemaVersion is that of Grafana 12; older ones from 10 on read it too.
const schemaVersion = 41

type object = map[string]any

// JSON returns the dashboard as Grafana imports it.
func (b Board) JSON() ([]byte, error) {
	source := object{"type": "prometheus", "uid": "${datasource}"}
	var panels []object
	id, y := 0, 0
	add := func(p object, x, y, w, h int) {
		id++
		p["id"] = id
		p["gridPos"] = object{"x": x, "y": y, "w": w, "h": h}
		panels = append(panels, p)
	}
	for _, row := range b.Rows {
		add(object{"type": "row", "title": row.Title, "collapsed": false, "panels": []object{}}, 0, y, 24, 1)
		y++
		x, height := 0, 0
		for _, p := range row.Panels {
			w, h := p.size()
			if x+w > 24 {
				x, y, height = 0, y+height, 0
			}
			add(p.json(source), x, y, w, h)
			x, height = x+w, max(height, h)
		}
		y += height
	}
	out, err := json.MarshalIndent(object{
		"uid": b.UID, "title": b.Title, "description": b.Description, "tags": []string{"ragmesh"}, "schemaVersion": schemaVersion, "version": 1,
		"editable": true, "graphTooltip": 1, "refresh": "30s", "timezone": "browser", "time": object{"from": "now-1h", "to": "now"},
		"annotations": object{"list": []object{}}, "templating": object{"list": b.variables(source)}, "panels": panels,
		"links": []object{{"type": "dashboards", "title": "ragmesh", "tags": []string{"ragmesh"}, "asDropdown": true, "includeVars": true, "keepTime": true}},
	}, "", " ")
	if err != nil {
		return nil, fmt.Errorf("write dashboard %s: %w", b.UID, err)
	}
	return append(out, '\n'), nil
}

func (b Board) variables(source object) []object {
	all := func(name, label, query string) object {
		return object{
			"type": "query", "name": name, "label": label, "datasource": source, "refresh": 2, "sort": 1, "multi": true,
			// Everything, be there such a label or not: a Prometheus outside a cluster has no namespaces.
			"includeAll": true, "allValue": ".*", "current": object{"selected": true, "text": "All", "value": "$__all"},
			"definition": query, "query": object{"qryType": 1, "query": query, "refId": name},
		}
	}
	list := []object{
		{"type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus", "refresh": 1, "current": object{}},
		all("namespace", "Namespace", `label_values(ragmesh_dialog_build_info, namespace)`),
	}
	if b.Services {
		list = append(list, all("service", "Service", `label_values({__name__=~"ragmesh_.+_build_info"}, ragmesh_service)`))
	}
	return list
}

func (p Panel) size() (w, h int) {
	w, h = p.Width, 8
	if p.Kind == Stat {
		h = 4
	}
	if w == 0 {
		w = 8
		if p.Kind == Stat {
			w = 4
		}
	}
	return w, h
}

func (p Panel) json(source object) object {
	targets := make([]object, len(p.Queries))
	for i, q := range p.Queries {
		targets[i] = object{
			"refId": string(rune('A' + i)), "datasource": source, "expr": q.Expr, "legendFormat": q.Legend, "editorMode": "code",
			"range": p.Kind == Lines, "instant": p.Kind != Lines,
		}
		if p.Kind == Table {
			targets[i]["format"] = "table"
		}
	}
	defaults := object{"unit": p.Unit, "color": object{"mode": "palette-classic"}, "custom": object{}, "min": 0, "thresholds": p.thresholds()}
	out := object{
		"type": string(p.Kind), "title": p.Title, "description": p.Description, "datasource": source, "targets": targets,
		"fieldConfig": object{"defaults": defaults, "overrides": []object{}},
	}
	switch p.Kind {
	case Lines:
		custom := object{"lineWidth": 1, "fillOpacity": 8, "showPoints": "never", "spanNulls": false, "stacking": object{"mode": "none", "group": "A"}}
		if p.Stack {
			custom["fillOpacity"], custom["stacking"] = 60, object{"mode": "normal", "group": "A"}
		}
		defaults["custom"] = custom
		out["options"] = object{
			"legend":  object{"displayMode": "table", "placement": "bottom", "showLegend": true, "calcs": []string{"mean", "lastNotNull"}},
			"tooltip": object{"mode": "multi", "sort": "desc"},
		}
	case Stat:
		delete(defaults, "min")
		defaults["noValue"] = "no data"
		defaults["color"] = object{"mode": "thresholds"}
		out["options"] = object{
			"reduceOptions": object{"calcs": []string{"lastNotNull"}, "fields": "", "values": false}, "colorMode": "value", "graphMode": "none",
			"justifyMode": "auto", "textMode": "auto", "orientation": "auto",
		}
	case Table:
		delete(defaults, "min")
		out["options"] = object{"showHeader": true, "cellHeight": "sm", "footer": object{"show": false}}
		hidden := object{"Time": true, "Value": true, "__name__": true, "job": true, "endpoint": true, "prometheus": true, "container": true}
		out["transformations"] = []object{{"id": "organize", "options": object{"excludeByName": hidden, "indexByName": object{}, "renameByName": object{}}}}
	}
	return out
}

func (p Panel) thresholds() object {
	type step = object
	steps := []step{{"color": "green", "value": nil}}
	switch {
	case p.Warn == 0 && p.Bad == 0:
	case p.Bad < p.Warn: // less is worse
		steps = []step{{"color": "red", "value": nil}, {"color": "orange", "value": p.Bad}, {"color": "green", "value": p.Warn}}
	default:
		steps = append(steps, step{"color": "orange", "value": p.Warn}, step{"color": "red", "value": p.Bad})
	}
	return object{"mode": "absolute", "steps": steps}
}
