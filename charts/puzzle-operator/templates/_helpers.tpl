{{/* Labels of one part: (list $ "puzzle-monitor"); of the operator's, the context alone will do. */}}
{{- define "puzzle.labels" -}}
{{- $root := kindIs "slice" . | ternary . (list .) | first -}}
{{ include "puzzle.selector" . }}
app.kubernetes.io/part-of: puzzlemodel
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
{{- end }}

{{- define "puzzle.selector" -}}
{{- $part := kindIs "slice" . | ternary . (list . "puzzle-operator") -}}
app.kubernetes.io/name: {{ last $part }}
app.kubernetes.io/instance: {{ (first $part).Release.Name }}
{{- end }}

{{- define "puzzle.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "puzzle.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "puzzle.monitorSecret" -}}
{{ .Values.monitor.tokensSecret | default "puzzle-monitor-tokens" }}
{{- end }}

{{/* The monitor's file of tokens, of a dictionary of them. */}}
{{- define "puzzle.tokenFile" -}}
# name     roles          token
predictors ingest         {{ .ingest }}
trainers   read           {{ .trainer }}
operator   operator       {{ .operator }}
drift      drift          {{ .drift }}
inspector  feedback,read  {{ .inspector }}
{{ end }}

{{/* As predictors of other namespaces reach it, too. */}}
{{- define "puzzle.monitorUrl" -}}
http://puzzle-monitor.{{ .Release.Namespace }}:8090
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
