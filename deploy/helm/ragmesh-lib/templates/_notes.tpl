{{- define "ragmesh.notes" -}}
{{- $fact := include "ragmesh.fact" . | fromYaml -}}
{{- $name := include "ragmesh.name" . -}}
{{- $instance := include "ragmesh.instance" . -}}
{{- $ns := .Release.Namespace -}}
{{ .Chart.Name }} is installed as {{ $name }}. Its pods start once its keys are there, and are ready once NATS is. Wait for them:

  kubectl -n {{ $ns }} rollout status {{ lower $fact.workload }}/{{ $name }}
{{- if include "ragmesh.separate" . }}
  kubectl -n {{ $ns }} rollout status deployment/{{ $name }}-ingest
{{- end }}

When they stay in ContainerCreating, the keys are missing. Make them once for all services:

  ragmesh keys init --data keys
  ragmesh keys manifest --data keys --namespace {{ $ns }}{{ if ne $instance "ragmesh" }} --instance {{ $instance }}{{ end }} | kubectl create -f -
{{- if eq .Chart.Name "dialog" }}

Ask something:

{{ include "ragmesh.notesAsk" (dict "root" . "secret" (include "ragmesh.bootstrapSecret" .)) | indent 2 }}
{{- else }}

What it waits for:

  kubectl -n {{ $ns }} port-forward service/{{ $name }} 9090 & ragmesh health http://127.0.0.1:9090
{{- if include "ragmesh.separate" . }}
  kubectl -n {{ $ns }} port-forward service/{{ $name }}-ingest 9091:9090 & ragmesh health http://127.0.0.1:9091
{{- end }}
{{- end }}
{{- if .Values.tests.enabled }}

Test it:

  helm test {{ .Release.Name }} --namespace {{ $ns }} --logs
{{- end }}
{{ end }}

{{- /* How to ask the first question: (dict "root" . "secret" "ragmesh-bootstrap"). */}}
{{- define "ragmesh.notesAsk" -}}
{{- $dialog := include "ragmesh.peerName" (dict "root" .root "service" "dialog") -}}
kubectl -n {{ .root.Release.Namespace }} port-forward service/{{ $dialog }} 8080 &
export RAGMESH_API_KEY="$(kubectl -n {{ .root.Release.Namespace }} get secret {{ .secret }} -o jsonpath='{.data.key}' | base64 -d)"
ragmesh ask "What is 3.5 % of 1200?"
{{- end }}
