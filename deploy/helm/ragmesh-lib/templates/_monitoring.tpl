{{- define "ragmesh.monitoring.objects" -}}
{{- end }}
