{{- define "tapedeck.documentText" -}}
{{- .Values.document | default (.Files.Get "files/tape.toml") -}}
{{- end -}}

{{- /* What a schema cannot see: combinations that cannot work. Each message names the values and the remedy. */ -}}
{{- define "tapedeck.checks" -}}
{{- $data := include "tapedeck.data" . | fromJson -}}
{{- include "tapedeck.checkTags" . -}}
{{- include "tapedeck.checkKafka" . -}}
{{- include "tapedeck.checkAccounts" . -}}
{{- include "tapedeck.checkDoctor" .Values.doctor -}}
{{- include "tapedeck.checkMembership" (dict "root" . "data" $data) -}}
{{- include "tapedeck.checkScaling" (dict "root" . "data" $data) -}}
{{- range $data.processes -}}
{{- $name := printf "%s-%s" (include "tapedeck.fullname" $) .service -}}
{{- if gt (len $name) 52 -}}
{{- fail (printf "fullnameOverride, or the release's name, makes a name of %[2]d characters, %[1]s: shorten it, KEDA and StatefulSets allow 52" $name (len $name)) -}}
{{- end -}}
{{- if and (has .kind (list "ingest")) (include "tapedeck.runs" (dict "process" . "options" (include "tapedeck.options" (dict "common" $.Values.edge "own" (index $.Values.edges .service)) | fromJson))) -}}
{{- $own := index $.Values.edges .service | default dict -}}
{{- if and (ne .service "ingest-news") (not $own.existingSecret) -}}
{{- fail (printf "edges.%s.existingSecret is empty: name the secret with the keys %s" .service (without .secrets "DATABASE_PASSWORD" | join ", ")) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "tapedeck.checkTags" -}}
{{- $tags := dict "image.tag" .Values.image.tag "edge.imageTag" .Values.edge.imageTag -}}
{{- range $name, $own := .Values.edges -}}
{{- $_ := set $tags (printf "edges.%s.imageTag" $name) (default "" ($own | default dict).imageTag) -}}
{{- end -}}
{{- range $path, $tag := $tags -}}
{{- if hasPrefix "latest" $tag -}}
{{- fail (printf "%s is %s: name a version, so that a pod that restarts runs what the others run" $path $tag) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "tapedeck.checkKafka" -}}
{{- $v := .Values -}}
{{- $users := and $v.strimzi.enabled $v.strimzi.users -}}
{{- $isOpen := eq $v.kafka.protocol "PLAINTEXT" -}}
{{- if and (not $isOpen) (not $users) (not $v.kafka.existingSecret) -}}
{{- fail "kafka.existingSecret is empty and strimzi.users is off: name the secret with one password for each login, or let Strimzi make the users" -}}
{{- end -}}
{{- if and $users (eq $v.kafka.protocol "PLAINTEXT") -}}
{{- fail "kafka.protocol is PLAINTEXT, by which nobody logs in, and strimzi.users is on: set strimzi.users=false, or the protocol of a listener with authentication" -}}
{{- end -}}
{{- if and $users (hasPrefix "SASL_" $v.kafka.protocol) (ne $v.kafka.mechanism "SCRAM-SHA-512") -}}
{{- fail (printf "kafka.mechanism is %s, and Strimzi's users log in by another: set SCRAM-SHA-512, or strimzi.users=false" $v.kafka.mechanism) -}}
{{- end -}}
{{- if and (or $v.strimzi.topics $v.strimzi.users) $v.strimzi.enabled (not $v.strimzi.cluster) -}}
{{- fail "strimzi.cluster is empty: name the Kafka resource, or set strimzi.enabled=false" -}}
{{- end -}}
{{- if and $users $v.strimzi.namespace (ne $v.strimzi.namespace .Release.Namespace) -}}
{{- fail (printf "strimzi.namespace is %s: install the chart there, or set strimzi.users=false and copy the passwords into kafka.existingSecret; pods of %s cannot mount the secrets of users there" $v.strimzi.namespace .Release.Namespace) -}}
{{- end -}}
{{- if and $v.strimzi.enabled $v.strimzi.topics (gt (int $v.strimzi.minInsyncReplicas) (int $v.replication)) -}}
{{- fail (printf "strimzi.minInsyncReplicas is %d and replication %d: make it smaller, or no write is accepted" (int $v.strimzi.minInsyncReplicas) (int $v.replication)) -}}
{{- end -}}
{{- if and $v.schemaRegistry.existingSecret (not $v.schemaRegistry.url) -}}
{{- fail "schemaRegistry.existingSecret is set without schemaRegistry.url: set the address, or neither" -}}
{{- end -}}
{{- if and $v.document $v.existingDocument -}}
{{- fail "document and existingDocument are both set: keep one" -}}
{{- end -}}
{{- if and $v.existingDocument $v.jobs.init (not $v.jobs.migrate) -}}
{{- fail "jobs.init migrates the tables too: set jobs.migrate=true, or both to false" -}}
{{- end -}}
{{- end -}}

