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

{{- define "lapse.gatewayUser" -}}
system:serviceaccount:{{ .Release.Namespace }}:lapse-gateway
{{- end }}
{{- define "lapse.isGateway" -}}
(request.userInfo.username == {{ include "lapse.gatewayUser" . | squote }} && {{ include "lapse.hasToken" . }})
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
Who holds a right of Lapse's, as CEL. Each takes (dict "root" $ "verb" "guard"): record (every holder), guard
(session.guard is Enforce), audit (it is Audit).

The binding that each grant makes in the namespace of Lapse gives these verbs to service accounts that nobody made:
one is named after the holder, others after the service accounts that the holder may impersonate
(engine/src/session/marker.rs makes the same names). So the API server is asked about these names, and what rights
the caller has otherwise does not matter. The API server's limit of cost allows for two such questions in one expression:
that is what the halves below are for.
*/}}
{{- define "lapse.caller" -}}
request.userInfo.?username.orValue('')
{{- end }}
{{- define "lapse.asked" -}}
authorizer.serviceAccount('{{ .root.Release.Namespace }}', name + '-elevated').group('lapse.dev').resource('sessions').namespace('{{ .root.Release.Namespace }}').check('{{ .verb }}').allowed()
{{- end }}
{{- /* That a name which spells out the caller's is marked: "kind" says as what. */ -}}
{{- define "lapse.isMarked" -}}
['%x'.format([{{ include "lapse.caller" . }}])].exists(hex,
  (size(hex) <= 220 ? ['{{ .kind }}-' + hex]
   : ['{{ .kind }}-' + string(size(hex) / 2) + '-head-' + hex.substring(0, 200),
      '{{ .kind }}-' + string(size(hex) / 2) + '-tail-' + hex.substring(size(hex) - 200)]).all(name,
    {{ include "lapse.asked" . }}))
{{- end }}
{{- /* That the caller is the holder of a right. */ -}}
{{- define "lapse.isHolder" -}}
{{ include "lapse.isMarked" (dict "root" .root "verb" .verb "kind" "person") }}
{{- end }}
{{- /*
That the caller comes as a service account without a credential of its: somebody may impersonate it. A token that lay in
a Secret has no id either. It shows the UID of its account, which who impersonates lacks (engine/src/session/held.rs).
*/ -}}
{{- define "lapse.mayBeDisguised" -}}
{{ include "lapse.caller" . }}.matches('^system:serviceaccount:[a-z0-9-]+:[^:]+$')
&& !('authentication.kubernetes.io/credential-id' in request.userInfo.?extra.orValue({}))
&& request.userInfo.?uid.orValue('') == ''
{{- with .root.Values.guard.trustedReconcilers }}
&& !({{ include "lapse.caller" . }} in [{{ range $i, $account := . }}{{ if $i }}, {{ end }}'system:serviceaccount:{{ $account }}'{{ end }}])
{{- end }}
{{- end }}
{{- /* That the holder of a right may impersonate this very account, or all in its place. Two halves, for such callers. */ -}}
{{- define "lapse.isImpersonableByName" -}}
{{ include "lapse.isMarked" (dict "root" .root "verb" .verb "kind" "account") }}
{{- end }}
{{- define "lapse.isImpersonableByPlace" -}}
['accounts-in-' + {{ include "lapse.caller" . }}.split(':')[2], 'accounts-anywhere'].exists(name,
  {{ include "lapse.asked" . }})
{{- end }}
{{- /*
Both in one expression, for what asks the webhook, which knows the names themselves: of a service account
without a credential, that its namespace has any that a holder may impersonate, or that holds a right.
*/ -}}
{{- define "lapse.mayHold" -}}
{{ include "lapse.mayBeDisguised" . }}
? ['some-in-' + {{ include "lapse.caller" . }}.split(':')[2], 'accounts-anywhere'].exists(name,
  {{ include "lapse.asked" . }})
: {{ include "lapse.isHolder" . }}
{{- end }}

{{/*
That the caller is allowed the request at this moment. The API server asks that when the headers of a request have
come; its body can take a minute more, and a right ends meanwhile. Whoever is allowed by anything else is no holder
who would notice.
*/}}
{{- define "lapse.stillAllowed" -}}
{'CREATE': ['create'], 'UPDATE': ['update', 'patch'], 'DELETE': ['delete', 'deletecollection'], 'CONNECT': ['create', 'get']}[?request.operation].orValue([]).exists(verb,
  authorizer.requestResource.check(verb).allowed())
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

{{/* That an object, "written", or what it makes carries the mark of a right that somebody started it under. */}}
{{- define "lapse.isOfAGrant" -}}
[written.?metadata, written.?spec.?template.?metadata, written.?spec.?jobTemplate.?metadata,
 written.?spec.?jobTemplate.?spec.?template.?metadata].exists(of,
   'lapse.dev/grant' in of.?labels.orValue({}) || 'lapse.dev/grant-uid' in of.?annotations.orValue({}))
{{- end }}

