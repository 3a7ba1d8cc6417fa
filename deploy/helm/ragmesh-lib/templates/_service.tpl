{{- define "ragmesh.service" }}
{{- $port := (include "ragmesh.fact" . | fromYaml).port }}
---
apiVersion: v1
kind: Service
metadata:
  {{- $annotations := dict }}
  {{- if not .Role }}
  {{- $annotations = mergeOverwrite (include "ragmesh.linkerd.serviceAnnotations" . | fromYaml) (deepCopy .Values.service.annotations) }}
  {{- end }}
  {{- include "ragmesh.metadata" (dict "root" . "suffix" "" "annotations" $annotations) | nindent 2 }}
spec:
  type: ClusterIP
  selector:
    {{- include "ragmesh.workloadLabels" . | nindent 4 }}
  ports:
    {{- if not .Role }}
    - name: {{ $port }}
      port: 8080
      targetPort: {{ $port }}
      {{- if eq $port "rpc" }}
      appProtocol: kubernetes.io/h2c
      {{- end }}
    {{- end }}
    {{- if include "ragmesh.api" . }}
    - name: api
      port: 8085
      targetPort: api
      appProtocol: http
    {{- end }}
    - name: admin
      port: 9090
      targetPort: admin
      appProtocol: http
{{- end }}
