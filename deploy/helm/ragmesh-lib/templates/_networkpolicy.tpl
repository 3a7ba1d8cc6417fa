{{- /*
Who may reach the service and what it may reach, by rule. Between pods of the mesh everything arrives on the proxy's port 4143, whatever
the service's port; where only one side is in the mesh, on the service's own. Both are open while the mesh is on, so that services can enter
it one by one.
*/}}
{{- define "ragmesh.networkPolicy" }}
{{- if .Values.networkPolicy.enabled }}
{{- $root := . }}
{{- $policy := .Values.networkPolicy }}
{{- $fact := include "ragmesh.fact" . | fromYaml }}
{{- $graph := include "ragmesh.callgraph" . | fromYaml }}
{{- $mesh := include "ragmesh.linkerd.enabled" . }}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "ragmesh.metadata" (dict "root" . "suffix" "") | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "ragmesh.workloadLabels" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  ingress:
    {{- if not .Role }}
    # Calls.
    - ports:
        {{- include "ragmesh.policyPorts" (dict "port" 8080 "mesh" $mesh) | nindent 8 }}
      {{- if or (ne .Chart.Name "dialog") .Values.reachableFrom }}
      from:
        {{- range $caller, $callees := $graph }}
        {{- if has $root.Chart.Name $callees }}
        - podSelector:
            matchLabels:
              {{- include "ragmesh.peerLabels" (dict "root" $root "service" $caller) | nindent 14 }}
        {{- end }}
        {{- end }}
        - podSelector:
            matchLabels:
              {{- include "ragmesh.peerLabels" (dict "root" . "service" "ragmesh-test") | nindent 14 }}
        {{- with .Values.reachableFrom }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- end }}
    {{- end }}
    {{- if include "ragmesh.api" . }}
    # Other applications, which show a key.
    - ports:
        {{- include "ragmesh.policyPorts" (dict "port" 8085 "mesh" $mesh) | nindent 8 }}
      from:
        {{- toYaml (.Values.api.reachableFrom | default (list (dict "podSelector" dict))) | nindent 8 }}
    {{- end }}
    # Metrics and health; probes come from the node, which no policy keeps out.
    - ports:
        {{- include "ragmesh.policyPorts" (dict "port" 9090 "mesh" $mesh) | nindent 8 }}
        {{- if $mesh }}
        - port: 4191
        {{- end }}
      from:
        - podSelector:
            matchLabels:
              {{- include "ragmesh.peerLabels" (dict "root" . "service" "ragmesh-test") | nindent 14 }}
        {{- range $policy.monitoringNamespaces }}
        - namespaceSelector:
            matchLabels:
              kubernetes.io/metadata.name: {{ . }}
        {{- end }}
    {{- if $mesh }}
    # linkerd viz: the proxy's metrics and tap.
    - ports:
        - port: 4190
        - port: 4191
      from:
        - namespaceSelector:
            matchLabels:
              kubernetes.io/metadata.name: {{ include "ragmesh.linkerdNamespace" . }}-viz
    {{- end }}
    {{- with $policy.extraIngress }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  egress:
    # Names. A cache on the node has no pod that could be selected, so any address will do.
    - ports:
        - port: 53
          protocol: UDP
        - port: 53
          protocol: TCP
    # NATS.
    - ports:
        {{- include "ragmesh.policyPorts" (dict "port" 4222 "mesh" $mesh) | nindent 8 }}
      to:
        - podSelector:
            matchLabels:
              app.kubernetes.io/name: nats
          {{- with $policy.natsNamespace }}
          namespaceSelector:
            matchLabels:
              kubernetes.io/metadata.name: {{ . }}
          {{- end }}
    {{- if include "ragmesh.shared" . }}
    # Weaviate: REST and gRPC.
    - ports:
        - port: 8080
        - port: 50051
        {{- if $mesh }}
        - port: 4143
        {{- end }}
      to:
        - podSelector:
            matchLabels:
              app.kubernetes.io/name: weaviate
          {{- with .Values.weaviate.namespace }}
          namespaceSelector:
            matchLabels:
              kubernetes.io/metadata.name: {{ . }}
          {{- end }}
    {{- end }}
    {{- with index $graph .Chart.Name }}
    # The services it calls.
    - ports:
        {{- include "ragmesh.policyPorts" (dict "port" 8080 "mesh" $mesh) | nindent 8 }}
      to:
        {{- range . }}
        - podSelector:
            matchLabels:
              {{- include "ragmesh.peerLabels" (dict "root" $root "service" .) | nindent 14 }}
        {{- end }}
    {{- end }}
    {{- if $mesh }}
    # The mesh's control plane.
    - to:
        - namespaceSelector:
            matchLabels:
              kubernetes.io/metadata.name: {{ include "ragmesh.linkerdNamespace" . }}
    {{- end }}
    {{- if and $fact.outside .Values.outside.ports }}
    # Outside the cluster.
    - ports:
        {{- range .Values.outside.ports }}
        - port: {{ int . }}
        {{- end }}
      to:
        {{- range $cidr := list "0.0.0.0/0" "::/0" }}
        - ipBlock:
            cidr: {{ $cidr | quote }}
            {{- $except := list }}
            {{- range $root.Values.outside.except }}
            {{- if eq (contains ":" .) (contains ":" $cidr) }}
            {{- $except = append $except . }}
            {{- end }}
            {{- end }}
            {{- with $except }}
            except:
              {{- toYaml . | nindent 14 }}
            {{- end }}
        {{- end }}
    {{- end }}
    {{- with $policy.extraEgress }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}
{{- end }}

{{- /* The ports of a rule for a service's port: (dict "port" 8080 "mesh" "true"). */}}
{{- define "ragmesh.policyPorts" -}}
- port: {{ .port }}
{{- if .mesh }}
- port: 4143
{{- end }}
{{- end }}

{{- define "ragmesh.linkerdNamespace" -}}
{{- dig "linkerd" "namespace" "linkerd" .Values.global }}
{{- end }}
