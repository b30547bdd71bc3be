{{- define "tapedeck.fullname" -}}
{{- if .Values.fullnameOverride -}}{{ .Values.fullnameOverride }}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}{{ .Release.Name }}{{- else -}}{{ .Release.Name }}-{{ $name }}{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Labels of everything. Argument: the root. */ -}}
{{- define "tapedeck.labels" -}}
{{ include "tapedeck.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "tapedeck.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- /* The data that the topology decides, as JSON. */ -}}
{{- define "tapedeck.data" -}}
{{ .Files.Get "files/topology.json" }}
{{- end -}}

{{- define "tapedeck.document" -}}
{{- if .Values.existingDocument -}}{{ .Values.existingDocument }}{{- else -}}{{ include "tapedeck.fullname" . }}-document{{- end -}}
{{- end -}}

{{- /* Arguments: root, tag (may be empty). */ -}}
{{- define "tapedeck.image" -}}
{{- $image := .root.Values.image -}}
{{- if and $image.digest (not .tag) -}}{{ $image.repository }}@{{ $image.digest }}
{{- else -}}{{ $image.repository }}:{{ .tag | default $image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- /* The user name of a login on Kafka: the KafkaUser's name, or the login after your prefix. */ -}}
{{- define "tapedeck.username" -}}
{{- if and .root.Values.strimzi.enabled .root.Values.strimzi.users -}}
{{ include "tapedeck.fullname" .root }}-{{ .login | replace "_" "-" }}
{{- else -}}
{{ .root.Values.kafka.usernamePrefix }}{{ .login }}
{{- end -}}
{{- end -}}

{{- /* A topic's name on the cluster, and a group's. Arguments: root, name. */ -}}
{{- define "tapedeck.topic" -}}
{{ with .root.Values.prefix }}{{ . }}.{{ end }}{{ .name }}
{{- end -}}
{{- define "tapedeck.group" -}}
{{ .root.Values.prefix | default "tapedeck" }}-{{ .name }}
{{- end -}}

{{- /* Partitions of a stage: the smallest count of its inputs. Arguments: root, process. */ -}}
{{- define "tapedeck.partitions" -}}
{{- $least := 1 -}}
{{- range $place, $kind := .process.partitions -}}
{{- $count := int (index $.root.Values.partitions $kind) -}}
{{- $least = ternary $count (min $least $count) (eq $place 0) -}}
{{- end -}}
{{- $least -}}
{{- end -}}

{{- /* The most workers of a stage. Arguments: root, process, options. */ -}}
{{- define "tapedeck.most" -}}
{{- $partitions := int (include "tapedeck.partitions" .) -}}
{{- min $partitions (int (.options.autoscaling.maxReplicas | default $partitions)) -}}
{{- end -}}

{{- /* "true" if KEDA scales the stage. Arguments: root, process, options. */ -}}
{{- define "tapedeck.scaled" -}}
{{- if and .process.scales .root.Values.autoscaling.enabled .options.autoscaling.enabled (gt (int (include "tapedeck.most" .)) 1) -}}true{{- end -}}
{{- end -}}

{{- /* The values of one process: the common ones, changed by its own. Arguments: common, own. */ -}}
{{- define "tapedeck.options" -}}
{{ mergeOverwrite (deepCopy .common) (deepCopy (.own | default dict)) | toJson }}
{{- end -}}

{{- /* "true" if an edge runs. Arguments: process, options. */ -}}
{{- define "tapedeck.runs" -}}
{{- if ternary (not .process.optional) .options.enabled (kindIs "invalid" .options.enabled) -}}true{{- end -}}
{{- end -}}
