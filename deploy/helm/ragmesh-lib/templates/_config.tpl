{{- /*
The service's configuration file: what follows from being in this cluster, with the value `config` laid over it. The keys are those of
docs/config.md; the process refuses any other.
*/}}
{{- define "ragmesh.config" -}}
{{- $root := . }}
{{- $fact := include "ragmesh.fact" . | fromYaml }}
{{- $secrets := "/var/run/secrets/ragmesh" }}
{{- $nats := dict "url" (include "ragmesh.natsURL" .) "replicas" (include "ragmesh.nats" . | fromYaml).replicas }}
{{- $auth := (include "ragmesh.nats" . | fromYaml).auth }}
{{- if eq $auth "token" }}
  {{- $_ := set $nats "token" (dict "file" (printf "%s/nats-token" $secrets)) }}
{{- else if eq $auth "credentials" }}
  {{- $_ := set $nats "credentials" (dict "file" (printf "%s/nats.creds" $secrets)) }}
{{- end }}
{{- $config := dict
  "rpc" (dict "addr" "0.0.0.0:8080")
  "admin" (dict "addr" "0.0.0.0:9090")
  "identity" (dict "signing_key" (dict "file" (printf "%s/signing-key.pem" $secrets)) "jwks_file" (printf "%s/jwks.json" $secrets))
  "nats" $nats
  "log" (dict "format" "json")
  "shutdown" (dict "timeout" (printf "%ds" (int .Values.shutdown.timeoutSeconds)))
}}
{{- if $fact.data }}
  {{- $_ := set $config "data" "/data" }}
  {{- if eq $fact.workload "StatefulSet" }}
    {{- /* The pod that this one replaces may still be ending, with its hand on the volume. */}}
    {{- $_ := set $config "data_wait" "90s" }}
  {{- end }}
{{- end }}
{{- /* Of the services that others call, those that call others themselves. */}}
{{- if has .Chart.Name (list "dialog" "retriever") }}
  {{- $peers := dict }}
  {{- range $service := index (include "ragmesh.callgraph" . | fromYaml) .Chart.Name }}
    {{- $_ := set $peers ($service | replace "-" "_") (printf "http://%s:8080" (include "ragmesh.peerName" (dict "root" $root "service" $service))) }}
  {{- end }}
  {{- $_ := set $config "peers" $peers }}
{{- end }}
{{- if include "ragmesh.api" . }}
  {{- $_ := set $config "api" (dict "addr" "0.0.0.0:8085") }}
{{- end }}
{{- if eq .Chart.Name "dialog" }}
  {{- /* Volumes over the network, and three copies, are slower to sync than a laptop's disk. Past this, turns wait in the spool,
         which goes with the pod. */}}
  {{- $_ := set $config "turn" (dict "budget" (dict "save" "2s")) }}
  {{- $_ := set $config "auth" (dict "bootstrap_key" (dict "file" (printf "%s/bootstrap-key" $secrets))) }}
{{- end }}
{{- if include "ragmesh.separate" . }}
  {{- $_ := set $config "role" (.Role | default "serve") }}
  {{- if .Role }}
    {{- /* It answers no calls. */}}
    {{- $_ := set $config "rpc" (dict "addr" "127.0.0.1:8080") }}
  {{- end }}
{{- end }}
{{- mergeOverwrite $config (deepCopy .Values.config) | toYaml }}
{{- end }}

{{- /* Whether other applications reach the service on a port of their own. */}}
{{- define "ragmesh.api" -}}
{{- if and (eq .Chart.Name "llm-gateway") .Values.api.enabled }}true{{ end }}
{{- end }}

{{- /* The NATS settings: the chart's, and where they are empty the global ones. */}}
{{- define "ragmesh.nats" -}}
{{- $global := .Values.global.nats | default dict }}
{{- $own := .Values.nats }}
url: {{ $own.url | default $global.url | default "" | quote }}
replicas: {{ int ($own.replicas | default $global.replicas | default 1) }}
auth: {{ $own.auth | default $global.auth | default "token" }}
tokenSecret: {{ $own.tokenSecret | default $global.tokenSecret | default (printf "%s-nats" (include "ragmesh.instance" .)) }}
credentialsSecret: {{ $own.credentialsSecret | default $global.credentialsSecret | default "" | quote }}
{{- end }}

{{- define "ragmesh.natsURL" -}}
{{- (include "ragmesh.nats" . | fromYaml).url | default (printf "nats://%s-nats:4222" (include "ragmesh.instance" .)) }}
{{- end }}

{{- /* Name of the ConfigMap beside the configuration, or nothing when the service has none. */}}
{{- define "ragmesh.folderConfigMap" -}}
{{- with (include "ragmesh.fact" . | fromYaml).folder }}
{{- $key := printf "%sConfigMap" .values }}
{{- index $.Values $key | default (printf "%s-%s" (include "ragmesh.name" $) .values) }}
{{- end }}
{{- end }}

{{- /* A hash of what the ConfigMaps hold. One that comes from elsewhere is not seen here: a new name, or a restart, makes new pods. */}}
{{- define "ragmesh.configHash" -}}
{{- $folder := dict }}
{{- with (include "ragmesh.fact" . | fromYaml).folder }}
  {{- $folder = index $.Values .values }}
{{- end }}
{{- printf "%s\n%s" (include "ragmesh.config" .) (toYaml $folder) | sha256sum | trunc 16 }}
{{- end }}

{{- define "ragmesh.configMap" }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  {{- include "ragmesh.metadata" (dict "root" . "suffix" "") | nindent 2 }}
data:
  {{ .Chart.Name }}.yaml: |
    {{- include "ragmesh.config" . | nindent 4 }}
{{- end }}

{{- define "ragmesh.folderConfigMaps" }}
{{- with (include "ragmesh.fact" . | fromYaml).folder }}
{{- if not (index $.Values (printf "%sConfigMap" .values)) }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  {{- include "ragmesh.metadata" (dict "root" $ "suffix" (printf "-%s" .values)) | nindent 2 }}
data:
  {{- range $name, $content := index $.Values .values }}
  {{ $name }}.yaml: |
    {{- if kindIs "string" $content }}
    {{- $content | trimSuffix "\n" | nindent 4 }}
    {{- else }}
    {{- toYaml $content | nindent 4 }}
    {{- end }}
  {{- else }}
  {}
  {{- end }}
{{- end }}
{{- end }}
{{- end }}
