#!/usr/bin/env bash
# Kubernetes 1.36.3: what the formats `duration` and `date-time` of a CustomResourceDefinition let through, who reads the object
# next may not be able to read.
#
# `duration` takes "1 day", "1h 30m" and "1M", and the last one is a minute. The definition's own CEL rules read them so,
# too: `self.ttl <= duration('24h')` holds for "1 day". The same object in an admission policy has a string there, and
# `duration(object.spec.ttl)` fails for it; as a literal, `duration('1 day')` does not compile; and `metav1.Duration`, by
# which clients in Go read it, is an error, for the whole list in which the object lies.
#
# `date-time` takes "2026-01-01t00:00:00z", which RFC 3339 allows. No CEL reads it, not even that of the definition, and
# `metav1.Time` does not, either.
#
# Expected: one grammar for each of the two, in one API server and its libraries.
#
# What to do: give the field a `pattern` besides, like ^([0-9]+h)?([0-9]+m)?([0-9]+s)?$ for a duration; in an admission policy,
# say what becomes of an object whose field cannot be read (`failurePolicy`).
#
# Seen on 2026-12-01: what is below as `expected`.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cat > "$folder/go.mod" <<'MOD'
module finding

go 1.26

require (
	github.com/google/cel-go v0.26.0
	k8s.io/apiextensions-apiserver v0.36.3
	k8s.io/apimachinery v0.36.3
	k8s.io/apiserver v0.36.3
	k8s.io/kube-openapi v0.0.0-20260317180543-43fb72c5454a
)
MOD
cat > "$folder/main.go" <<'GO'
package main

import (
	"context"
	"encoding/json"
	"fmt"

	gocel "github.com/google/cel-go/cel"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/kube-openapi/pkg/validation/strfmt"
)

var policies *gocel.Env

// How an admission policy evaluates an expression.
func policy(expression string, object any) string {
	ast, issues := policies.Compile(expression)
	if issues.Err() != nil {
		return "does not compile"
	}
	program, err := policies.Program(ast)
	if err != nil {
		panic(err)
	}
	value, _, err := program.Eval(map[string]any{"object": object})
	if err != nil {
		return "fails"
	}
	return fmt.Sprint(value)
}

func said(failed bool) string {
	if failed {
		return "refuses"
	}
	return "takes"
}

// What becomes of an object with one field.
func try(field, format, value string, read any) {
	limits := map[string]string{"duration": "duration('24h')", "date-time": "timestamp('2027-01-01T00:00:00Z')"}
	casts := map[string]string{"duration": "duration", "date-time": "timestamp"}
	definition := &apiextensions.JSONSchemaProps{
		Type:         "object",
		Properties:   map[string]apiextensions.JSONSchemaProps{field: {Type: "string", Format: format}},
		XValidations: apiextensions.ValidationRules{{Rule: "self." + field + " <= " + limits[format]}},
	}
	structural, err := schema.NewStructural(definition)
	if err != nil {
		panic(err)
	}
	schemaOf, _, err := validation.NewSchemaValidator(definition)
	if err != nil {
		panic(err)
	}
	object := map[string]any{field: value}
	invalid := validation.ValidateCustomResource(nil, object, schemaOf)
	rules := cel.NewValidator(structural, true, celconfig.PerCallLimit)
	broken, _ := rules.Validate(context.Background(), nil, structural, object, nil, celconfig.RuntimeCELCostBudget)
	inPolicy := policy(casts[format]+"(object."+field+") <= "+limits[format], object)
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	unread := json.Unmarshal(text, read)
	fmt.Printf("%s: schema %s, rule of the definition %s, policy %s, Go %s\n",
		text, said(len(invalid) > 0), said(len(broken) > 0), inPolicy, said(unread != nil))
}

func main() {
	base := environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion())
	env, err := base.Env(environment.NewExpressions)
	if err != nil {
		panic(err)
	}
	policies, err = env.Extend(gocel.Variable("object", gocel.DynType))
	if err != nil {
		panic(err)
	}
	for _, ttl := range []string{"1h30m", "1h 30m", "1 day", "1M"} {
		try("ttl", "duration", ttl, &metav1.Duration{})
	}
	for _, end := range []string{"2026-01-01T00:00:00Z", "2026-01-01t00:00:00z"} {
		try("end", "date-time", end, &metav1.Time{})
	}
	month, err := strfmt.ParseDuration("1M")
	if err != nil {
		panic(err)
	}
	fmt.Println("1M by the format:", month)
	fmt.Println("duration('1 day') in a policy:", policy("duration('1 day') > duration('0s')", nil))
}
GO
said="$(cd "$folder" && go mod tidy 2> /dev/null && go run .)"
expected="\"1h30m\": schema takes, rule of the definition takes, policy true, Go takes
\"1h 30m\": schema takes, rule of the definition takes, policy fails, Go refuses
\"1 day\": schema takes, rule of the definition takes, policy fails, Go refuses
\"1M\": schema takes, rule of the definition takes, policy fails, Go refuses
\"2026-01-01T00:00:00Z\": schema takes, rule of the definition takes, policy true, Go takes
\"2026-01-01t00:00:00z\": schema takes, rule of the definition refuses, policy fails, Go refuses
1M by the format: 1m0s
duration('1 day') in a policy: does not compile"
if [ "$said" != "$expected" ]; then
  printf 'it has changed:\n%s\n' "$said"
  exit 1
fi
printf '%s\n' "$said"
