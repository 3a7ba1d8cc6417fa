{{- /*
Pods for `helm test`: each step is a container of its own, as the image has no shell. They stay until the next test, so that
`helm test --logs` has something to show.
*/}}
{{- define "ragmesh.tests" }}
{{- if .Values.tests.enabled }}
{{- $edge := eq .Chart.Name "dialog" }}
{{- $name := include "ragmesh.name" . }}
{{- if $edge }}
---
# The question is asked by someone whom a policy of the mesh can name.
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "ragmesh.testAccount" . }}
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "ragmesh.labels" . | nindent 4 }}
automountServiceAccountToken: false
{{- end }}
---
apiVersion: v1
kind: Pod
metadata:
  name: {{ $name }}-test
  namespace: {{ .Release.Namespace }}
  labels:
    {{- $labels := mergeOverwrite (include "ragmesh.labels" . | fromYaml) (dict "app.kubernetes.io/name" "ragmesh-test") }}
    {{- toYaml $labels | nindent 4 }}
  annotations:
    helm.sh/hook: test
    helm.sh/hook-delete-policy: before-hook-creation
    {{- with include "ragmesh.linkerd.podAnnotations" . }}
    {{- . | nindent 4 }}
    {{- end }}
spec:
  restartPolicy: Never
  serviceAccountName: {{ include "ragmesh.testAccount" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- with include "ragmesh.imagePullSecrets" . }}
  {{- . | nindent 2 }}
  {{- end }}
  securityContext:
    {{- include "ragmesh.podSecurityContext" . | nindent 4 }}
  initContainers:
    - name: version
      args: [version]
      {{- include "ragmesh.testContainer" . | nindent 6 }}
  containers:
    - name: health
      args: [health, "http://{{ $name }}:9090", --wait, 60s]
      {{- include "ragmesh.testContainer" . | nindent 6 }}
    {{- if include "ragmesh.separate" . }}
    - name: health-ingest
      args: [health, "http://{{ $name }}-ingest:9090", --wait, 60s]
      {{- include "ragmesh.testContainer" . | nindent 6 }}
    {{- end }}
{{- if $edge }}
---
apiVersion: v1
kind: Pod
metadata:
  name: {{ $name }}-test-ask
  namespace: {{ .Release.Namespace }}
  labels:
    {{- toYaml $labels | nindent 4 }}
  annotations:
    helm.sh/hook: test
    helm.sh/hook-weight: "1"
    helm.sh/hook-delete-policy: before-hook-creation
    {{- with include "ragmesh.linkerd.podAnnotations" . }}
    {{- . | nindent 4 }}
    {{- end }}
spec:
  restartPolicy: Never
  serviceAccountName: {{ include "ragmesh.testAccount" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- with include "ragmesh.imagePullSecrets" . }}
  {{- . | nindent 2 }}
  {{- end }}
  securityContext:
    {{- include "ragmesh.podSecurityContext" . | nindent 4 }}
  containers:
    - name: ask
      args: [ask, --server, "http://{{ $name }}:8080", "What is 3.5 % of 1200?"]
      env:
        - name: RAGMESH_API_KEY
          valueFrom:
            secretKeyRef:
              name: {{ include "ragmesh.bootstrapSecret" . }}
              key: key
      {{- include "ragmesh.testContainer" . | nindent 6 }}
{{- end }}
{{- end }}
{{- end }}

{{- /* What the tests run as: an account of their own where they call dialog, which only dialog's chart makes, and elsewhere the service's. */}}
{{- define "ragmesh.testAccount" -}}
{{- if eq .Chart.Name "dialog" }}{{ include "ragmesh.instance" . }}-test{{ else }}{{ include "ragmesh.name" . }}{{ end }}
{{- end }}

{{- define "ragmesh.testContainer" -}}
image: {{ include "ragmesh.image" (dict "root" . "image" .Values.tests.image) }}
imagePullPolicy: {{ include "ragmesh.imagePullPolicy" (dict "root" . "image" .Values.tests.image) }}
resources:
  requests: {cpu: 50m, memory: 64Mi}
  limits: {memory: 64Mi}
securityContext:
  {{- include "ragmesh.containerSecurityContext" . | nindent 2 }}
{{- end }}
