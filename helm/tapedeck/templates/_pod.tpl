{{- /* Variables of every process. Arguments: root, process, user (of the database), options. */ -}}
{{- define "tapedeck.env" -}}
{{- $v := .root.Values -}}
- {name: TAPE_CONFIG, value: /etc/tapedeck/document/tape.toml}
{{- with (include "tapedeck.data" .root | fromJson).topology }}
- {name: TAPE_TOPOLOGY, value: {{ . | quote }}}
{{- end }}
- {name: TAPE_PREFIX, value: {{ $v.prefix | quote }}}
- {name: TAPE_SYMBOL_PARTITIONS, value: {{ $v.partitions.symbol | quote }}}
- {name: TAPE_ACCOUNT_PARTITIONS, value: {{ $v.partitions.account | quote }}}
- {name: TAPE_KEEP, value: {{ $v.retention | quote }}}
- {name: TAPE_REPLICATION, value: {{ $v.replication | quote }}}
- {name: TAPE_HOME, value: /var/lib/tapedeck}
- {name: TAPE_CACHE, value: {{ ternary "/var/lib/tapedeck" "/scratch" .process.stateful }}/cache}
- {name: TMPDIR, value: /scratch}
- {name: HOME, value: /scratch}
- {name: TAPE_LOG, value: json}
- {name: TAPE_HEALTH_HOST, value: 0.0.0.0}
{{- if has "KAFKA" .process.needs }}
- {name: KAFKA_BOOTSTRAP_SERVERS, value: {{ $v.kafka.bootstrapServers | quote }}}
{{- with $v.kafka.clusterId }}
- {name: KAFKA_CLUSTER_ID, value: {{ . | quote }}}
{{- end }}
- {name: KAFKA_SECURITY_PROTOCOL, value: {{ $v.kafka.protocol }}}
{{- if hasPrefix "SASL_" $v.kafka.protocol }}
- {name: KAFKA_SASL_MECHANISM, value: {{ $v.kafka.mechanism }}}
- {name: KAFKA_SASL_USERNAME, value: {{ include "tapedeck.username" (dict "root" .root "login" .process.login) }}}
- {name: KAFKA_SASL_PASSWORD_FILE, value: /etc/tapedeck/secrets/kafka-password}
{{- end }}
{{- if and (hasSuffix "SSL" $v.kafka.protocol) $v.kafka.ca.existingSecret }}
- {name: KAFKA_SSL_CA_LOCATION, value: /etc/tapedeck/secrets/kafka-ca.crt}
{{- end }}
{{- if eq $v.kafka.protocol "SSL" }}
- {name: KAFKA_SSL_CERTIFICATE_LOCATION, value: /etc/tapedeck/secrets/kafka-user.crt}
- {name: KAFKA_SSL_KEY_LOCATION, value: /etc/tapedeck/secrets/kafka-user.key}
{{- end }}
{{- with $v.schemaRegistry.url }}
- {name: SCHEMA_REGISTRY_URL, value: {{ . | quote }}}
{{- if $v.schemaRegistry.existingSecret }}
- {name: SCHEMA_REGISTRY_BASIC_AUTH_USER_INFO_FILE, value: /etc/tapedeck/secrets/registry-userinfo}
{{- end }}
{{- end }}
{{- end }}
{{- if has "DATABASE" .process.needs }}
- name: DATABASE_URL
  value: "postgresql://{{ .user.user }}@{{ $v.database.host }}:{{ $v.database.port }}/{{ $v.database.name }}?sslmode={{ $v.database.sslmode }}
    {{- if $v.database.ca.existingSecret }}&sslrootcert=/etc/tapedeck/secrets/database-ca.crt{{ end }}"
- {name: DATABASE_PASSWORD_FILE, value: /etc/tapedeck/secrets/database-password}
{{- end }}
{{- if eq .process.kind "doctor" }}
- {name: TAPE_EXCHANGE_URL, value: {{ (include "tapedeck.data" .root | fromJson).exchangeBeside }}}
{{- else if has "EXCHANGE" .process.needs }}
- {name: TAPE_EXCHANGE_URL, value: "http://127.0.0.1:{{ $v.exchange.port }}"}
{{- end }}
{{- with .options.dataUrl }}
- {name: TAPE_DATA_URL, value: {{ . | quote }}}
{{- end }}
{{- range .options.extraEnv }}
- {name: {{ .name }}, value: {{ .value | quote }}}
{{- end }}
{{- end -}}

