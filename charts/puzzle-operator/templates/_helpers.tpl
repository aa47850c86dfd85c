{{- define "puzzle.labels" -}}
app.kubernetes.io/name: puzzle-operator
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "puzzle.selector" -}}
app.kubernetes.io/name: puzzle-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* An image reference: by digest where one is given, else by tag, else by the chart's appVersion. */}}
{{- define "puzzle.image" -}}
{{- $image := index . 0 -}}
{{- $chart := index . 1 -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default $chart.AppVersion }}
{{- end -}}
{{- end }}
