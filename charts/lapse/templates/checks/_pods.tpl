{{- /* A quantity (64Mi) as a number. */ -}}
{{- define "lapse.quantity" -}}
{{- if kindIs "string" . -}}
{{- $unit := regexFind "(m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei)$" . -}}
{{- $factors := dict "" 1.0 "m" 0.001 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0 "P" 1e15 "Pi" 1125899906842624.0 "E" 1e18 "Ei" 1152921504606846976.0 -}}
{{- mulf (trimSuffix $unit . | float64) (get $factors $unit) -}}
{{- else -}}
{{- float64 . -}}
{{- end -}}
{{- end }}

{{- /* The pods of a component, as the values have them. */ -}}
{{- define "lapse.check.pods" -}}
{{- range $component := list "controller" "webhook" "sweep" }}
{{- $values := get $.Values $component }}
{{- $limits := $values.resources.limits | default dict }}
{{- range $name, $request := $values.resources.requests }}
{{- if hasKey $limits $name }}
{{- $limit := get $limits $name }}
{{- if gt (include "lapse.quantity" $request | float64) (include "lapse.quantity" $limit | float64) }}
{{ printf "%s.resources: requests.%s (%v) is more than limits.%s (%v), and no such pod is accepted. Raise the limit or lower the request" $component $name $request $name $limit }}
{{- end }}
{{- end }}
{{- end }}
{{- if hasKey ($values.podAnnotations | default dict) "checksum/settings" }}
{{ printf "%s.podAnnotations has checksum/settings, by which the chart itself has pods start anew when the settings change. Use another name" $component }}
{{- end }}
{{- range $i, $toleration := $values.tolerations }}
{{- $where := printf "%s.tolerations[%d]" $component $i }}
{{- $operator := $toleration.operator | default "Equal" }}
{{- if and (eq $operator "Exists") $toleration.value }}
{{ printf "%s has the operator Exists and a value, %q. Leave the value out, or say Equal" $where $toleration.value }}
{{- end }}
{{- if and (ne $operator "Exists") (not $toleration.key) }}
{{ printf "%s has the operator %s and no key. Name the key, or tolerate everything with the operator Exists" $where $operator }}
{{- end }}
{{- if and (hasKey $toleration "tolerationSeconds") (ne ($toleration.effect | default "") "NoExecute") }}
{{ printf "%s has tolerationSeconds, which the effect NoExecute alone has. Say so, or leave it out" $where }}
{{- end }}
{{- end }}
{{- with $values.priorityClassName }}
{{- /* Known only where other classes are: every cluster has this one. */}}
{{- if and (lookup "scheduling.k8s.io/v1" "PriorityClass" "" "system-cluster-critical") (not (lookup "scheduling.k8s.io/v1" "PriorityClass" "" .)) }}
{{ printf "%s.priorityClassName is %q, and the cluster has no such PriorityClass: none of its pods would be made. Make it first, or name another (kubectl get priorityclasses)" $component . }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
