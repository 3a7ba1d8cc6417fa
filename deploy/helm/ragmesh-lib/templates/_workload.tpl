{{- define "ragmesh.serviceAccount" }}
---
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- include "ragmesh.metadata" (dict "root" . "suffix" "" "annotations" .Values.serviceAccount.annotations) | nindent 2 }}
automountServiceAccountToken: false
{{- end }}

{{- define "ragmesh.workload" }}
{{- $fact := include "ragmesh.fact" . | fromYaml }}
{{- $stateful := eq $fact.workload "StatefulSet" }}
---
apiVersion: apps/v1
kind: {{ $fact.workload }}
metadata:
  {{- include "ragmesh.metadata" (dict "root" . "suffix" "") | nindent 2 }}
spec:
  {{- if not (include "ragmesh.autoscaled" .) }}
  replicas: {{ int .Values.replicas }}
  {{- end }}
  revisionHistoryLimit: 5
  selector:
    matchLabels:
      {{- include "ragmesh.workloadLabels" . | nindent 6 }}
  {{- if $stateful }}
  serviceName: {{ include "ragmesh.name" . }}
  # OrderedReady would wait for ever for a broken pod to become ready before it replaces it by a mended one.
  podManagementPolicy: Parallel
  updateStrategy:
    type: RollingUpdate
  {{- include "ragmesh.volumeClaim" . | nindent 2 }}
  {{- else }}
  strategy:
    type: RollingUpdate
    rollingUpdate:
      maxUnavailable: 0
      maxSurge: 1
  {{- end }}
  template:
    metadata:
      labels:
        {{- include "ragmesh.labels" . | nindent 8 }}
        {{- with .Values.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      annotations:
        {{- include "ragmesh.podAnnotations" . | nindent 8 }}
    spec:
      {{- include "ragmesh.podSpec" . | nindent 6 }}
{{- end }}

{{- define "ragmesh.volumeClaim" -}}
{{- if .Values.persistence.enabled -}}
persistentVolumeClaimRetentionPolicy:
  whenDeleted: {{ .Values.persistence.whenDeleted }}
  whenScaled: Retain
volumeClaimTemplates:
  - apiVersion: v1
    kind: PersistentVolumeClaim
    metadata:
      name: data
      labels:
        {{- include "ragmesh.selectorLabels" . | nindent 8 }}
    spec:
      accessModes: [ReadWriteOnce]
      {{- with .Values.persistence.storageClass }}
      storageClassName: {{ . }}
      {{- end }}
      resources:
        requests:
          storage: {{ .Values.persistence.size }}
{{- end }}
{{- end }}

{{- define "ragmesh.podAnnotations" -}}
kubectl.kubernetes.io/default-container: {{ .Chart.Name }}
{{- if eq .Values.reload "roll" }}
# A change of the configuration is a new revision of the workload, so that each pod is known to have one or the other.
ragmesh.dev/config-hash: {{ include "ragmesh.configHash" . | quote }}
{{- end }}
{{- with include "ragmesh.linkerd.podAnnotations" . }}
{{ . }}
{{- end }}
{{- with .Values.podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "ragmesh.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "ragmesh.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "ragmesh.podSpec" -}}
{{- $fact := include "ragmesh.fact" . | fromYaml -}}
serviceAccountName: {{ include "ragmesh.name" . }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with include "ragmesh.imagePullSecrets" . }}
{{ . }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
securityContext:
  {{- include "ragmesh.podSecurityContext" . | nindent 2 }}
terminationGracePeriodSeconds: {{ add (int .Values.shutdown.preStopSeconds) (int .Values.shutdown.timeoutSeconds) 10 }}
containers:
  - name: {{ .Chart.Name }}
    image: {{ include "ragmesh.image" (dict "root" . "image" .Values.image) }}
    imagePullPolicy: {{ include "ragmesh.imagePullPolicy" (dict "root" . "image" .Values.image) }}
    args: [--config, /etc/ragmesh]
    env:
      {{- include "ragmesh.env" . | nindent 6 }}
    ports:
      {{- if not .Role }}
      - name: {{ $fact.port }}
        containerPort: 8080
      {{- end }}
      {{- if include "ragmesh.api" . }}
      - name: api
        containerPort: 8085
      {{- end }}
      - name: admin
        containerPort: 9090
    # The process listens on its admin port at once; what it waits for shows in its readiness.
    startupProbe:
      httpGet: {path: /health/live, port: admin}
      periodSeconds: 2
      timeoutSeconds: 2
      failureThreshold: 60
    readinessProbe:
      httpGet: {path: /health/ready, port: admin}
      periodSeconds: 5
      timeoutSeconds: 3
      failureThreshold: 2
    livenessProbe:
      httpGet: {path: /health/live, port: admin}
      periodSeconds: 10
      timeoutSeconds: 5
      failureThreshold: 3
    lifecycle:
      preStop:
        # Until every node and proxy knows that the pod is leaving, calls still arrive.
        sleep: {seconds: {{ int .Values.shutdown.preStopSeconds }}}
    resources:
      {{- include "ragmesh.resources" . | nindent 6 }}
    securityContext:
      {{- include "ragmesh.containerSecurityContext" . | nindent 6 }}
    volumeMounts:
      - name: config
        mountPath: /etc/ragmesh
        readOnly: true
      {{- with $fact.folder }}
      - name: {{ .values }}
        mountPath: /etc/ragmesh/{{ .dir }}
        readOnly: true
      {{- end }}
      - name: secrets
        mountPath: /var/run/secrets/ragmesh
        readOnly: true
      {{- if $fact.data }}
      - name: data
        mountPath: /data
      {{- end }}
      - name: tmp
        mountPath: /tmp
      {{- with .Values.extraVolumeMounts }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
volumes:
  {{- include "ragmesh.volumes" . | nindent 2 }}
{{- with include "ragmesh.scheduling" . | trim }}
{{ . }}
{{- end }}
{{- end }}

{{- define "ragmesh.env" -}}
- name: GOMEMLIMIT
  value: {{ include "ragmesh.goMemLimit" . }}
{{- range .Values.secretEnv }}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret }}
      key: {{ .key }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* The share of the memory limit at which Go collects harder instead of growing; the rest is for what it does not count. */}}
{{- define "ragmesh.goMemLimit" -}}
{{- $memory := .Values.resources.memory -}}
{{- $mebibytes := ternary (mul 1024 (trimSuffix "Gi" $memory | int)) (trimSuffix "Mi" $memory | int) (hasSuffix "Gi" $memory) -}}
{{- div (mul $mebibytes 85) 100 }}MiB
{{- end }}

