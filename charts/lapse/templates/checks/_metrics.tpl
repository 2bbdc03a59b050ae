{{- /* What reads metrics. A template that is rendered offline knows of no definitions but those that it is told of. */ -}}
{{- define "lapse.check.metrics" -}}
{{- $metrics := .Values.metrics }}
{{- range $value := list "podMonitor" "serviceMonitor" "prometheusRule" }}
{{- if and (get $metrics $value).enabled (not ($.Capabilities.APIVersions.Has "monitoring.coreos.com/v1")) }}
{{ printf "metrics.%s.enabled is true, but the cluster has no monitoring.coreos.com/v1: install the Prometheus Operator, or its definitions, first, or leave it off. Where there is no cluster (helm template), say that there will be: --api-versions monitoring.coreos.com/v1" $value }}
{{- end }}
{{- end }}
{{- if and $metrics.podMonitor.enabled $metrics.serviceMonitor.enabled }}
{{ print "metrics.podMonitor.enabled and metrics.serviceMonitor.enabled are both true: every pod would be scraped twice, and everything counted twice. Leave one of them off" }}
{{- end }}
{{- if and $metrics.serviceMonitor.enabled (not $metrics.service.enabled) }}
{{ print "metrics.serviceMonitor.enabled is true and metrics.service.enabled is not: a ServiceMonitor finds the pods by their Services. Turn metrics.service.enabled on, or use metrics.podMonitor" }}
{{- end }}
{{- end }}
