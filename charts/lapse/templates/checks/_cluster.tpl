{{- /* Whose an object of the cluster is, by what Helm wrote on it: {"name": …, "namespace": …}. */ -}}
{{- define "lapse.ownerOf" -}}
{{- $annotations := .metadata.annotations | default dict -}}
{{- dict "name" (get $annotations "meta.helm.sh/release-name") "namespace" (get $annotations "meta.helm.sh/release-namespace") | toJson -}}
{{- end }}

{{- define "lapse.check.cluster" -}}
{{- /* Whether the kinds of the cluster are known: helm template knows groups and versions alone. */ -}}
{{- if .Capabilities.APIVersions.Has "apps/v1/Deployment" }}
{{- $missing := list }}
{{- range $kind := list "ValidatingAdmissionPolicy" "ValidatingAdmissionPolicyBinding" "MutatingWebhookConfiguration" "ValidatingWebhookConfiguration" }}
{{- if not ($.Capabilities.APIVersions.Has (printf "admissionregistration.k8s.io/v1/%s" $kind)) }}
{{- $missing = append $missing $kind }}
{{- end }}
{{- end }}
{{- with $missing }}
{{ printf "the API server does not serve %s of admissionregistration.k8s.io/v1, without which Lapse guards nothing. Switch them on (--runtime-config, --feature-gates)" (join ", " .) }}
{{- end }}
{{- if and .Values.flowControl.enabled (not (.Capabilities.APIVersions.Has "flowcontrol.apiserver.k8s.io/v1/FlowSchema")) }}
{{ printf "flowControl.enabled is true, and the API server does not serve FlowSchema of flowcontrol.apiserver.k8s.io/v1. Switch it on, or set flowControl.enabled to false" }}
{{- end }}
{{- end }}
{{- with lookup "rbac.authorization.k8s.io/v1" "ClusterRoleBinding" "" "lapse-controller" }}
{{- $labels := .metadata.labels | default dict }}
{{- if eq (get $labels "app.kubernetes.io/part-of") "lapse" }}
{{- $owner := include "lapse.ownerOf" . | fromJson }}
{{- /* What kubectl applied says nothing of a release. */}}
{{- $name := $owner.name | default (get $labels "app.kubernetes.io/instance") }}
{{- $namespace := $owner.namespace | default (first (.subjects | default (list dict))).namespace }}
{{- if or (ne $name $.Release.Name) (ne $namespace $.Release.Namespace) }}
{{ printf "Lapse is installed in this cluster already, as release %q in namespace %q (ClusterRoleBinding lapse-controller), and there is one in a cluster: the admission policies and the roles of a second one would take the place of those of the first, whose rights would then not end. Upgrade the first (helm upgrade %s --namespace %s), or uninstall it before (helm uninstall %s --namespace %s)" $name $namespace $name $namespace $name $namespace }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- /* The definitions that stand in the cluster, beside those of this chart. */ -}}
{{- define "lapse.check.definitions" -}}
{{- $newer := list }}
{{- $older := list }}
{{- $foreign := list }}
{{- $missing := list }}
{{- $owners := list }}
{{- $releases := list }}
{{- $ours := "" }}
{{- range $path, $_ := .Files.Glob "files/crds/*.yaml" }}
{{- $definition := $.Files.Get $path | fromYaml }}
{{- $crd := $definition.metadata.name }}
{{- $ours = get $definition.metadata.annotations "lapse.dev/version" }}
{{- $standing := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" $crd }}
{{- if $standing }}
{{- $release := get ($standing.metadata.annotations | default dict) "lapse.dev/version" }}
{{- if regexMatch "^[0-9]+\\.[0-9]+\\.[0-9]+(-[0-9A-Za-z.-]+)?$" $release }}
{{- $order := semver $ours | (semver $release).Compare }}
{{- if gt $order 0 }}
{{- $newer = append $newer $crd }}
{{- $releases = append $releases $release }}
{{- else if lt $order 0 }}
{{- $older = append $older $crd }}
{{- end }}
{{- end }}
{{- $versions := list }}
{{- range $definition.spec.versions }}
{{- $versions = append $versions .name }}
{{- end }}
{{- range $standing.status.storedVersions }}
{{- if not (has . $versions) }}
{{ printf "objects of %s are stored as version %q, which this chart does not know: it is older than what stands in the cluster. Install a chart that has it" $crd . }}
{{- end }}
{{- end }}
{{- if $standing.metadata.deletionTimestamp }}
{{ printf "the definition %s is being deleted, with all objects of its kind. Wait until it is gone (kubectl get crd %s); it hangs on objects with a finalizer, such as emergencies that await their review" $crd $crd }}
{{- end }}
{{- $owner := include "lapse.ownerOf" $standing | fromJson }}
{{- if and $owner.name (or (ne $owner.name $.Release.Name) (ne $owner.namespace $.Release.Namespace)) }}
{{- $foreign = append $foreign $crd }}
{{- $owners = append $owners (printf "%q in namespace %q" $owner.name $owner.namespace) }}
{{- end }}
{{- else }}
{{- $missing = append $missing $crd }}
{{- end }}
{{- end }}
{{- /* What runs beside them already changes nothing by another value: after definitions were applied first, or after a rollback that left them. */}}
{{- $runs := lookup "apps/v1" "Deployment" .Release.Namespace "lapse-controller" }}
{{- $isRunning := eq (dig "metadata" "labels" "app.kubernetes.io/version" "" ($runs | default dict)) .Chart.AppVersion }}
{{- if and $newer (or .Values.crds.install (not $isRunning)) }}
{{ printf "the cluster has definitions of Lapse %s, and this chart is of %s (%s). Policies there may say what this release does not know, and a restriction that is lost is a wider policy. Install a chart of that release or a later one; after an upgrade that failed, helm rollback goes back. To go back all the same, take out the policies that use what is new, and apply the definitions of this chart first: kubectl apply --server-side --force-conflicts -f charts/lapse/files/crds" (first (reverse (sortAlpha $releases))) $ours (join ", " $newer) }}
{{- end }}
{{- if .Values.crds.install }}
{{- if and $foreign (not (include "lapse.check.cluster" . | contains "installed in this cluster already")) }}
{{ printf "the definitions stayed from release %s, which is uninstalled. Take them over: kubectl annotate --overwrite crd %s meta.helm.sh/release-name=%s meta.helm.sh/release-namespace=%s. Or install by that name and in that namespace, or with crds.install=false" (join ", " (uniq $owners)) (join " " $foreign) .Release.Name .Release.Namespace }}
{{- end }}
{{- else if .Capabilities.APIVersions.Has "apps/v1/Deployment" }}
{{- if and $missing (not (.Capabilities.APIVersions.Has "lapse.dev/v1alpha1/JitPolicy")) }}
{{ printf "crds.install is false, and the cluster has no definitions %s. Apply them first: kubectl apply --server-side -f charts/lapse/files/crds" (join ", " $missing) }}
{{- end }}
{{- if $older }}
{{ printf "crds.install is false, and the definitions in the cluster are older than this chart, which is of %s (%s). Apply those of the chart first: kubectl apply --server-side -f charts/lapse/files/crds" $ours (join ", " $older) }}
{{- end }}
{{- end }}
{{- end }}
