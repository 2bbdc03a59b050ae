{{/* Labels of every object of the chart. None of them begins with lapse.dev/: those mark what the controller makes. */}}
{{- define "lapse.labels" -}}
app.kubernetes.io/name: lapse
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: lapse
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Labels that select the pods of one component. Call with (dict "root" $ "component" "controller"). */}}
{{- define "lapse.selector" -}}
app.kubernetes.io/name: lapse
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "lapse.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* A duration as people write it (1h30m) in seconds. */}}
{{- define "lapse.seconds" -}}
{{- $hours := regexFind "[0-9]+h" . | trimSuffix "h" | default "0" | int64 -}}
{{- $minutes := regexFind "[0-9]+m" . | trimSuffix "m" | default "0" | int64 -}}
{{- $seconds := regexFind "[0-9]+s" . | trimSuffix "s" | default "0" | int64 -}}
{{- add (mul $hours 3600) (mul $minutes 60) $seconds -}}
{{- end }}

{{/* Users of the components, as the API server names them. */}}
{{- define "lapse.controllerUser" -}}
system:serviceaccount:{{ .Release.Namespace }}:lapse-controller
{{- end }}
{{- define "lapse.webhookUser" -}}
system:serviceaccount:{{ .Release.Namespace }}:lapse-webhook
{{- end }}

{{/*
Credentials of the caller, as CEL: tokens of service accounts and client certificates have an id. Who
impersonates shows none (and may impersonate service accounts with the roles edit and admin), so what a
policy lets somebody do by name it lets do by the name and the credential alone. What it keeps from
somebody it keeps from the name.
*/}}
{{- define "lapse.credentials" -}}
request.userInfo.?extra[?'authentication.kubernetes.io/credential-id'].orValue([])
{{- end }}

{{/* That the caller has a token of a service account: a certificate may carry its name, too. */}}
{{- define "lapse.hasToken" -}}
{{ include "lapse.credentials" . }}.exists(id, id.startsWith('JTI='))
{{- end }}

{{/* That the caller really is the controller, or the webhook. */}}
{{- define "lapse.isController" -}}
(request.userInfo.username == {{ include "lapse.controllerUser" . | squote }} && {{ include "lapse.hasToken" . }})
{{- end }}
{{- define "lapse.isWebhook" -}}
(request.userInfo.username == {{ include "lapse.webhookUser" . | squote }} && {{ include "lapse.hasToken" . }})
{{- end }}

{{/*
That the caller really is one of Kubernetes' own controllers that end the lives of objects: the garbage
collector removes the finalizers of foreground and orphan deletion, the namespace controller empties
namespaces. Where the controller manager runs without a service account for each of its controllers,
all of them are system:kube-controller-manager, by whatever credential.
*/}}
{{- define "lapse.isHousekeeping" -}}
((request.userInfo.username in ['system:serviceaccount:kube-system:generic-garbage-collector', 'system:serviceaccount:kube-system:namespace-controller'] && {{ include "lapse.hasToken" . }})
|| (request.userInfo.username == 'system:kube-controller-manager' && size({{ include "lapse.credentials" . }}) > 0))
{{- end }}

{{/*
Whether the caller holds a right of Lapse's, as CEL. Call with (dict "root" $ "verb" "guard"): record
(every holder), guard (session.guard is Enforce), audit (it is Audit).

The binding that each grant makes in the namespace of Lapse gives these verbs to service accounts that
nobody made, named after the holder and after the namespaces of the service accounts that the holder can act as
(engine/src/session/marker.rs makes the same names). A service account that somebody impersonates shows
no credential. One expression may ask the authorizer twice: a third time exceeds the API server's limit of cost.
*/}}
{{- define "lapse.holds" -}}
{{- $check := printf ".group('lapse.dev').resource('sessions').namespace('%s').check('%s').allowed()" .root.Release.Namespace .verb -}}
request.userInfo.?username.orValue('').matches('^system:serviceaccount:[a-z0-9-]+:[^:]+$')
&& !('authentication.kubernetes.io/credential-id' in request.userInfo.?extra.orValue({}))
? ['accounts-in-' + request.userInfo.username.split(':')[2], 'accounts-anywhere'].exists(name,
    authorizer.serviceAccount('{{ .root.Release.Namespace }}', name + '-elevated'){{ $check }})
