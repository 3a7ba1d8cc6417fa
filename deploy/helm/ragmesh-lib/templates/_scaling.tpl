{{- /* Says whether something else than the chart decides how many pods there are. */}}
{{- define "ragmesh.autoscaled" -}}
{{- with .Values.autoscaling }}{{ if or .hpa.enabled .keda.enabled }}true{{ end }}{{ end }}
{{- end }}

{{- define "ragmesh.pdb" }}
{{- if .Values.podDisruptionBudget.enabled }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "ragmesh.metadata" (dict "root" . "suffix" "") | nindent 2 }}
spec:
  maxUnavailable: 1
  # A pod that is not ready serves nobody: it must not hold up the draining of a node.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "ragmesh.workloadLabels" . | nindent 6 }}
{{- end }}
{{- end }}

{{- define "ragmesh.autoscaling" }}
{{- with .Values.autoscaling }}
{{- if .hpa.enabled }}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  {{- include "ragmesh.metadata" (dict "root" $ "suffix" "") | nindent 2 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {{ include "ragmesh.name" $ }}{{ include "ragmesh.roleSuffix" $ }}
  minReplicas: {{ int .minReplicas }}
  maxReplicas: {{ int .maxReplicas }}
  metrics:
    # The app's own container: a proxy beside it would blur the pod's figure.
    - type: ContainerResource
      containerResource:
        name: cpu
        container: {{ $.Chart.Name }}
        target:
          type: Utilization
          averageUtilization: {{ int .cpuPercent }}
    {{- with .hpa.perSecond }}
    {{- if .metric }}
    - type: Pods
      pods:
        metric:
          name: {{ .metric }}
        target:
          type: AverageValue
          averageValue: {{ .target | quote }}
    {{- end }}
    {{- end }}
  behavior:
    {{- include "ragmesh.scalingBehavior" $ | nindent 4 }}
{{- end }}
{{- if .keda.enabled }}
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  {{- include "ragmesh.metadata" (dict "root" $ "suffix" "") | nindent 2 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {{ include "ragmesh.name" $ }}{{ include "ragmesh.roleSuffix" $ }}
  minReplicaCount: {{ int .minReplicas }}
  maxReplicaCount: {{ int .maxReplicas }}
  advanced:
    horizontalPodAutoscalerConfig:
      behavior:
        {{- include "ragmesh.scalingBehavior" $ | nindent 8 }}
  triggers:
    - type: cpu
      metricType: Utilization
      metadata:
        value: {{ .cpuPercent | quote }}
        containerName: {{ $.Chart.Name }}
    {{- with .keda.triggers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Up at once, down one pod at a time: each that leaves first lets its streams end. */}}
{{- define "ragmesh.scalingBehavior" -}}
scaleUp:
  stabilizationWindowSeconds: 0
  selectPolicy: Max
  policies:
    - type: Percent
      value: 100
      periodSeconds: 30
    - type: Pods
      value: 2
      periodSeconds: 30
scaleDown:
  stabilizationWindowSeconds: 300
  policies:
    - type: Pods
      value: 1
      periodSeconds: 60
{{- end }}
