{{- /* Refuses what a schema cannot: combinations of values that each are good. Every sentence says what to do. */}}
{{- define "ragmesh.validate" -}}
{{- $v := .Values }}
{{- $fact := include "ragmesh.fact" . | fromYaml }}
{{- $nats := include "ragmesh.nats" . | fromYaml }}
{{- if eq .Chart.Name "retriever" }}
  {{- include "ragmesh.validateRoles" . }}
{{- else if and (eq $fact.workload "StatefulSet") (gt (int $v.replicas) 1) }}
  {{- fail (printf "%s keeps its data on its pod's own disk, and a second pod would have another one: set replicas to 1." .Chart.Name) }}
{{- end }}
{{- include "ragmesh.validateWorkload" . }}
{{- if and (eq $nats.auth "credentials") (not $nats.credentialsSecret) }}
  {{- fail "nats.auth is credentials and no Secret is named: set nats.credentialsSecret to one with a creds file under nats.creds." }}
{{- end }}
{{- with $fact.folder }}
  {{- if and (index $v .values) (index $v (printf "%sConfigMap" .values)) }}
    {{- fail (printf "%s and %sConfigMap are both given, and only one of them would be mounted: leave one out." .values .values) }}
  {{- end }}
{{- end }}
{{- $owned := dict
  "data" "scratch and persistence" "rpc.addr" "nothing: the port is always 8080" "admin.addr" "nothing: the port is always 9090" "api.addr" "api.enabled"
  "identity" "the value identity" "nats.url" "nats.url" "nats.token" "nats.auth and nats.tokenSecret" "nats.credentials" "nats.auth and nats.credentialsSecret"
  "nats.replicas" "nats.replicas" "shutdown.timeout" "shutdown.timeoutSeconds" "shutdown.delay" "shutdown.preStopSeconds" }}
{{- range $key, $value := $owned }}
  {{- $path := splitList "." $key }}
  {{- $section := index $v.config (first $path) }}
  {{- if and (kindIs "map" $section) (eq (len $path) 2) }}
    {{- if hasKey $section (last $path) }}
      {{- fail (printf "config.%s is the chart's to set: use %s instead." $key $value) }}
    {{- end }}
  {{- else if and (eq (len $path) 1) (hasKey $v.config $key) }}
    {{- fail (printf "config.%s is the chart's to set: use %s instead." $key $value) }}
  {{- end }}
{{- end }}
{{- if eq .Chart.Name "dialog" }}
  {{- include "ragmesh.validateEdge" . }}
{{- end }}
{{- end }}

{{- /* What is said of one workload: how it scales, and its resources. */}}
{{- define "ragmesh.validateWorkload" -}}
{{- $v := .Values }}
{{- $at := ternary "ingest." "" (not (empty .Role)) }}
{{- with $v.autoscaling }}
  {{- if and .hpa.enabled .keda.enabled }}
    {{- fail (printf "%sautoscaling.hpa.enabled and %sautoscaling.keda.enabled are both true, and two autoscalers would fight over the number of pods: turn one off." $at $at) }}
  {{- end }}
  {{- if and (or .hpa.enabled .keda.enabled) (gt (int .minReplicas) (int .maxReplicas)) }}
    {{- fail (printf "%sautoscaling.minReplicas (%d) is more than %sautoscaling.maxReplicas (%d): raise the one or lower the other." $at (int .minReplicas) $at (int .maxReplicas)) }}
  {{- end }}
  {{- if and (or .hpa.enabled .keda.enabled) (not $v.resources.cpu) }}
    {{- fail (printf "Autoscaling holds the CPU at a share of %sresources.cpu, which is empty: set %sresources.cpu, or turn autoscaling off." $at $at) }}
  {{- end }}
  {{- if and .hpa.perSecond.metric (not .hpa.perSecond.target) }}
    {{- fail (printf "%sautoscaling.hpa.perSecond.metric is given without a target: set %sautoscaling.hpa.perSecond.target to the value per pod to hold it at." $at $at) }}
  {{- end }}
{{- end }}
{{- include "ragmesh.validateResources" . }}
{{- end }}

