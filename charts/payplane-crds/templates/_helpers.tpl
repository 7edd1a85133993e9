{{- define "payplane.operator" -}}
system:serviceaccount:{{ .Values.operator.namespace }}:{{ .Values.operator.serviceAccount }}
{{- end }}

{{- define "payplane.cloudnativepg" -}}
system:serviceaccount:{{ .Values.cloudnativepg.namespace }}:{{ .Values.cloudnativepg.serviceAccount }}
{{- end }}

{{/* The system's own controllers, which finish what an allowed deletion began:
     each under its own account, or all under the controller manager's. */}}
{{- define "payplane.controllers" -}}
'system:serviceaccount:kube-system:namespace-controller', 'system:serviceaccount:kube-system:generic-garbage-collector', 'system:kube-controller-manager'
{{- end }}

{{- define "payplane.metadata" -}}
labels:
  app.kubernetes.io/part-of: payplane
  app.kubernetes.io/managed-by: {{ .Release.Service }}
annotations:
  # Without the policies an uninstall would leave the books unguarded.
  helm.sh/resource-policy: keep
{{- end }}