{{- define "tapedeck.checkAccounts" -}}
{{- $seen := dict -}}
{{- $secrets := dict -}}
{{- range .Values.accounts -}}
{{- $label := replace "_" "-" .id -}}
{{- if hasKey $seen $label -}}
{{- fail (printf "accounts has %s twice: rename one; underscores and dashes are the same in names of resources" .id) -}}
{{- end -}}
{{- $_ := set $seen $label true -}}
{{- if hasKey $secrets .existingSecret -}}
{{- fail (printf "accounts: %s and %s share the existingSecret %s: give each its own" (get $secrets .existingSecret) .id .existingSecret) -}}
{{- end -}}
{{- $_ := set $secrets .existingSecret .id -}}
{{- if eq .keyVariable .secretVariable -}}
{{- fail (printf "accounts: keyVariable and secretVariable of %s are both %s: name two, the key_ref and secret_ref of the document" .id .keyVariable) -}}
{{- end -}}
{{- if and (not $.Values.existingDocument) (not (regexMatch (printf "(?m)^account_id *= *[\"']%s[\"']" .id) (include "tapedeck.documentText" $))) -}}
{{- fail (printf "accounts has %s, which is not in the document: add it there, or remove it from accounts" .id) -}}
{{- end -}}
{{- end -}}
{{- if not .Values.existingDocument -}}
{{- range regexFindAll "(?m)^account_id *= *[\"'][^\"']+" (include "tapedeck.documentText" .) -1 -}}
{{- $id := regexReplaceAll "^account_id *= *[\"']" . "" -}}
{{- if not (hasKey $seen (replace "_" "-" $id)) -}}
{{- fail (printf "accounts lacks %s of the document, which would have no dispatcher: add it to accounts with its existingSecret, or remove it from the document" $id) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "tapedeck.checkDoctor" -}}
{{- if and .enabled (not .existingSecret) (not .email) -}}
{{- fail "doctor.existingSecret and doctor.email are both empty: name a secret with the key TAPE_ALERT_WEBHOOK, or who gets mail; without a sink the doctor does not start" -}}
{{- end -}}
{{- if and .email (not .smtpUrl) -}}
{{- fail "doctor.smtpUrl is empty and doctor.email is not: set it to smtp://USER@HOST:PORT" -}}
{{- end -}}
{{- end -}}