{{- /* Volumes of a pod. Secrets are files, so a rotated password is read without a restart. Same arguments. */ -}}
{{- define "tapedeck.volumes" -}}
{{- $v := .root.Values -}}
- {name: scratch, emptyDir: {sizeLimit: 1Gi}}
{{- if ne .process.kind "migrate" }}
- name: document
  configMap: {name: {{ .document | default (include "tapedeck.document" .root) }}}
{{- end }}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
{{- if has "KAFKA" .process.needs }}
{{- $own := and $v.strimzi.enabled $v.strimzi.users }}
{{- $secret := ternary (include "tapedeck.username" (dict "root" .root "login" .process.login)) $v.kafka.existingSecret $own }}
{{- if hasPrefix "SASL_" $v.kafka.protocol }}
      - secret:
          name: {{ $secret }}
          items: [{key: {{ ternary "password" .process.login $own }}, path: kafka-password}]
{{- end }}
{{- if eq $v.kafka.protocol "SSL" }}
      - secret:
          name: {{ $secret }}
          items:
            - {key: {{ ternary "user" .process.login $own }}.crt, path: kafka-user.crt}
            - {key: {{ ternary "user" .process.login $own }}.key, path: kafka-user.key}
{{- end }}
{{- if and (hasSuffix "SSL" $v.kafka.protocol) $v.kafka.ca.existingSecret }}
      - secret:
          name: {{ $v.kafka.ca.existingSecret }}
          items: [{key: {{ $v.kafka.ca.key }}, path: kafka-ca.crt}]
{{- end }}
{{- if and $v.schemaRegistry.url $v.schemaRegistry.existingSecret }}
      - secret:
          name: {{ $v.schemaRegistry.existingSecret }}
          items: [{key: userinfo, path: registry-userinfo}]
{{- end }}
{{- end }}
{{- if has "DATABASE" .process.needs }}
      - secret:
          name: {{ .user.existingSecret }}
          items: [{key: {{ .user.key }}, path: database-password}]
{{- if $v.database.ca.existingSecret }}
      - secret:
          name: {{ $v.database.ca.existingSecret }}
          items: [{key: {{ $v.database.ca.key }}, path: database-ca.crt}]
{{- end }}
{{- end }}
      - downwardAPI:
          items: [{path: pod, fieldRef: {fieldPath: metadata.name}}]
{{- end -}}

{{- define "tapedeck.mounts" -}}
- {name: scratch, mountPath: /scratch}
{{- if ne .process.kind "migrate" }}
- {name: document, mountPath: /etc/tapedeck/document, readOnly: true}
{{- end }}
- {name: secrets, mountPath: /etc/tapedeck/secrets, readOnly: true}
{{- if .process.stateful }}
- {name: state, mountPath: /var/lib/tapedeck}
{{- end }}
{{- end -}}

{{- define "tapedeck.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- /* Probes. Start: ready within the restore bound; then live = progress, ready = recovered and assigned. */ -}}
{{- define "tapedeck.probes" -}}
startupProbe:
  httpGet: {path: /health/ready, port: {{ .port }}}
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: {{ div (add (int .restoreSeconds) 4) 5 }}
readinessProbe:
  httpGet: {path: /health/ready, port: {{ .port }}}
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 2
livenessProbe:
  httpGet: {path: /health/live, port: {{ .port }}}
  periodSeconds: 10
  timeoutSeconds: 3
  failureThreshold: 6
{{- end -}}

{{- /* What every pod has beside its containers. Same arguments. */ -}}
{{- define "tapedeck.podBase" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .root.Values.serviceAccountName }}
serviceAccountName: {{ . }}
{{- end }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .root.Values.runAsUser }}
  runAsGroup: {{ .root.Values.runAsUser }}
  fsGroup: {{ .root.Values.runAsUser }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
terminationGracePeriodSeconds: {{ .root.Values.drainSeconds }}
{{- with .options.nodeSelector }}
nodeSelector: {{ toJson . }}
{{- end }}
{{- with .options.tolerations }}
tolerations: {{ toJson . }}
{{- end }}
{{- end -}}

{{- /* The container of a process. Same arguments, and extra: lines of env. */ -}}
{{- define "tapedeck.container" -}}
- name: tape
  image: {{ include "tapedeck.image" (dict "root" .root "tag" (.options.imageTag | default "")) }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  command: [tape]
  args: {{ toJson .process.args }}
  env:
    {{- include "tapedeck.env" . | nindent 4 }}
    - {name: TAPE_HEALTH_PORT, value: "9464"}
{{- if has .process.kind (list "stage" "dispatcher") }}
    {{- $data := include "tapedeck.data" .root | fromJson }}
    {{- include "tapedeck.membership" (dict "root" .root "variables" $data.membershipVariables) | nindent 4 }}
{{- end }}
{{- range .process.secrets }}
{{- if and $.options.existingSecret (ne . "DATABASE_PASSWORD") }}
    - name: {{ . }}
      valueFrom: {secretKeyRef: {name: {{ $.options.existingSecret }}, key: {{ . }}}}
{{- end }}
{{- end }}
{{- with .extra }}
    {{- . | nindent 4 }}
{{- end }}
  ports:
    - {name: metrics, containerPort: 9464}
  {{- include "tapedeck.probes" (dict "port" "metrics" "restoreSeconds" .options.restoreSeconds) | nindent 2 }}
  resources: {{ toJson .options.resources }}
  securityContext:
    {{- include "tapedeck.containerSecurity" . | nindent 4 }}
  volumeMounts:
    {{- include "tapedeck.mounts" . | nindent 4 }}
{{- end -}}

{{- /* The volume of a stateful process. Arguments: root, storage. */ -}}
{{- define "tapedeck.claim" -}}
- metadata:
    name: state
    labels:
      {{- include "tapedeck.selector" .root | nindent 6 }}
  spec:
    accessModes: [ReadWriteOnce]
{{- with .storage.className }}
    storageClassName: {{ . }}
{{- end }}
    resources: {requests: {storage: {{ .storage.size }}}}
{{- end -}}
