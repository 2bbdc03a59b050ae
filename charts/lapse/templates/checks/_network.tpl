{{- define "lapse.check.network" -}}
{{- $policy := .Values.networkPolicy }}
{{- if and $policy.egress.enabled (not $policy.enabled) }}
{{ printf "networkPolicy.egress.enabled is true and networkPolicy.enabled is false, so that nothing would be limited. Set both, or neither" }}
{{- end }}
{{- range $name, $peers := dict "metricsFrom" $policy.metricsFrom "egress.collectorTo" $policy.egress.collectorTo }}
{{- range $i, $peer := $peers }}
{{- if and $peer.ipBlock (or (hasKey $peer "podSelector") (hasKey $peer "namespaceSelector")) }}
{{ printf "networkPolicy.%s[%d] has ipBlock beside a selector: a peer is one or the other. Make two entries of it" $name $i }}
{{- end }}
{{- end }}
{{- end }}
{{- $port := include "lapse.collectorPort" . | int }}
{{- if or (lt $port 1) (gt $port 65535) }}
{{ printf "tracing.endpoint is %q: a port is a number from 1 to 65535" .Values.tracing.endpoint }}
{{- end }}
{{- $octet := "(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])" }}
{{- $four := printf "^(%s\\.){3}%s/(3[0-2]|[12]?[0-9])$" $octet $octet }}
{{- $six := "^[0-9A-Fa-f]*:[0-9A-Fa-f:.]*/(12[0-8]|1[01][0-9]|[1-9]?[0-9])$" }}
{{- range $name, $all := dict "webhookFrom" $policy.webhookFrom "egress.apiServerCIDRs" $policy.egress.apiServerCIDRs }}
{{- range $i, $cidr := $all }}
{{- if not (or (regexMatch $four $cidr) (regexMatch $six $cidr)) }}
{{ printf "networkPolicy.%s[%d] is %q: addresses are said like 10.0.0.0/28 or fd00::/64" $name $i $cidr }}
{{- end }}
{{- end }}
{{- end }}
{{- /* Only where Helm talks to the cluster: a template that is rendered elsewhere knows no endpoints. */ -}}
{{- if and $policy.enabled $policy.egress.enabled }}
{{- $allowed := list }}
{{- range $policy.egress.apiServerPorts }}
{{- $allowed = append $allowed (int .) }}
{{- end }}
{{- range (lookup "discovery.k8s.io/v1" "EndpointSlice" "default" "kubernetes").ports }}
{{- if not (has (int .port) $allowed) }}
{{ printf "networkPolicy.egress.apiServerPorts is %s, but the API server listens on %d (EndpointSlice kubernetes in default): the controller would be cut off, and no right would end. Add the port, or leave networkPolicy.egress.enabled off" (toJson $allowed) (int .port) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