: [request.userInfo.?username.orValue('').split('').map(c, c.matches('^[a-z0-9]$') ? c
    : r'ABCDEFGHIJKLMNOPQRSTUVWXYZ.@-_:/+#|=,;!$%&*()[]<>?^~ '.indexOf(c) < 0 ? '-x-'
    : '-' + string(r'ABCDEFGHIJKLMNOPQRSTUVWXYZ.@-_:/+#|=,;!$%&*()[]<>?^~ '.indexOf(c)) + '-').join('')].exists(name,
    authorizer.serviceAccount('{{ .root.Release.Namespace }}', 'person-' + (size(name) > 200 ? name.substring(0, 200) : name) + '-elevated'){{ $check }})
{{- end }}

{{/*
That the caller is no part of Kubernetes and no cluster administrator by certificate: nothing that
Lapse asks of the holders of rights is ever asked of these, so that no mistake of it locks a cluster.
*/}}
{{- define "lapse.notTheSystem" -}}
!('system:masters' in request.userInfo.?groups.orValue([]))
&& !('system:nodes' in request.userInfo.?groups.orValue([]))
&& !request.userInfo.?username.orValue('').startsWith('system:kube-')
&& request.userInfo.?username.orValue('') != 'system:apiserver'
{{- end }}

{{/* ClusterRoles for people that the chart ships, as a CEL list. */}}
{{- define "lapse.peopleRoles" -}}
['lapse:requester', 'lapse:approver', 'lapse:reviewer', 'lapse:auditor', 'lapse:policy-viewer', 'lapse:policy-admin']
{{- end }}

{{/* The names of all admission policies of the chart, for the controller to notice when one is gone. */}}
{{- define "lapse.admissionPolicies" -}}
- lapse-attestation-keys
- lapse-controller-rbac
{{- if .Values.controller.endWorkloads }}
- lapse-controller-workloads
{{- end }}
- lapse-decision-identity
- lapse-decisions-kept
- lapse-grants
- lapse-guard
- lapse-guard-audit
- lapse-guard-audit-installation
- lapse-guard-installation
- lapse-immutable
- lapse-own-namespace
- lapse-ownership
- lapse-rbac-reserved
- lapse-request-identity
- lapse-size
- lapse-started
- lapse-status
- lapse-status-final
- lapse-webhook-configurations
{{- end }}

{{/* The binding that puts an admission policy to work everywhere. Call with (dict "root" $ "name" "..."). */}}
{{- define "lapse.admissionBinding" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ .name }}
  labels:
    {{- include "lapse.labels" .root | nindent 4 }}
spec:
  policyName: {{ .name }}
  validationActions: [Deny]
{{- end }}

{{/* Security context of every container: the restricted pod security standard, and a read-only root. */}}
{{- define "lapse.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end }}
{{- define "lapse.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* Environment of every container. */}}
{{- define "lapse.env" -}}
- name: LAPSE_LOG
  value: {{ .Values.log.filter | quote }}
- name: LAPSE_LOG_FORMAT
  value: json
# Two heaps for all threads (glibc, mallopt(3)): of what is listed page by page little stays, and the more heaps there
# are the more holes.
- name: MALLOC_ARENA_MAX
  value: "2"
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
{{- end }}

{{/* Where pods run. Call with (dict "root" $ "component" "controller" "values" .Values.controller). */}}
{{- define "lapse.placement" -}}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "lapse.selector" $ | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end }}

{{/* "true" if rules let their holder read Secrets whatever their name, by RBAC's wildcards, too. Call with a list of rules. */}}
{{- define "lapse.readSecrets" -}}
{{- range . }}
{{- $groups := .apiGroups | default list }}
{{- $resources := .resources | default list }}
{{- $verbs := .verbs | default list }}
{{- $any := or (has "*" $verbs) (has "get" $verbs) (has "list" $verbs) (has "watch" $verbs) }}
{{- if and (not .resourceNames) (or (has "*" $groups) (has "" $groups)) (or (has "*" $resources) (has "secrets" $resources)) $any }}true{{ end }}
{{- end }}
{{- end }}
