{{- define "ragmesh.validate" -}}
{{- end }}
