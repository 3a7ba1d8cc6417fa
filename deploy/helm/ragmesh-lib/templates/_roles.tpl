{{- /*
The retriever's roles. Where the store is one that pods share, the retriever is a Deployment of any number of pods. With ingest.separate, those
behind the Service only serve (role serve), and a second Deployment takes documents in (role ingest). Its objects come from the same
templates, given a root of their own:

  Role    ingest: the suffix of their names, and of the label app.kubernetes.io/component, which keeps the two apart
  Values  with replicas, resources and autoscaling of the value `ingest`

Both have one service account and one key, as they call the same: NATS, llm-gateway and the store.
*/}}
{{- define "ragmesh.shared" -}}
{{- if and (eq .Chart.Name "retriever") (eq (.Values.config.store | default "embedded") "weaviate") }}true{{ end }}
{{- end }}

{{- define "ragmesh.separate" -}}
{{- if eq .Chart.Name "retriever" }}{{ if .Values.ingest.separate }}true{{ end }}{{ end }}
{{- end }}

{{- define "ragmesh.roleSuffix" -}}
{{- with .Role }}-{{ . }}{{ end }}
{{- end }}

{{- /* The pods of one workload. What has a single one goes by the service's labels, which it has always had: a workload's selector can't be changed. */}}
{{- define "ragmesh.workloadLabels" -}}
{{ include "ragmesh.selectorLabels" . }}
{{- if include "ragmesh.shared" . }}
app.kubernetes.io/component: {{ include "ragmesh.component" . }}{{ include "ragmesh.roleSuffix" . }}
{{- end }}
{{- end }}

{{- /* Every object of the pods that take documents in. */}}
{{- define "ragmesh.ingest" }}
{{- if include "ragmesh.separate" . }}
{{- $values := deepCopy .Values }}
{{- range $key := list "replicas" "resources" "autoscaling" }}
  {{- $_ := set $values $key (index $.Values.ingest $key) }}
{{- end }}
{{- $ingest := dict "Role" "ingest" "Values" $values "Chart" .Chart "Release" .Release "Files" .Files "Template" .Template "Capabilities" .Capabilities }}
{{- include "ragmesh.validateWorkload" $ingest }}
{{- include "ragmesh.configMap" $ingest }}
{{- include "ragmesh.workload" $ingest }}
{{- include "ragmesh.service" $ingest }}
{{- include "ragmesh.pdb" $ingest }}
{{- include "ragmesh.autoscaling" $ingest }}
{{- include "ragmesh.networkPolicy" $ingest }}
{{- end }}
{{- end }}
