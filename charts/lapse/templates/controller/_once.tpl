{{/*
The pod of a job that runs the controller's program once. Call with
(dict "root" $ "name" "sweep" "args" (list "sweep" "--settings=/etc/lapse/settings.yaml") "installed" true).
With "installed" it has the controller's rights and the settings, which are there only once the release is.
*/}}
{{- define "lapse.oncePod" -}}
{{- $values := .root.Values -}}
metadata:
  labels:
    {{- with $values.controller.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- include "lapse.selector" (dict "root" .root "component" .name) | nindent 4 }}
  {{- with $values.controller.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- if .installed }}
  serviceAccountName: lapse-controller
  {{- end }}
  automountServiceAccountToken: {{ .installed | default false }}
  enableServiceLinks: false
  restartPolicy: Never
  terminationGracePeriodSeconds: 10
  securityContext:
    {{- include "lapse.podSecurity" .root | nindent 4 }}
  {{- with $values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  {{- with $values.controller.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $values.controller.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.controller.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ .name }}
      image: {{ include "lapse.image" .root | quote }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      command: [lapse-controller]
      args:
        {{- toYaml .args | nindent 8 }}
      env:
        {{- include "lapse.env" .root | nindent 8 }}
      {{- with $values.sweep.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        {{- include "lapse.containerSecurity" .root | nindent 8 }}
      {{- if .installed }}
      volumeMounts:
        - name: settings
          mountPath: /etc/lapse
          readOnly: true
      {{- end }}
  {{- if .installed }}
  volumes:
    - name: settings
      configMap:
        name: lapse-settings
  {{- end }}
{{- end }}
