{{- define "ragmesh.networkPolicy" -}}
{{- end }}
