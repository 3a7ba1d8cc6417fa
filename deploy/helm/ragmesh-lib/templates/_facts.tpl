{{- /*
What is true of a service whatever its values are: the one place where the charts of the services differ. Who calls whom is in
_callgraph.tpl.

  workload  Deployment, or StatefulSet for what keeps state on a disk of its own; a retriever with a store that pods share does not
  port      name of the port for calls; dialog's speaks HTTP/1.1 as well, so that only the others may be declared h2c
  data      the process writes to /data
  folder    values key of the ConfigMap beside the configuration, and the folder of the configuration that it is mounted at
  outside   the service calls addresses outside the cluster
*/}}
{{- define "ragmesh.facts" -}}
dialog: {workload: Deployment, port: http, data: true}
retriever: {workload: StatefulSet, port: rpc, data: true, folder: {values: strategies, dir: retrieval}}
tools: {workload: Deployment, port: rpc, data: false, folder: {values: plugins, dir: tools}, outside: true}
llm-gateway: {workload: Deployment, port: rpc, data: true, folder: {values: prompts, dir: prompts}, outside: true}
eval: {workload: StatefulSet, port: rpc, data: true}
{{- end }}

{{- /* The facts of the chart's own service, as YAML. */}}
{{- define "ragmesh.fact" -}}
{{- $fact := index (include "ragmesh.facts" . | fromYaml) .Chart.Name }}
{{- if include "ragmesh.shared" . }}
  {{- $_ := set $fact "workload" "Deployment" }}
{{- end }}
{{- toYaml $fact }}
{{- end }}
