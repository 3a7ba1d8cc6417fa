{{- define "ragmesh.service" }}
{{- $port := (include "ragmesh.fact" . | fromYaml).port }}
---
apiVersion: v1
kind: Service
metadata:
  {{- $annotations := mergeOverwrite (include "ragmesh.linkerd.serviceAnnotations" . | fromYaml) (deepCopy .Values.service.annotations) }}
  {{- include "ragmesh.metadata" (dict "root" . "suffix" "" "annotations" $annotations) | nindent 2 }}
spec:
  type: ClusterIP
  selector:
    {{- include "ragmesh.selectorLabels" . | nindent 4 }}
  ports:
    - name: {{ $port }}
      port: 8080
      targetPort: {{ $port }}
      {{- if eq $port "rpc" }}
      appProtocol: kubernetes.io/h2c
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
