{{- define "payplane.labels" -}}
app.kubernetes.io/name: payplane-operator
app.kubernetes.io/part-of: payplane
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
{{- end }}

{{- define "payplane.selector" -}}
app.kubernetes.io/name: payplane-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The full name of an image: (dict "root" $ "image" .Values.image.operator "tag" "...") */}}
{{- define "payplane.image" -}}
{{- $registry := .image.registry | default .root.Values.image.registry -}}
{{- $name := printf "%s/%s" $registry .image.repository -}}
{{- if .image.digest -}}
{{ $name }}@{{ .image.digest }}
{{- else -}}
{{ $name }}:{{ .image.tag | default .tag }}
{{- end -}}
{{- end }}
