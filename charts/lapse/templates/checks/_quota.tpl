{{- /*
What quotas and limit ranges of the release's namespace ask of its pods. A quota on limits.cpu, say, has the API server
refuse every pod that has no such limit, unless a LimitRange gives it one; the Deployments would stand without pods.
*/ -}}
{{- define "lapse.check.quota" -}}
{{- $ranges := list }}
{{- $defaults := dict "limits" dict "requests" dict }}
{{- range (lookup "v1" "LimitRange" .Release.Namespace "").items }}
{{- $name := .metadata.name }}
{{- range .spec.limits }}
{{- if has .type (list "Container" "Pod") }}
{{- $ranges = append $ranges (dict "name" $name "type" .type "min" (.min | default dict) "max" (.max | default dict)) }}
{{- end }}
{{- if eq .type "Container" }}
{{- $_ := set $defaults "limits" (merge (get $defaults "limits") (.default | default dict)) }}
{{- $_ := set $defaults "requests" (merge (get $defaults "requests") (.defaultRequest | default dict)) }}
{{- end }}
{{- end }}
{{- end }}
{{- $quotas := (lookup "v1" "ResourceQuota" .Release.Namespace "").items }}
{{- range $component := list "controller" "webhook" "sweep" }}
{{- $resources := (get $.Values $component).resources }}
{{- $limits := merge (deepCopy ($resources.limits | default dict)) (get $defaults "limits") }}
{{- /* A container without a request has what it is limited to. */}}
{{- $requests := merge (deepCopy ($resources.requests | default dict)) ($resources.limits | default dict) (get $defaults "requests") (get $defaults "limits") }}
{{- range $quotas }}
{{- $quota := .metadata.name }}
{{- /* One with scopes counts some pods alone, which the API server tells apart better. */}}
{{- range $key, $_ := (ternary dict .spec.hard (or .spec.scopes .spec.scopeSelector | empty | not)) }}
{{- $side := ternary "limits" "requests" (hasPrefix "limits." $key) }}
{{- $resource := trimPrefix "limits." $key | trimPrefix "requests." }}
{{- if and (has $resource (list "cpu" "memory")) (not (hasKey (ternary $limits $requests (eq $side "limits")) $resource)) }}
{{ printf "ResourceQuota %s in namespace %s counts %s, so that it refuses pods without it, and %s.resources.%s.%s is not set. Set it, or have a LimitRange set a default" $quota $.Release.Namespace $key $component $side $resource }}
{{- end }}
{{- end }}
{{- end }}
{{- range $range := $ranges }}
{{- range $resource, $most := $range.max }}
{{- if hasKey $limits $resource }}
{{- $limit := get $limits $resource }}
{{- if gt (include "lapse.quantity" $limit | float64) (include "lapse.quantity" $most | float64) }}
{{ printf "LimitRange %s in namespace %s lets a %s have %v of %s at the most, and %s.resources.limits.%s is %v. Lower it, or raise the maximum" $range.name $.Release.Namespace (lower $range.type) $most $resource $component $resource $limit }}
{{- end }}
{{- end }}
{{- end }}
{{- range $resource, $least := $range.min }}
{{- if hasKey $requests $resource }}
{{- $request := get $requests $resource }}
{{- if lt (include "lapse.quantity" $request | float64) (include "lapse.quantity" $least | float64) }}
{{ printf "LimitRange %s in namespace %s wants a %s to have %v of %s at the least, and %s.resources.requests.%s is %v. Raise it, or lower the minimum" $range.name $.Release.Namespace (lower $range.type) $least $resource $component $resource $request }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
