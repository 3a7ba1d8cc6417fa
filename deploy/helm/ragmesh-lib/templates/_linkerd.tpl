{{- define "ragmesh.linkerd.enabled" -}}
{{- $own := .Values.linkerd.enabled }}
{{- if ternary (.Values.global.linkerd | default dict).enabled $own (kindIs "invalid" $own) }}true{{ end }}
{{- end }}

{{- define "ragmesh.linkerd.podAnnotations" -}}
{{- if include "ragmesh.linkerd.enabled" . -}}
linkerd.io/inject: enabled
{{- end }}
{{- end }}

{{- define "ragmesh.linkerd.serviceAnnotations" -}}
{{- end }}

{{- define "ragmesh.linkerd.objects" -}}
{{- end }}