{{- /* Session time-out, restart and stall are one decision. */ -}}
{{- define "tapedeck.checkMembership" -}}
{{- $m := .root.Values.membership -}}
{{- $timeout := int $m.sessionTimeoutSeconds -}}
{{- if gt $timeout (int $m.stallSeconds) -}}
{{- fail (printf "membership.sessionTimeoutSeconds is %d and stallSeconds %d: shorten the time-out, or allow a longer stall; a killed worker stalls the watermarks until it" $timeout (int $m.stallSeconds)) -}}
{{- end -}}
{{- if $m.static -}}
{{- if le $timeout (int $m.restartSeconds) -}}
{{- fail (printf "membership.sessionTimeoutSeconds is %d and restartSeconds %d: make the time-out longer, so that a static id outlives a restart" $timeout (int $m.restartSeconds)) -}}
{{- end -}}
{{- if .root.Values.autoscaling.enabled -}}
{{- fail "membership.static and autoscaling.enabled exclude each other: set one to false; after scale-in the partitions of a static id have no owner until the session time-out" -}}
{{- end -}}
{{- end -}}
{{- if le (int .root.Values.drainSeconds) (int .data.drainSeconds) -}}
{{- fail (printf "drainSeconds is %d, and a worker drains in up to %d: make it longer" (int .root.Values.drainSeconds) (int .data.drainSeconds)) -}}
{{- end -}}
{{- end -}}

{{- define "tapedeck.checkScaling" -}}
{{- $v := .root.Values -}}
{{- $lag := $v.autoscaling.emergencyLag -}}
{{- if and $lag.enabled (not $lag.offsetsCommitted) -}}
{{- fail "autoscaling.emergencyLag.enabled without offsetsCommitted: commit the offsets of the groups first, then set offsetsCommitted=true; a group without them lags by the whole log, and its stage would start with the most workers" -}}
{{- end -}}
{{- if and $lag.enabled (hasPrefix "SASL_" $v.kafka.protocol) (not $lag.authentication) -}}
{{- fail "autoscaling.emergencyLag.authentication is empty: name the TriggerAuthentication by which KEDA logs in to Kafka" -}}
{{- end -}}
{{- if and $v.autoscaling.enabled (ge (int $v.autoscaling.delaySeconds) (int $v.autoscaling.catchUpSeconds)) -}}
{{- fail (printf "autoscaling.delaySeconds is %d and catchUpSeconds %d: make delaySeconds smaller, or no stage is ever scaled" (int $v.autoscaling.delaySeconds) (int $v.autoscaling.catchUpSeconds)) -}}
{{- end -}}
{{- range $process := .data.processes -}}
{{- if eq $process.kind "stage" -}}
{{- $own := index $v.stages $process.service -}}
{{- $options := include "tapedeck.options" (dict "common" $v.stage "own" $own) | fromJson -}}
{{- $about := dict "root" $.root "process" $process "options" $options -}}
{{- $partitions := int (include "tapedeck.partitions" $about) -}}
{{- if and $own (not $process.scales) (gt (int $own.replicas) 1) -}}
{{- fail (printf "stages.%s.replicas is %d, and the stage has one active worker: set it to 1" $process.service (int $own.replicas)) -}}
{{- end -}}
{{- if and $process.scales (gt (int $options.autoscaling.maxReplicas) $partitions) -}}
{{- fail (printf "stages.%s.autoscaling.maxReplicas is %d: use at most its %d partitions, or some workers are idle" $process.service (int $options.autoscaling.maxReplicas) $partitions) -}}
{{- end -}}
{{- if include "tapedeck.scaled" $about -}}
{{- $session := int $options.autoscaling.sessionReplicas -}}
{{- if or (gt $session (int (include "tapedeck.most" $about))) (ne 0 (int (mod $partitions $session))) -}}
{{- fail (printf "stages.%s.autoscaling.sessionReplicas is %d: use a divisor of its %d partitions, at most %s" $process.service $session $partitions (include "tapedeck.most" $about)) -}}
{{- end -}}
{{- else if $process.scales -}}
{{- if gt (int $options.replicas) $partitions -}}
{{- fail (printf "stages.%s.replicas is %d: use at most its %d partitions, or some workers are idle" $process.service (int $options.replicas) $partitions) -}}
{{- end -}}
{{- if ne 0 (int (mod $partitions (int $options.replicas))) -}}
{{- fail (printf "stages.%s.replicas is %d: use a divisor of its %d partitions, so that each worker has as many" $process.service (int $options.replicas) $partitions) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
