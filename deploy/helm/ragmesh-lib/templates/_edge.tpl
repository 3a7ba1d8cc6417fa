{{- /* What makes dialog reachable from outside: an Ingress or a route of the Gateway API, and its certificate. */}}
{{- define "ragmesh.edge" }}
{{- $tls := .Values.tls }}
{{- $secret := include "ragmesh.tlsSecret" . }}
{{- $host := .Values.host }}
{{- if .Values.ingress.enabled }}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  {{- include "ragmesh.metadata" (dict "root" . "suffix" "" "annotations" .Values.ingress.annotations) | nindent 2 }}
spec:
  {{- with .Values.ingress.className }}
  ingressClassName: {{ . }}
  {{- end }}
  {{- if $tls.enabled }}
  tls:
    - hosts: [{{ $host }}]
      secretName: {{ $secret }}
  {{- end }}
  rules:
    - host: {{ $host }}
      http:
        paths:
          - path: /
            pathType: Prefix
            backend:
              service:
                name: {{ include "ragmesh.name" . }}
                port:
                  name: http
{{- end }}
{{- with .Values.gateway }}
{{- if .enabled }}
{{- if .className }}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata:
  {{- include "ragmesh.metadata" (dict "root" $ "suffix" "") | nindent 2 }}
spec:
  gatewayClassName: {{ .className }}
  listeners:
    {{- if $tls.enabled }}
    - name: https
      hostname: {{ $host }}
      port: 443
      protocol: HTTPS
      tls:
        mode: Terminate
        certificateRefs:
          - name: {{ $secret }}
    {{- else }}
    - name: http
      hostname: {{ $host }}
      port: 80
      protocol: HTTP
    {{- end }}
{{- end }}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  {{- include "ragmesh.metadata" (dict "root" $ "suffix" "") | nindent 2 }}
spec:
  hostnames: [{{ $host }}]
  parentRefs:
    {{- if .className }}
    - name: {{ include "ragmesh.name" $ }}
    {{- else }}
    {{- toYaml .parentRefs | nindent 4 }}
    {{- end }}
  rules:
    - matches:
        - path: {type: PathPrefix, value: /}
      {{- with .requestTimeout }}
      # Some gateways cut every answer after a few seconds unless told otherwise, and an answer streams for up to a minute.
      timeouts:
        request: {{ . }}
      {{- end }}
      backendRefs:
        - name: {{ include "ragmesh.name" $ }}
          port: 8080
{{- end }}
{{- end }}
{{- if and $tls.enabled $tls.issuer.name (or .Values.ingress.enabled .Values.gateway.enabled) }}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata:
  {{- include "ragmesh.metadata" (dict "root" . "suffix" "") | nindent 2 }}
spec:
  secretName: {{ $secret }}
  dnsNames: [{{ $host }}]
  issuerRef:
    group: cert-manager.io
    kind: {{ $tls.issuer.kind }}
    name: {{ $tls.issuer.name }}
  privateKey:
    algorithm: ECDSA
    size: 256
    rotationPolicy: Always
{{- end }}
{{- end }}

{{- define "ragmesh.tlsSecret" -}}
{{- .Values.tls.secretName | default (printf "%s-tls" (include "ragmesh.name" .)) }}
{{- end }}
