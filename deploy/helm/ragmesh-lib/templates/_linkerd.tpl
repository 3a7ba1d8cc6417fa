{{- /*
Linkerd: what the pods and Services of a service are annotated with, and who may call it. ../../../linkerd/README.md is the guide.

The mesh encrypts, balances each call, ends streams that fell silent, takes failing pods out, refuses callers and counts. It does not
repeat calls and does not time them: the client in libs/rpc does, once, within the caller's deadline. So there are no routes either: a
GRPCRoute would switch off the automatic permission for probes on its Server and every HTTPRoute (a canary) on its port.
*/}}
{{- define "ragmesh.linkerd.enabled" -}}
{{- $own := .Values.linkerd.enabled }}
{{- if ternary (.Values.global.linkerd | default dict).enabled $own (kindIs "invalid" $own) }}true{{ end }}
{{- end }}

{{- define "ragmesh.linkerd.podAnnotations" -}}
{{- if include "ragmesh.linkerd.enabled" . -}}
{{- $proxy := .Values.linkerd.proxy }}
{{- $guaranteed := eq .Values.qosClass "Guaranteed" -}}
linkerd.io/inject: enabled
{{- with ternary ($proxy.cpuLimit | default "1") $proxy.cpu $guaranteed }}
config.linkerd.io/proxy-cpu-request: {{ . | quote }}
{{- end }}
{{- with ternary ($proxy.cpuLimit | default "1") $proxy.cpuLimit $guaranteed }}
config.linkerd.io/proxy-cpu-limit: {{ . | quote }}
{{- end }}
{{- with $proxy.memory }}
config.linkerd.io/proxy-memory-request: {{ . | quote }}
config.linkerd.io/proxy-memory-limit: {{ . | quote }}
{{- end }}
{{- if not (kindIs "invalid" $proxy.nativeSidecar) }}
config.linkerd.io/proxy-enable-native-sidecar: {{ $proxy.nativeSidecar | quote }}
{{- end }}
{{- with $proxy.accessLog }}
config.linkerd.io/access-log: {{ . }}
{{- end }}
{{- with $proxy.skipOutboundPorts }}
config.linkerd.io/skip-outbound-ports: {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Annotations of the Service. The callers' proxies follow them. */}}
{{- define "ragmesh.linkerd.serviceAnnotations" -}}
{{- if include "ragmesh.linkerd.enabled" . -}}
{{- with .Values.linkerd.idleTimeout }}
timeout.linkerd.io/idle: {{ . | quote }}
{{- end }}
{{- with .Values.linkerd.failureAccrual }}
{{- if ternary (ne $.Chart.Name "dialog") .enabled (kindIs "invalid" .enabled) }}
{{- $alone := eq (include "ragmesh.fact" $ | fromYaml).workload "StatefulSet" }}
balancer.linkerd.io/failure-accrual: consecutive
balancer.linkerd.io/failure-accrual-consecutive-max-failures: {{ int .maxFailures | quote }}
balancer.linkerd.io/failure-accrual-consecutive-min-penalty: {{ .minPenalty | quote }}
balancer.linkerd.io/failure-accrual-consecutive-max-penalty: {{ .maxPenalty | default (ternary "5s" "1m" $alone) | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Service accounts that may call this service, as YAML: the call graph's callers, in the order of names, what `helm test` runs as, and what the values add. */}}
{{- define "ragmesh.linkerd.callers" -}}
{{- $root := . }}
{{- $callers := list }}
{{- range $caller, $callees := include "ragmesh.callgraph" . | fromYaml }}
  {{- if has $root.Chart.Name $callees }}
    {{- $callers = append $callers (dict "name" (include "ragmesh.peerName" (dict "root" $root "service" $caller))) }}
  {{- end }}
{{- end }}
{{- if and .Values.tests.enabled (eq .Chart.Name "dialog") }}
  {{- $callers = append $callers (dict "name" (include "ragmesh.testAccount" .)) }}
{{- end }}
{{- concat $callers .Values.linkerd.callers.serviceAccounts | toYaml }}
{{- end }}

{{- /* References to service accounts: (dict "root" . "accounts" (list (dict "name" "x" "namespace" "y"))). */}}
{{- define "ragmesh.linkerd.identityRefs" -}}
{{- range .accounts }}
- kind: ServiceAccount
  name: {{ .name }}
  namespace: {{ .namespace | default $.root.Release.Namespace }}
{{- end }}
{{- end }}

{{- /* An AuthorizationPolicy: (dict "root" . "suffix" "-callers" "server" "x-rpc" "kind" "MeshTLSAuthentication"). It needs the authentication of its own name. */}}
{{- define "ragmesh.linkerd.authorization" }}
---
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata:
  {{- include "ragmesh.metadata" (dict "root" .root "suffix" .suffix) | nindent 2 }}
spec:
  targetRef:
    group: policy.linkerd.io
    kind: Server
    name: {{ .server }}
  requiredAuthenticationRefs:
    - group: policy.linkerd.io
      kind: {{ .kind }}
      name: {{ include "ragmesh.name" .root }}{{ .suffix }}
{{- end }}

{{- /* Lets service accounts and networks reach a Server: (dict "root" . "server" "x-rpc" "suffix" "-callers" "accounts" (list ...) "networks" (list "10.0.0.0/8")). */}}
{{- define "ragmesh.linkerd.allow" }}
{{- with .accounts }}
---
apiVersion: policy.linkerd.io/v1alpha1
kind: MeshTLSAuthentication
metadata:
  {{- include "ragmesh.metadata" (dict "root" $.root "suffix" $.suffix) | nindent 2 }}
spec:
  identityRefs:
    {{- include "ragmesh.linkerd.identityRefs" (dict "root" $.root "accounts" .) | trim | nindent 4 }}
{{- include "ragmesh.linkerd.authorization" (dict "root" $.root "server" $.server "suffix" $.suffix "kind" "MeshTLSAuthentication") }}
{{- end }}
{{- with .networks }}
{{- $suffix := printf "%s-networks" $.suffix }}
---
apiVersion: policy.linkerd.io/v1alpha1
kind: NetworkAuthentication
metadata:
  {{- include "ragmesh.metadata" (dict "root" $.root "suffix" $suffix) | nindent 2 }}
spec:
  networks:
    {{- range . }}
    - cidr: {{ . | quote }}
    {{- end }}
{{- include "ragmesh.linkerd.authorization" (dict "root" $.root "server" $.server "suffix" $suffix "kind" "NetworkAuthentication") }}
{{- end }}
{{- end }}

{{- define "ragmesh.linkerd.accessPolicy" -}}
{{- .Values.linkerd.policy.accessPolicy | default ((.Values.global.linkerd | default dict).policy | default dict).accessPolicy | default "deny" }}
{{- end }}

{{- /* Refuses what would cut answers, or is no limit. */}}
{{- define "ragmesh.linkerd.validate" -}}
{{- $l := .Values.linkerd }}
{{- with $l.idleTimeout }}
  {{- $units := dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000 "d" 86400000 }}
  {{- $milliseconds := mul (regexFind "^[0-9]+" . | int64) (index $units (regexFind "[a-z]+$" .)) }}
  {{- if lt (int64 $milliseconds) 90000 }}
    {{- fail (printf "linkerd.idleTimeout is %s, and a stream may be silent for a minute between heartbeats: set 90s or more, or leave it empty." .) }}
  {{- end }}
{{- end }}
{{- range $key, $value := .Values.service.annotations }}
  {{- if or (hasPrefix "retry.linkerd.io/" $key) (has $key (list "timeout.linkerd.io/request" "timeout.linkerd.io/response")) }}
    {{- fail (printf "service.annotations has %s, which would cut answers and uploads or repeat calls that the services repeat already: leave it out." $key) }}
  {{- end }}
{{- end }}
{{- with $l.rateLimit }}
  {{- if and .total (gt (int .identity) (int .total)) }}
    {{- fail (printf "linkerd.rateLimit.identity (%d) is more than linkerd.rateLimit.total (%d): raise the one or lower the other." (int .identity) (int .total)) }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "ragmesh.linkerd.objects" -}}
{{- if include "ragmesh.linkerd.enabled" . }}
{{- include "ragmesh.linkerd.validate" . }}
{{- if .Values.linkerd.policy.create }}
{{- $name := include "ragmesh.name" . }}
{{- $port := (include "ragmesh.fact" . | fromYaml).port }}
{{- $global := .Values.global.linkerd | default dict }}
{{- $access := include "ragmesh.linkerd.accessPolicy" . }}
---
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata:
  {{- include "ragmesh.metadata" (dict "root" . "suffix" (printf "-%s" $port)) | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "ragmesh.workloadLabels" . | nindent 6 }}
  port: {{ $port }}
  # gRPC would switch off local rate limits; dialog's port has HTTP/1.1 and HTTP/2 on it, which the proxy tells apart itself.
  proxyProtocol: {{ ternary "HTTP/2" "unknown" (eq $port "rpc") }}
  accessPolicy: {{ $access }}
{{- include "ragmesh.linkerd.allow" (dict "root" . "server" (printf "%s-%s" $name $port) "suffix" "-callers"
    "accounts" (include "ragmesh.linkerd.callers" . | fromYamlArray) "networks" .Values.linkerd.callers.networks) }}
{{- if include "ragmesh.api" . }}
---
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata:
  {{- include "ragmesh.metadata" (dict "root" . "suffix" "-api") | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "ragmesh.selectorLabels" . | nindent 6 }}
  port: api
  proxyProtocol: unknown
  accessPolicy: {{ $access }}
{{- include "ragmesh.linkerd.allow" (dict "root" . "server" (printf "%s-api" $name) "suffix" "-api"
    "accounts" .Values.api.serviceAccounts "networks" .Values.api.networks) }}
{{- end }}
---
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata:
  {{- include "ragmesh.metadata" (dict "root" . "suffix" "-admin") | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "ragmesh.selectorLabels" . | nindent 6 }}
  port: admin
  proxyProtocol: HTTP/1
  # The kubelet's probes pass whatever this says: Linkerd allows the paths that the pod declares, as long as no route is attached here.
  accessPolicy: {{ $access }}
{{- $admin := $global.admin | default dict }}
{{- $accounts := concat ($admin.serviceAccounts | default list) .Values.linkerd.admin.serviceAccounts | uniq }}
{{- if and $accounts .Values.tests.enabled }}
  {{- $accounts = append $accounts (dict "name" (include "ragmesh.testAccount" .)) }}
{{- end }}
{{- include "ragmesh.linkerd.allow" (dict "root" . "server" (printf "%s-admin" $name) "suffix" "-admin"
    "accounts" $accounts "networks" (ternary .Values.linkerd.admin.networks list (empty $accounts))) }}
{{- with .Values.linkerd.rateLimit }}
{{- if or .total .identity .overrides }}
---
apiVersion: policy.linkerd.io/v1alpha1
kind: HTTPLocalRateLimitPolicy
metadata:
  {{- include "ragmesh.metadata" (dict "root" $ "suffix" "") | nindent 2 }}
spec:
  targetRef:
    group: policy.linkerd.io
    kind: Server
    name: {{ $name }}-{{ $port }}
  {{- with .total }}
  total:
    requestsPerSecond: {{ int . }}
  {{- end }}
  {{- with .identity }}
  identity:
    requestsPerSecond: {{ int . }}
  {{- end }}
  {{- with .overrides }}
  overrides:
    {{- range . }}
    - requestsPerSecond: {{ int .requestsPerSecond }}
      clientRefs:
        {{- range .serviceAccounts }}
        - kind: ServiceAccount
          name: {{ .name }}
          namespace: {{ .namespace | default $.Release.Namespace }}
        {{- end }}
    {{- end }}
  {{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- include "ragmesh.linkerd.egress" . }}
{{- end }}
{{- end }}

{{- /* NATS: every service connects to it, and only they. Its protocol is not HTTP, so that the proxy passes it on as it is. */}}
{{- define "ragmesh.linkerd.natsObjects" -}}
{{- if include "ragmesh.linkerd.enabled" . }}
{{- if .Values.linkerd.policy.create }}
{{- $root := . }}
{{- $accounts := list }}
{{- range $service, $callees := include "ragmesh.callgraph" . | fromYaml }}
  {{- $accounts = append $accounts (dict "name" (include "ragmesh.peerName" (dict "root" $root "service" $service))) }}
{{- end }}
---
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata:
  {{- include "ragmesh.metadata" (dict "root" . "suffix" "-client") | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "ragmesh.selectorLabels" . | nindent 6 }}
  port: nats
  proxyProtocol: opaque
  accessPolicy: {{ include "ragmesh.linkerd.accessPolicy" . }}
{{- include "ragmesh.linkerd.allow" (dict "root" . "server" (printf "%s-client" (include "ragmesh.name" .)) "suffix" "-callers"
    "accounts" (concat $accounts .Values.linkerd.callers.serviceAccounts) "networks" .Values.linkerd.callers.networks) }}
{{- end }}
{{- end }}
{{- end }}

{{- /*
TLSRoutes to what the service calls outside the cluster: the hosts of its providers (llm-gateway) or plugins (tools), so that the mesh lets
through what the configuration names and nothing else. They need the EgressNetwork of ../../../linkerd/egress.yaml and the TLSRoute kind.
*/}}
{{- define "ragmesh.linkerd.egress" -}}
{{- $egress := .Values.linkerd.egress }}
{{- if and $egress.network (include "ragmesh.fact" . | fromYaml).outside }}
{{- range $port, $hosts := include "ragmesh.linkerd.outsideHosts" . | fromYaml }}
---
apiVersion: gateway.networking.k8s.io/v1alpha2
kind: TLSRoute
metadata:
  {{- include "ragmesh.metadata" (dict "root" $ "suffix" (printf "-egress-%s" $port)) | nindent 2 }}
spec:
  parentRefs:
    - group: policy.linkerd.io
      kind: EgressNetwork
      name: {{ $egress.network }}
      port: {{ $port }}
  hostnames:
    {{- range $hosts }}
    - {{ . | quote }}
    {{- end }}
  rules:
    - backendRefs:
        - group: policy.linkerd.io
          kind: EgressNetwork
          name: {{ $egress.network }}
          port: {{ $port }}
{{- end }}
{{- end }}
{{- end }}

{{- /*
Hosts outside the cluster by port, as YAML. Of addresses only https ones count: what is spoken in clear text, such as a model server
beside us, is a Service of the cluster.
*/}}
{{- define "ragmesh.linkerd.outsideHosts" -}}
{{- $all := list }}
{{- range $name, $provider := .Values.config.providers }}
  {{- $all = append $all (include "ragmesh.linkerd.hostOf" $provider.base_url) }}
{{- end }}
{{- range $name, $plugin := .Values.plugins }}
  {{- if kindIs "string" $plugin }}
    {{- $plugin = fromYaml $plugin }}
  {{- end }}
  {{- range $plugin.egress | default (list (include "ragmesh.linkerd.hostOf" $plugin.url)) }}
    {{- /* A network says which addresses a name may have, not whom is called. */}}
    {{- if not (contains "/" .) }}
      {{- $all = append $all . }}
    {{- end }}
  {{- end }}
{{- end }}
{{- $ports := dict }}
{{- range concat $all .Values.linkerd.egress.hosts }}
  {{- with . }}
    {{- $host := splitList ":" . | first }}
    {{- $port := ternary (splitList ":" . | last) "443" (contains ":" .) }}
    {{- $_ := set $ports $port (append (get $ports $port | default list) $host | uniq | sortAlpha) }}
  {{- end }}
{{- end }}
{{- toYaml $ports }}
{{- end }}

{{- /* host or host:port of an https address, nothing for any other. */}}
{{- define "ragmesh.linkerd.hostOf" -}}
{{- if hasPrefix "https://" (. | default "") }}
{{- (urlParse .).host }}
{{- end }}
{{- end }}
