{{- /*
What the Prometheus operator and Grafana read: a PodMonitor (or ServiceMonitor) on the admin port, a PrometheusRule and dashboards.

The rules and dashboards stand in deploy/monitoring, where they are tested; each chart has links to those of its service in its folder
monitoring, for a chart sees only what lies in it, and a packaged chart holds the files themselves. The rules are narrowed here to the
release's namespace and the chart's service, so that several installations do not alert for each other.
*/}}
{{- define "ragmesh.monitoring.enabled" -}}
{{- $own := .Values.monitoring.enabled }}
{{- if ternary (.Values.global.monitoring | default dict).enabled $own (kindIs "invalid" $own) }}true{{ end }}
{{- end }}

{{- define "ragmesh.monitoring.objects" }}
{{- if include "ragmesh.monitoring.enabled" . }}
{{- with .Values.monitoring }}
{{- if and .podMonitor.enabled .serviceMonitor.enabled }}
{{- fail "monitoring.podMonitor and monitoring.serviceMonitor would both have every pod scraped: enable one of them." }}
{{- end }}
{{- if .podMonitor.enabled }}
{{- include "ragmesh.monitoring.monitor" (dict "root" $ "kind" "PodMonitor" "endpoints" "podMetricsEndpoints") }}
{{- end }}
{{- if .serviceMonitor.enabled }}
{{- include "ragmesh.monitoring.monitor" (dict "root" $ "kind" "ServiceMonitor" "endpoints" "endpoints") }}
{{- end }}
{{- if .rules.enabled }}
{{- include "ragmesh.monitoring.rules" $ }}
{{- end }}
{{- if .dashboards.enabled }}
{{- include "ragmesh.monitoring.dashboards" $ }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- /* A monitor of the pods, those that are not ready included: (dict "root" . "kind" "PodMonitor" "endpoints" "podMetricsEndpoints"). */}}
{{- define "ragmesh.monitoring.monitor" }}
---
apiVersion: monitoring.coreos.com/v1
kind: {{ .kind }}
metadata:
  {{- include "ragmesh.metadata" (dict "root" .root "suffix" "") | nindent 2 }}
    {{- with .root.Values.monitoring.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  selector:
    matchLabels:
      {{- include "ragmesh.selectorLabels" .root | nindent 6 }}
  {{ .endpoints }}:
    - port: admin
      path: /metrics
      interval: {{ .root.Values.monitoring.interval }}
      scrapeTimeout: 10s
      relabelings:
        # The pod's name stays when its container is restarted, and says more than an address.
        - {action: replace, sourceLabels: [__meta_kubernetes_pod_name], targetLabel: instance}
{{- end }}

{{- define "ragmesh.monitoring.rules" }}
{{- $values := .Values.monitoring.rules }}
{{- $groups := list }}
{{- range $file := list "services" "service" }}
  {{- $text := $.Files.Get (printf "monitoring/rules/%s.yaml" $file) }}
  {{- if not $text }}{{ fail (printf "the chart lacks monitoring/rules/%s.yaml: its links into deploy/monitoring are broken" $file) }}{{ end }}
  {{- $text = $text | replace `namespace=~".*"` (printf `namespace="%s"` $.Release.Namespace) }}
  {{- $text = $text | replace `ragmesh_service=~".*"` (printf `ragmesh_service="%s"` $.Chart.Name) }}
  {{- $text = $text | replace "(1 - 0.995)" (printf "(1 - %v)" $values.objective) }}
  {{- $text = $text | replace "https://github.com/ragmesh/ragmesh/blob/main/docs/runbooks.md" $values.runbooks }}
  {{- range $group := ($text | fromYaml).groups }}
    {{- $rules := list }}
    {{- range $rule := $group.rules }}
      {{- if not (has ($rule.alert | default "") $values.disabled) }}
        {{- if $rule.alert }}
          {{- $rule = merge (deepCopy (get $values.overrides $rule.alert | default dict)) (dict "labels" (deepCopy $values.labels)) $rule }}
        {{- end }}
        {{- $rules = append $rules $rule }}
      {{- end }}
    {{- end }}
    {{- $groups = append $groups (dict "name" $group.name "rules" $rules) }}
  {{- end }}
{{- end }}
---
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  {{- include "ragmesh.metadata" (dict "root" . "suffix" "") | nindent 2 }}
    {{- with .Values.monitoring.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  groups:
    {{- toYaml $groups | nindent 4 }}
{{- end }}

{{- define "ragmesh.monitoring.dashboards" }}
{{- $values := .Values.monitoring.dashboards }}
{{- $files := .Files.Glob "monitoring/dashboards/*.json" }}
{{- if $files }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "ragmesh.name" . }}-dashboards
  namespace: {{ $values.namespace | default .Release.Namespace }}
  labels:
    {{- include "ragmesh.labels" . | nindent 4 }}
    {{- toYaml $values.labels | nindent 4 }}
  {{- with $values.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
data:
  {{- range $path, $_ := $files }}
  ragmesh-{{ base $path }}: {{ $.Files.Get $path | fromJson | toJson | quote }}
  {{- end }}
{{- end }}
{{- end }}
