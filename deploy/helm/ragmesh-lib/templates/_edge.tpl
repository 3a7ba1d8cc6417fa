{{- define "ragmesh.edge" -}}
{{- end }}
