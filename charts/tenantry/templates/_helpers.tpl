{{/* Labels of everything in this chart; takes a dict of root and component. */}}
{{- define "tenantry.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: tenantry
{{ include "tenantry.selector" . }}
{{- end }}

{{/* Labels by which Services, policies and budgets find the pods of a component. */}}
{{- define "tenantry.selector" -}}
app.kubernetes.io/name: tenantry
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* The user as which the operator speaks to the API server. */}}
{{- define "tenantry.operatorUser" -}}
system:serviceaccount:{{ .Release.Namespace }}:tenantry-operator
{{- end }}

{{/* Match conditions of policies that bind everybody but the operator and people who break the glass. */}}
{{- define "tenantry.matchEverybodyElse" -}}
- name: not-the-operator
  expression: request.userInfo.username != {{ include "tenantry.operatorUser" . | squote }}
- name: glass-not-broken
  expression: "!({{ squote .Values.breakGlassGroup }} in request.userInfo.groups)"
{{- end }}

{{/* Match condition of policies that bind the operator itself. */}}
{{- define "tenantry.matchOperator" -}}
- name: the-operator
  expression: request.userInfo.username == {{ include "tenantry.operatorUser" . | squote }}
{{- end }}

{{/* Binds a policy to the whole cluster under the policy's own name; takes a dict of root and name. */}}
{{- define "tenantry.binding" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ .name }}
  labels: {{- include "tenantry.labels" (dict "root" .root "component" "policy") | nindent 4 }}
spec:
  policyName: {{ .name }}
  validationActions: [Deny]
{{- end }}

{{/* Security context of a pod under the Pod Security Standard "restricted". */}}
{{- define "tenantry.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* Security context of a container that needs nothing. */}}
{{- define "tenantry.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* Where pods run; takes the values of a component. */}}
{{- define "tenantry.scheduling" -}}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What both processes need of the network: names and the API server. */}}
{{- define "tenantry.egressToCluster" -}}
- ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
  to:
    - namespaceSelector:
        matchLabels: {kubernetes.io/metadata.name: kube-system}
    # A node-local DNS cache answers on a link-local address.
    - ipBlock: {cidr: 169.254.20.10/32}
- ports:
    {{- range .Values.networkPolicies.apiServerPorts }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
{{- end }}

{{/* The scraper's way to a metrics port; takes a dict of root and port. */}}
{{- define "tenantry.ingressFromMonitoring" -}}
{{- with .root.Values.monitoring.namespace }}
- from:
    - namespaceSelector:
        matchLabels: {kubernetes.io/metadata.name: {{ . }}}
  ports:
    - {protocol: TCP, port: {{ $.port }}}
{{- end }}
{{- end }}

{{/* Kinds of routes that are the operator's business, as a JSON list: the one that the values ask for, and those of which an
earlier setting has left some. The latter are named in the values or found in the cluster, where there is one to ask. */}}
{{- define "tenantry.routes" -}}
{{- $kinds := list
  (dict "kind" "Ingress" "group" "networking.k8s.io" "resource" "ingresses")
  (dict "kind" "HTTPRoute" "group" "gateway.networking.k8s.io" "resource" "httproutes") }}
{{- $routes := list }}
{{- range $kinds }}
{{- $asked := eq .kind $.Values.routing.kind }}
{{- $left := has .kind $.Values.routing.former }}
{{- if $.Capabilities.APIVersions.Has (printf "%s/v1/%s" .group .kind) }}
{{- range (lookup (print .group "/v1") .kind "" "").items }}
{{- $labels := .metadata.labels | default dict }}
{{- if and (hasKey $labels "tenantry.dev/tenant") (eq (get $labels "app.kubernetes.io/managed-by") "tenantry") }}
{{- $left = true }}
{{- end }}
{{- end }}
{{- end }}
{{- if or $asked $left }}
{{- $routes = append $routes (set . "asked" $asked) }}
{{- end }}
{{- end }}
{{- toJson $routes }}
{{- end }}

{{/* "true" when pods of tenants may run an image; takes a dict of root and image. The same rule as the policy's. */}}
{{- define "tenantry.imageAllowed" -}}
{{- range .root.Values.allowedImages }}
{{- if or (and (hasSuffix "/" .) (hasPrefix . $.image)) (eq . $.image) (hasPrefix (print . "@") $.image) (hasPrefix (print . ":") $.image) -}}
true
{{- break }}
{{- end }}
{{- end }}
{{- end }}