{{- define "ragmesh.resources" -}}
{{- $r := .Values.resources -}}
{{- $limit := ternary $r.cpu $r.cpuLimit (eq (.Values.qosClass | default "Burstable") "Guaranteed") -}}
requests:
  {{- with $r.cpu }}
  cpu: {{ . }}
  {{- end }}
  memory: {{ $r.memory }}
limits:
  {{- with $limit }}
  cpu: {{ . }}
  {{- end }}
  memory: {{ $r.memory }}
{{- end }}

{{- define "ragmesh.volumes" -}}
{{- $fact := include "ragmesh.fact" . | fromYaml -}}
{{- $nats := include "ragmesh.nats" . | fromYaml -}}
{{- $instance := include "ragmesh.instance" . -}}
- name: config
  configMap:
    name: {{ include "ragmesh.name" . }}{{ include "ragmesh.roleSuffix" . }}
{{- with $fact.folder }}
- name: {{ .values }}
  configMap:
    name: {{ include "ragmesh.folderConfigMap" $ | trim }}
{{- end }}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      - secret:
          name: {{ .Values.identity.keySecret | default (printf "%s-identity-%s" $instance .Chart.Name) }}
          items: [{key: signing-key.pem, path: signing-key.pem}]
      - secret:
          name: {{ .Values.identity.jwksSecret | default (printf "%s-identity-jwks" $instance) }}
          items: [{key: jwks.json, path: jwks.json}]
      {{- if eq .Chart.Name "dialog" }}
      - secret:
          name: {{ include "ragmesh.bootstrapSecret" . }}
          items: [{key: key, path: bootstrap-key}]
      {{- end }}
      {{- if eq $nats.auth "token" }}
      - secret:
          name: {{ $nats.tokenSecret }}
          items: [{key: token, path: nats-token}]
      {{- else if eq $nats.auth "credentials" }}
      - secret:
          name: {{ $nats.credentialsSecret }}
          items: [{key: nats.creds, path: nats.creds}]
      {{- end }}
{{- if and $fact.data (not (and (eq $fact.workload "StatefulSet") .Values.persistence.enabled)) }}
- name: data
  emptyDir:
    sizeLimit: {{ .Values.scratch.data }}
{{- end }}
- name: tmp
  emptyDir:
    sizeLimit: {{ .Values.scratch.tmp }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "ragmesh.bootstrapSecret" -}}
{{- .Values.auth.bootstrapKeySecret | default (printf "%s-bootstrap" (include "ragmesh.instance" .)) }}
{{- end }}

{{- define "ragmesh.scheduling" -}}
{{- $labels := include "ragmesh.workloadLabels" . -}}
{{- $hash := ternary "controller-revision-hash" "pod-template-hash" (eq (include "ragmesh.fact" . | fromYaml).workload "StatefulSet") -}}
{{- $spread := list (list "kubernetes.io/hostname" .Values.spread.hosts) (list "topology.kubernetes.io/zone" .Values.spread.zones) -}}
{{- if or .Values.spread.hosts .Values.spread.zones }}
topologySpreadConstraints:
  {{- range $spread }}
  {{- if index . 1 }}
  - topologyKey: {{ index . 0 }}
    maxSkew: 1
    whenUnsatisfiable: {{ index . 1 }}
    labelSelector:
      matchLabels:
        {{- $labels | nindent 8 }}
    matchLabelKeys: [{{ $hash }}]
  {{- end }}
  {{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