{{- /* More than one pod needs a store that pods share. */}}
{{- define "ragmesh.validateRoles" -}}
{{- $v := .Values }}
{{- if hasKey $v.config "role" }}
  {{- fail "config.role is the chart's to set: use ingest.separate instead." }}
{{- end }}
{{- if not (include "ragmesh.shared" .) }}
  {{- if $v.ingest.separate }}
    {{- fail "ingest.separate is true, and the embedded store is files of one pod's disk, which takes documents in and serves: set config.store to weaviate, or ingest.separate to false." }}
  {{- end }}
  {{- if gt (int $v.replicas) 1 }}
    {{- fail "The embedded store is files of one pod's disk, and a second pod would have another one: set config.store to weaviate, or replicas to 1." }}
  {{- end }}
  {{- if include "ragmesh.autoscaled" . }}
    {{- fail "autoscaling is on, and the embedded store is files of one pod's disk: set config.store to weaviate, or turn autoscaling off." }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "ragmesh.validateResources" -}}
{{- $at := ternary "ingest." "" (not (empty .Role)) }}
{{- if eq .Values.qosClass "Guaranteed" }}
  {{- if not .Values.resources.cpu }}
    {{- fail (printf "qosClass is Guaranteed, which needs a CPU limit as well as a memory limit: set %sresources.cpu." $at) }}
  {{- end }}
  {{- if and .Values.resources.cpuLimit (ne (toString .Values.resources.cpuLimit) (toString .Values.resources.cpu)) }}
    {{- fail (printf "qosClass is Guaranteed, which makes the CPU limit equal to %sresources.cpu: leave %sresources.cpuLimit empty." $at $at) }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "ragmesh.validateEdge" -}}
{{- $v := .Values }}
{{- $auth := $v.config.auth | default dict }}
{{- if or (and (hasKey $v.config "auth") (not $v.config.auth)) (and (hasKey $auth "bootstrap_key") (not $auth.bootstrap_key)) }}
  {{- fail "config.auth takes the bootstrap key away, and without authentication dialog listens on loopback only: leave it to the chart, which mounts auth.bootstrapKeySecret." }}
{{- end }}
{{- $open := or $v.ingress.enabled $v.gateway.enabled }}
{{- if and $open (not $v.host) }}
  {{- fail "ingress or gateway is on and the host is empty: set host to the name that clients use, such as ask.example.com." }}
{{- end }}
{{- if and $v.gateway.enabled (not $v.gateway.className) (not $v.gateway.parentRefs) }}
  {{- fail "gateway is on and names no Gateway: set gateway.parentRefs to one that is there, or gateway.className to have one made." }}
{{- end }}
{{- if and $v.gateway.className $v.gateway.parentRefs }}
  {{- fail "gateway.className makes a Gateway and gateway.parentRefs names others: leave one of them out." }}
{{- end }}
{{- $terminates := or $v.ingress.enabled (and $v.gateway.enabled $v.gateway.className) }}
{{- if and $terminates $v.tls.enabled (not $v.tls.issuer.name) (not $v.tls.secretName) }}
  {{- fail "tls is on and nobody makes the certificate: set tls.issuer.name to an issuer of cert-manager, or tls.secretName to a Secret that is there, or tls.enabled to false where something in front of the cluster does TLS." }}
{{- end }}
{{- with ($v.config.turn | default dict).budget }}
  {{- $turn := .turn | default "60s" | toString }}
  {{- $seconds := 0 }}
  {{- if regexMatch "^[0-9]+s$" $turn }}{{ $seconds = trimSuffix "s" $turn | int }}{{ end }}
  {{- if regexMatch "^[0-9]+m$" $turn }}{{ $seconds = mul 60 (trimSuffix "m" $turn | int) }}{{ end }}
  {{- if gt (int $seconds) (int $v.shutdown.timeoutSeconds) }}
    {{- fail (printf "config.turn.budget.turn is %s and a pod that stops waits %d s, so that its longest answers would be cut: raise shutdown.timeoutSeconds, too." $turn (int $v.shutdown.timeoutSeconds)) }}
  {{- end }}
{{- end }}
{{- end }}