{{/* That the caller is what makes pods, jobs and replica sets in Kubernetes itself. */}}
{{- define "lapse.makesWorkloads" -}}
request.userInfo.?username.orValue('') in ['system:kube-controller-manager',
  'system:serviceaccount:kube-system:job-controller', 'system:serviceaccount:kube-system:cronjob-controller',
  'system:serviceaccount:kube-system:deployment-controller', 'system:serviceaccount:kube-system:replicaset-controller',
  'system:serviceaccount:kube-system:statefulset-controller', 'system:serviceaccount:kube-system:daemon-set-controller',
  'system:serviceaccount:kube-system:replication-controller']
{{- end }}

{{/* ClusterRoles for people that the chart ships, as a CEL list. */}}
{{- define "lapse.peopleRoles" -}}
['lapse:requester', 'lapse:approver', 'lapse:reviewer', 'lapse:auditor', 'lapse:policy-viewer', 'lapse:policy-admin']
{{- end }}

{{/*
Every admission object of the chart as JSON, for the controller to notice when one is gone or changed: the specs of
policies and bindings, and the webhooks without clientConfig, which the webhook writes itself.
*/}}
{{- define "lapse.admissionObjects" -}}
{{- $objects := list }}
{{- $names := list "admission/attestation-keys" "admission/controller-only" "admission/controller-rbac" "admission/decisions-kept" "admission/endpoints" "admission/guard" "admission/identity" "admission/immutable" "admission/own-namespace" "admission/ownership" "admission/rbac-reserved" "admission/size" "admission/started" "admission/status-final" "admission/webhook-configurations" "webhook/configurations" }}
{{- range $name := $names }}
{{- range $text := regexSplit "(?m)^---$" (include (print $.Template.BasePath "/" $name ".yaml") $) -1 }}
{{- $object := fromYaml $text }}
{{- if $object.kind }}
{{- $content := $object.spec }}
{{- if $object.webhooks }}
{{- $content = dict }}
{{- range $object.webhooks }}
{{- $_ := set $content .name (omit . "name" "clientConfig") }}
{{- end }}
{{- end }}
{{- $objects = append $objects (dict "kind" $object.kind "name" $object.metadata.name "content" $content) }}
{{- end }}
{{- end }}
{{- end }}
{{- toRawJson $objects }}
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
{{- with .Values.tracing }}
{{- if .endpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ .endpoint | quote }}
- name: OTEL_TRACES_SAMPLER
  value: parentbased_traceidratio
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ .samplingRatio | quote }}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: k8s.namespace.name={{ $.Release.Namespace }},k8s.pod.name=$(POD_NAME)
{{- end }}
{{- end }}
{{- end }}

{{/* The port at which the collector of traces is called. */}}
{{- define "lapse.collectorPort" -}}
{{- regexFind ":[0-9]+$" (urlParse .Values.tracing.endpoint).host | trimPrefix ":" | default "80" -}}
{{- end }}

{{/*
Ready within a second of being so, at the start; later the readiness probe, which asks less often, says it. The first
look is late enough to find a process that listens. One that cannot reach the API server waits for it and is
not restarted meanwhile: it would come back later than the API server. The number is of seconds, and more than the ten
minutes after which a kubelet forgets earlier restarts, so that the next one is not put off.
*/}}
{{- define "lapse.startupProbe" -}}
startupProbe:
  httpGet:
    path: /readyz
    port: metrics
  initialDelaySeconds: 1
  periodSeconds: 1
  timeoutSeconds: 3
  failureThreshold: 900
{{- end }}

{{/*
Where pods run. Call with (dict "root" $ "component" "controller" "values" .Values.controller).

Each on a node of its own is a preference of the pods against one another, and not a constraint of spread: for soft
constraints the scheduler passes over nodes that lack the label of any of them, so that without zones the one by zone
would switch off the one by host name.
*/}}
{{- define "lapse.placement" -}}
{{- $selector := include "lapse.selector" . | fromYaml }}
{{- $apart := dict "topologyKey" "kubernetes.io/hostname" "labelSelector" (dict "matchLabels" $selector) "matchLabelKeys" (list "pod-template-hash") }}
{{- $affinity := deepCopy .values.affinity }}
{{- $anti := $affinity.podAntiAffinity | default dict }}
{{- $preferred := $anti.preferredDuringSchedulingIgnoredDuringExecution | default list }}
{{- $_ := set $anti "preferredDuringSchedulingIgnoredDuringExecution" (append $preferred (dict "weight" 100 "podAffinityTerm" $apart)) }}
{{- $_ := set $affinity "podAntiAffinity" $anti -}}
affinity:
  {{- toYaml $affinity | nindent 2 }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: topology.kubernetes.io/zone
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- toYaml $selector | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
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
