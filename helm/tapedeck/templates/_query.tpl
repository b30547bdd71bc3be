{{- /* How many workers a stage needs, by its watermark delay: always one of the divisors of its partitions. While a
worker recovers its state, or the stage catches up with a history, the answer is the present number. It is held for
two windows after a history, so that no delay of the history is in the window that counts then. A delay counts if
three readings in a row have it: right after each minute every stage is a whole minute behind, for a moment.
Arguments: root, process, options. */ -}}
{{- define "tapedeck.query" -}}
{{- $v := .root.Values.autoscaling -}}
{{- $pods := printf "namespace=\"%s\",pod=~\"%s-%s-[0-9]+\"" .root.Release.Namespace (include "tapedeck.fullname" .root) .process.service -}}
{{- $ready := printf "tape_ready{%s}" $pods -}}
{{- $delay := printf "tape_stage_delay_seconds{%s,stage=\"%s\"}" $pods .process.name -}}
{{- $every := int .root.Values.serviceMonitor.intervalSeconds -}}
{{- $lasting := printf "min_over_time(%s[%ds])" $delay (mul 3 $every) -}}
{{- $worst := printf "max(max_over_time(%s[%dm:%ds]))" $lasting (int $v.windowMinutes) $every -}}
{{- $behind := printf "max(max_over_time(%s[%dm]))" $delay (int (mul 2 $v.windowMinutes)) -}}
{{- $partitions := int (include "tapedeck.partitions" .) -}}
{{- $most := int (include "tapedeck.most" .) -}}
{{- $steps := "1" -}}
{{- $below := 1 -}}
{{- range $count := untilStep 2 (int (add1 $most)) 1 -}}
{{- if eq 0 (int (mod $partitions $count)) -}}
{{- $steps = printf "%s + %d * (%s > bool %d)" $steps (int (sub $count $below)) $worst (int (mul $below $v.delaySeconds)) -}}
{{- $below = $count -}}
{{- end -}}
{{- end -}}
(count({{ $ready }}) and on() (min({{ $ready }}) == 0 or {{ $behind }} > {{ int $v.catchUpSeconds }})) or on() ({{ $steps }})
{{- end -}}
