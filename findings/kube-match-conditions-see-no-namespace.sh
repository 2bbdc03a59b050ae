#!/usr/bin/env bash
# Kubernetes 1.36.3: `namespaceObject` compiles in the `matchConditions` of an admission policy or of a webhook, as it does in
# its validations, and is never set there. `namespaceObject.metadata` fails for every request ("no such key: metadata"). An
# expression that is careful (`namespaceObject.?metadata`) fails for none: it is false for every request, whatever the labels of
# the namespace are, so the policy is stored without a complaint and never applies.
#
# What to do: select namespaces by `matchConstraints.namespaceSelector`, or ask in the validations.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cat > "$folder/go.mod" <<'MOD'
module finding

go 1.26

require (
	k8s.io/api v0.36.3
	k8s.io/apimachinery v0.36.3
	k8s.io/apiserver v0.36.3
)
MOD
cat > "$folder/main.go" <<'GO'
package main

import (
	"context"
	"fmt"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/cel/environment"
)

func main() {
	labels := map[string]string{"team": "shop"}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: labels}}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop"}}
	kind := corev1.SchemeGroupVersion.WithKind("Pod")
	resource := corev1.SchemeGroupVersion.WithResource("pods")
	alice := &user.DefaultInfo{Name: "alice"}
	attributes := admission.NewAttributesRecord(pod, nil, kind, "shop", "web", resource, "", admission.Create, nil, false, alice)
	versioned := &admission.VersionedAttributes{Attributes: attributes, VersionedKind: kind, VersionedObject: pod}
	compiler := cel.NewConditionCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()))
	fail := admissionv1.Fail
	for _, expression := range []string{
		"namespaceObject.metadata.labels['team'] == 'shop'",
		"namespaceObject.?metadata.?labels[?'team'].orValue('') == 'shop'",
	} {
		condition := &matchconditions.MatchCondition{Name: "of-the-shop", Expression: expression}
		compiled := compiler.CompileCondition([]cel.ExpressionAccessor{condition}, cel.OptionalVariableDeclarations{}, environment.NewExpressions)
		fmt.Printf("%s\n  errors of compilation: %v\n", expression, compiled.CompilationErrors())
		// As a validation is evaluated: with the namespace.
		request := cel.CreateAdmissionRequest(attributes, metav1.GroupVersionResource(resource), metav1.GroupVersionKind(kind))
		results, _, err := compiled.ForInput(context.Background(), versioned, request, cel.OptionalVariableBindings{}, namespace, celconfig.RuntimeCELCostBudget)
		if err != nil {
			panic(err)
		}
		fmt.Printf("  in validations: %v\n", results[0].EvalResult)
		result := matchconditions.NewMatcher(compiled, &fail, "policy", "validate", "finding").Match(context.Background(), versioned, nil, nil)
		fmt.Printf("  in matchConditions: matches %v, error %v\n", result.Matches, result.Error)
	}
}
GO
said="$(cd "$folder" && go mod tidy 2> /dev/null && go run .)"
expected="namespaceObject.metadata.labels['team'] == 'shop'
  errors of compilation: []
  in validations: true
  in matchConditions: matches false, error expression 'namespaceObject.metadata.labels['team'] == 'shop'' resulted in error: no such key: metadata
namespaceObject.?metadata.?labels[?'team'].orValue('') == 'shop'
  errors of compilation: []
  in validations: true
  in matchConditions: matches false, error <nil>"
if [ "$said" != "$expected" ]; then
  printf 'it has changed:\n%s\n' "$said"
  exit 1
fi
printf '%s\n' "$said"
