{{/*
The pod of a job that runs a command of the controller's program once, with the controller's rights.
Call with (dict "root" $ "command" "sweep").
*/}}
{{- define "lapse.oncePod" -}}
{{- $values := .root.Values -}}
metadata:
  labels:
    {{- with $values.controller.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- include "lapse.selector" (dict "root" .root "component" .command) | nindent 4 }}
  {{- with $values.controller.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: lapse-controller
  automountServiceAccountToken: true
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
    - name: {{ .command }}
      image: {{ include "lapse.image" .root | quote }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      command: [lapse-controller]
      args:
        - {{ .command }}
        - --settings=/etc/lapse/settings.yaml
      env:
        {{- include "lapse.env" .root | nindent 8 }}
      {{- with $values.sweep.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        {{- include "lapse.containerSecurity" .root | nindent 8 }}
      volumeMounts:
        - name: settings
          mountPath: /etc/lapse
          readOnly: true
  volumes:
    - name: settings
      configMap:
        name: lapse-settings
{{- end }}
