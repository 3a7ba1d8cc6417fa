{{- define "ragmesh.instance" -}}
{{- .Values.global.instance | default "ragmesh" }}
{{- end }}

{{- /* What the chart installs, as its objects are named after: nats-dev stands in for a NATS of one's own. */}}
{{- define "ragmesh.component" -}}
{{- trimSuffix "-dev" .Chart.Name }}
{{- end }}

{{- /* Name of the service's objects. It does not depend on the release, so that services installed apart find each other. */}}
{{- define "ragmesh.name" -}}
{{- if eq .Chart.Name "ragmesh" }}{{ include "ragmesh.instance" . }}{{ else }}{{ include "ragmesh.instance" . }}-{{ include "ragmesh.component" . }}{{ end }}
{{- end }}

{{- /* Name of another service's objects: (dict "root" . "service" "eval"). */}}
{{- define "ragmesh.peerName" -}}
{{- include "ragmesh.instance" .root }}-{{ .service }}
{{- end }}

{{- define "ragmesh.selectorLabels" -}}
app.kubernetes.io/name: {{ include "ragmesh.component" . }}
app.kubernetes.io/instance: {{ include "ragmesh.instance" . }}
{{- end }}

{{- /* Selector of another service's pods: (dict "root" . "service" "eval"). */}}
{{- define "ragmesh.peerLabels" -}}
app.kubernetes.io/name: {{ .service }}
app.kubernetes.io/instance: {{ include "ragmesh.instance" .root }}
{{- end }}

{{- define "ragmesh.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "ragmesh.selectorLabels" . }}
app.kubernetes.io/component: {{ include "ragmesh.component" . }}{{ include "ragmesh.roleSuffix" . }}
app.kubernetes.io/part-of: ragmesh
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- /* Name, namespace and labels of an object: (dict "root" . "suffix" "-prompts" "annotations" (dict ...)). */}}
{{- define "ragmesh.metadata" -}}
name: {{ include "ragmesh.name" .root }}{{ include "ragmesh.roleSuffix" .root }}{{ .suffix }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "ragmesh.labels" .root | nindent 2 }}
{{- with .annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* Reference of an image: (dict "root" . "image" .Values.image). */}}
{{- define "ragmesh.image" -}}
{{- $global := .root.Values.global.image | default dict -}}
{{- $registry := .image.registry | default $global.registry -}}
{{- $name := ternary (printf "%s/%s" $registry .image.repository) .image.repository (not (empty $registry)) -}}
{{- if .image.digest -}}
{{ $name }}@{{ .image.digest }}
{{- else -}}
{{ $name }}:{{ .image.tag | default $global.tag | default .root.Chart.AppVersion }}
{{- end }}
{{- end }}

{{- define "ragmesh.imagePullPolicy" -}}
{{- $global := .root.Values.global.image | default dict -}}
{{- .image.pullPolicy | default $global.pullPolicy | default "IfNotPresent" }}
{{- end }}

{{- define "ragmesh.imagePullSecrets" -}}
{{- with (.Values.global.image | default dict).pullSecrets -}}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}
