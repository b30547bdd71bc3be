{{- /* The credentials of one account, from its own secret. Arguments: account. */ -}}
{{- define "tapedeck.credentials" -}}
- name: {{ .account.keyVariable }}
  valueFrom: {secretKeyRef: {name: {{ .account.existingSecret }}, key: {{ .account.keyItem | default "key" }}}}
- name: {{ .account.secretVariable }}
  valueFrom: {secretKeyRef: {name: {{ .account.existingSecret }}, key: {{ .account.secretItem | default "secret" }}}}
{{- end -}}

{{- /* The paper exchange beside one dispatcher. It opens every account of the document; those of other dispatchers
get words that open nothing but this exchange, which listens on loopback. Arguments: root, account, data. */ -}}
{{- define "tapedeck.exchange" -}}
{{- $process := dict }}
{{- range .data.processes }}{{ if eq .kind "exchange" }}{{ $process = . }}{{ end }}{{ end }}
{{- $about := dict "root" .root "process" $process "options" dict -}}
- name: exchange
  restartPolicy: Always
  image: {{ include "tapedeck.image" (dict "root" .root "tag" "") }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  command: [tape]
  args: {{ toJson (concat $process.args (list "--run" "--speed" "1")) }}
  env:
    {{- include "tapedeck.env" $about | nindent 4 }}
    - {name: TAPE_HEALTH_PORT, value: "9465"}
    - {name: TAPE_EXCHANGE_TAPE, value: {{ .root.Values.exchange.tape | quote }}}
{{- with .root.Values.exchange.session }}
    - {name: TAPE_EXCHANGE_SESSION, value: {{ . | quote }}}
{{- end }}
    - {name: TAPE_EXCHANGE_FOLDER, value: /var/lib/tapedeck/exchange}
    {{- include "tapedeck.credentials" (dict "account" .account) | nindent 4 }}
{{- range .root.Values.accounts }}
{{- if ne .id $.account.id }}
    - {name: {{ .keyVariable }}, value: not-traded-here-{{ .id }}}
    - {name: {{ .secretVariable }}, value: not-traded-here-{{ .id }}}
{{- end }}
{{- end }}
  ports:
    - {name: exchange, containerPort: 9465}
  {{- include "tapedeck.probes" (dict "port" "exchange" "restoreSeconds" .root.Values.dispatcher.restoreSeconds) | nindent 2 }}
  resources: {{ toJson .root.Values.exchange.resources }}
  securityContext:
    {{- include "tapedeck.containerSecurity" . | nindent 4 }}
  volumeMounts:
    {{- include "tapedeck.mounts" $about | nindent 4 }}
{{- end -}}

{{- /* What tells a worker its id in the group. Arguments: root, variables. */ -}}
{{- define "tapedeck.membership" -}}
- {name: {{ .variables.session }}, value: {{ .root.Values.membership.sessionTimeoutSeconds | quote }}}
{{- if .root.Values.membership.static }}
- name: {{ .variables.instance }}
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
{{- end }}
{{- end -}}
