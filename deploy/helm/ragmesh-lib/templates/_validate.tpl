{{- /* Refuses what a schema cannot: combinations of values that each are good. Every sentence says what to do. */}}
{{- define "ragmesh.validate" -}}
{{- $v := .Values }}
{{- $fact := include "ragmesh.fact" . | fromYaml }}
{{- $nats := include "ragmesh.nats" . | fromYaml }}
{{- if and (eq $fact.workload "StatefulSet") (gt (int $v.replicas) 1) }}
  {{- fail (printf "%s keeps its data on its pod's own disk, and a second pod would have another one: set replicas to 1." .Chart.Name) }}
{{- end }}
{{- with $v.autoscaling }}
  {{- if and .hpa.enabled .keda.enabled }}
    {{- fail "autoscaling.hpa.enabled and autoscaling.keda.enabled are both true, and two autoscalers would fight over the number of pods: turn one off." }}
  {{- end }}
  {{- if and (or .hpa.enabled .keda.enabled) (gt (int .minReplicas) (int .maxReplicas)) }}
    {{- fail (printf "autoscaling.minReplicas (%d) is more than autoscaling.maxReplicas (%d): raise the one or lower the other." (int .minReplicas) (int .maxReplicas)) }}
  {{- end }}
  {{- if and (or .hpa.enabled .keda.enabled) (not $v.resources.cpu) }}
    {{- fail "Autoscaling holds the CPU at a share of resources.cpu, which is empty: set resources.cpu, or turn autoscaling off." }}
  {{- end }}
  {{- if and .hpa.perSecond.metric (not .hpa.perSecond.target) }}
    {{- fail "autoscaling.hpa.perSecond.metric is given without a target: set autoscaling.hpa.perSecond.target to the value per pod to hold it at." }}
  {{- end }}
{{- end }}
{{- include "ragmesh.validateResources" . }}
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

{{- define "ragmesh.validateResources" -}}
{{- if eq .Values.qosClass "Guaranteed" }}
  {{- if not .Values.resources.cpu }}
    {{- fail "qosClass is Guaranteed, which needs a CPU limit as well as a memory limit: set resources.cpu." }}
  {{- end }}
  {{- if and .Values.resources.cpuLimit (ne (toString .Values.resources.cpuLimit) (toString .Values.resources.cpu)) }}
    {{- fail "qosClass is Guaranteed, which makes the CPU limit equal to resources.cpu: leave resources.cpuLimit empty." }}
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
