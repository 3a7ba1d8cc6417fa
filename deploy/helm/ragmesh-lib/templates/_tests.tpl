{{- define "ragmesh.tests" -}}
{{- end }}
