{{/*
Put in what is missing of files/defaults.yaml: with `helm upgrade --reuse-values` the values are those of the older
chart, which knows nothing of what has been added since. Every template begins with it.
*/}}
{{- define "towline.fill" -}}
{{- range $path, $value := .Files.Get "files/defaults.yaml" | fromYaml }}
{{- $keys := splitList "." $path }}
{{- $into := $.Values }}
{{- range initial $keys }}
{{- if not (kindIs "map" (index $into .)) }}{{ $_ := set $into . dict }}{{ end }}
{{- $into = index $into . }}
{{- end }}
{{- if not (hasKey $into (last $keys)) }}{{ $_ := set $into (last $keys) $value }}{{ end }}
{{- end }}
{{- end }}

{{- define "towline.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "towline.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- $name := include "towline.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "towline.selectorLabels" -}}
app.kubernetes.io/name: {{ include "towline.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "towline.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "towline.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: towline
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "towline.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "towline.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name must name an existing ServiceAccount when serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "towline.image" -}}
{{- $repository := .Values.image.repository }}
{{- with default .Values.image.registry .Values.global.imageRegistry }}
{{- $parts := splitList "/" $repository }}
{{- /* As container runtimes tell a registry from a path: by a dot, a port, or the name localhost. */}}
{{- if and (gt (len $parts) 1) (or (regexMatch "[.:]" (first $parts)) (eq (first $parts) "localhost")) }}
{{- $parts = rest $parts }}
{{- end }}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) (join "/" $parts) }}
{{- end }}
{{- if .Values.image.digest }}
{{- printf "%s@%s" $repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* Names of the pull secrets, as JSON. */}}
{{- define "towline.pullSecrets" -}}
{{- $names := list }}
{{- range concat (default list .Values.global.imagePullSecrets) (default list .Values.imagePullSecrets) }}
{{- if kindIs "map" . }}{{ $names = append $names .name }}{{ else }}{{ $names = append $names . }}{{ end }}
{{- end }}
{{- uniq $names | toJson }}
{{- end }}

{{/* What the operator adds to the pods of syncs, as JSON; nothing where that is what it does anyway. */}}
{{- define "towline.syncPod" -}}
{{- $sync := .Values.sync }}
{{- $pod := dict }}
{{- $usual := (.Files.Get "files/defaults.yaml" | fromYaml) | dig "sync.podSecurityContext" dict }}
{{- if ne (toJson $sync.podSecurityContext) (toJson $usual) }}
{{- $_ := set $pod "securityContext" $sync.podSecurityContext }}
{{- end }}
{{- range $name, $value := dict "nodeSelector" $sync.nodeSelector "tolerations" $sync.tolerations "labels" $sync.podLabels "annotations" $sync.podAnnotations }}
{{- with $value }}{{ $_ := set $pod $name . }}{{ end }}
{{- end }}
{{- with $pod }}{{ toJson . }}{{ end }}
{{- end }}

{{/* What the operator does inside a namespace: in all of them by a ClusterRoleBinding, or in the listed ones by RoleBindings. */}}
{{- define "towline.namespacedRules" -}}
- apiGroups: [towline.dev]
  resources: [integrations, syncjobs]
  verbs: [get, list, watch]
- apiGroups: [towline.dev]
  resources: [integrations/status, syncjobs/status]
  verbs: [patch]
- apiGroups: [towline.dev]
  resources: [syncjobs]
  verbs: [create, delete]
# Needed for blockOwnerDeletion in owner references where OwnerReferencesPermissionEnforcement is on (OpenShift).
- apiGroups: [towline.dev]
  resources: [integrations/finalizers, syncjobs/finalizers]
  verbs: [update]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, delete]
# The termination message holds a sync's result. Logs and exec are not needed.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
# By name only: what Integrations refer to. Never list, never watch.
- apiGroups: [""]
  resources: [secrets, configmaps]
  verbs: [get]
{{- if .Values.rbac.watchSecrets }}
# Asked for by rbac.watchSecrets: changes are noticed within seconds. The operator reads metadata only.
- apiGroups: [""]
  resources: [secrets]
  verbs: [watch]
{{- end }}
# The volume of the SQLite destination, made when it is not there.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, create]
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
{{- end }}
