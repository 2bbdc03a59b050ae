{{- /*
Each check says one problem a line: which values, what is wrong with them, what to do. What the API server would refuse
by itself is told here, too, for it would do so when half of the release is changed.
*/ -}}
{{- define "lapse.check.values" -}}
{{- if hasPrefix "kube-" .Release.Namespace }}
{{ printf "Lapse cannot be installed in namespace %q: the namespaces of Kubernetes itself are not for add-ons, and whoever may edit its own namespace can take it over. Use one of its own: --namespace lapse-system --create-namespace" .Release.Namespace }}
{{- end }}
{{- $min := include "lapse.seconds" .Values.duration.min | int64 }}
{{- $max := include "lapse.seconds" .Values.duration.max | int64 }}
{{- if lt $min 1 }}
{{ printf "duration.min is %q: it must be greater than zero" .Values.duration.min }}
{{- end }}
{{- if gt $max 31536000 }}
{{ printf "duration.max is %q: a grant lasts at most one year (8760h)" .Values.duration.max }}
{{- end }}
{{- if gt $min $max }}
{{ printf "duration.min (%s) is longer than duration.max (%s): no grant could satisfy both. Lower the one or raise the other" .Values.duration.min .Values.duration.max }}
{{- end }}
{{- if contains ":" (last (splitList "/" .Values.image.repository)) }}
{{ printf "image.repository is %q, with a tag in it, and image.tag or image.digest would come behind that. Put the tag into image.tag" .Values.image.repository }}
{{- end }}
{{- range $i, $role := .Values.controller.bindableRoles }}
{{- if and (eq $role.kind "ClusterRole") (has $role.name (list "lapse-controller" "lapse-controller-grantable" "lapse-webhook")) }}
{{ printf "controller.bindableRoles[%d] is ClusterRole %q: that is a component's own role, and people must never hold it. Take it off the list" $i $role.name }}
{{- end }}
{{- end }}
{{- range $i, $account := .Values.guard.trustedReconcilers }}
{{- if hasPrefix (printf "%s:" $.Release.Namespace) $account }}
{{ printf "guard.trustedReconcilers[%d] is %q, in the namespace of Lapse itself: nobody applies as Lapse by impersonation, so this would only let somebody do so unguarded. Take it off the list" $i $account }}
{{- end }}
{{- end }}
{{- if and .Values.gateway.requests.enabled (not .Values.gateway.enabled) }}
{{ printf "gateway.requests.enabled is true, and gateway.enabled is false: nobody would carry them. Set gateway.enabled" }}
{{- end }}
{{- $service := .Values.gateway.service }}
{{- if eq $service.type "ClusterIP" }}
{{- range $field := list "externalTrafficPolicy" "nodePort" }}
{{- with get $service $field }}
{{ printf "gateway.service.%s is %v, and gateway.service.type is ClusterIP, which nobody reaches from outside. Set the type to LoadBalancer or NodePort, or leave it out" $field . }}
{{- end }}
{{- end }}
{{- end }}
{{- if and $service.loadBalancerSourceRanges (ne $service.type "LoadBalancer") }}
{{ printf "gateway.service.loadBalancerSourceRanges is set, and gateway.service.type is %s: nothing would be limited. Set the type to LoadBalancer, or use networkPolicy.gatewayFrom" $service.type }}
{{- end }}
{{- with .Values.webhook.url }}
{{- $port := regexFind ":[0-9]+$" . | trimPrefix ":" | default "443" | int }}
{{- if or (lt $port 1) (gt $port 65535) }}
{{ printf "webhook.url is %q: a port is a number from 1 to 65535" . }}
{{- end }}
{{- end }}
{{- if not (hasPrefix "@" .Values.sweep.schedule) }}
{{- $fields := list (list "minute" "[0-5]?[0-9]" "0 to 59") (list "hour" "([01]?[0-9]|2[0-3])" "0 to 23") (list "day of the month" "(0?[1-9]|[12][0-9]|3[01])" "1 to 31") (list "month" "(0?[1-9]|1[0-2]|(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec))" "1 to 12 or jan to dec") (list "day of the week" "([0-6]|(?i:sun|mon|tue|wed|thu|fri|sat))" "0 to 6 or sun to sat") }}
{{- range $i, $said := splitList " " .Values.sweep.schedule }}
{{- $field := index $fields $i }}
{{- $part := printf "(\\*|%s(-%s)?)(/[1-9][0-9]*)?" (index $field 1) (index $field 1) }}
{{- if not (regexMatch (printf "^%s(,%s)*$" $part $part) $said) }}
{{ printf "sweep.schedule is %q: its %s is %q, and can be %s, lists, ranges and steps of them, or *" $.Values.sweep.schedule (index $field 0) $said (index $field 2) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- /* The rules that may be handed out, which the API server takes or refuses one by one. */ -}}
{{- define "lapse.check.rules" -}}
{{- range $i, $rule := .Values.controller.grantableRules }}
{{- $where := printf "controller.grantableRules[%d]" $i }}
{{- if $rule.nonResourceURLs }}
{{- if or $rule.apiGroups $rule.resources $rule.resourceNames }}
{{ printf "%s has nonResourceURLs beside resources: a rule is about one of them. Make two rules of it" $where }}
{{- end }}
{{- if not $.Values.controller.allowClusterWide }}
{{ printf "%s has nonResourceURLs, which are given in the whole cluster or not at all, and controller.allowClusterWide is false: nobody could be given it. Take the rule out, or allow what is cluster-wide" $where }}
{{- end }}
{{- else if not (and $rule.apiGroups $rule.resources) }}
{{ printf "%s names no %s, so it allows nothing. Name them (the core group is \"\"), or nonResourceURLs" $where (ternary "resources" "apiGroups" (not (empty $rule.apiGroups))) }}
{{- end }}
{{- end }}
{{- end }}
