{{- /* Every object of a service. */}}
{{- define "ragmesh.all" -}}
{{- include "ragmesh.validate" . }}
{{- include "ragmesh.serviceAccount" . }}
{{- include "ragmesh.configMap" . }}
{{- include "ragmesh.folderConfigMaps" . }}
{{- include "ragmesh.workload" . }}
{{- include "ragmesh.service" . }}
{{- include "ragmesh.pdb" . }}
{{- include "ragmesh.autoscaling" . }}
{{- include "ragmesh.networkPolicy" . }}
{{- include "ragmesh.ingest" . }}
{{- if eq .Chart.Name "dialog" }}
{{- include "ragmesh.edge" . }}
{{- end }}
{{- include "ragmesh.linkerd.objects" . }}
{{- include "ragmesh.monitoring.objects" . }}
{{- include "ragmesh.tests" . }}
{{- end }}
