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
      {{- include "ragmesh.selectorLabels" . | nindent 6 }}
{{- end }}
{{- end }}

{{- define "ragmesh.autoscaling" }}
{{- end }}
