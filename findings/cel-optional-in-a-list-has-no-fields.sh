#!/usr/bin/env bash
# cel-go 0.26.0 (what Kubernetes 1.36 evaluates admission policies with; 0.29.0 does the same): an optional that is reached
# through an index or a field has no fields of its own to select. `[old.?metadata][0].?labels` is none, whatever the labels
# are, while `[old.?metadata][0].hasValue()` is true, and the same optional in a variable, from a call or from a
# comprehension has its labels. Nothing fails, neither when it is compiled nor when it is evaluated.
#
# So a ValidatingAdmissionPolicy that collects `object.?x` and `oldObject.?x` in a list, to compare fields of one place
# before and after, finds none equal to none and lets every change through.
#
# What to do: take the field out before it goes into the list, with `orValue`, or by `map`, and compare plain values.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cat > "$folder/go.mod" <<'MOD'
module finding

go 1.26

require github.com/google/cel-go v0.26.0
MOD
cat > "$folder/main.go" <<'GO'
package main

import (
	"fmt"

	"github.com/google/cel-go/cel"
)

func main() {
	env, err := cel.NewEnv(cel.OptionalTypes(), cel.Variable("old", cel.DynType), cel.Variable("now", cel.DynType))
	if err != nil {
		panic(err)
	}
	labels := map[string]any{"labels": map[string]any{"team": "shop"}}
	objects := map[string]any{
		"old": map[string]any{"metadata": labels},
		"now": map[string]any{"metadata": map[string]any{}},
	}
	for _, expression := range []string{
		"[old.?metadata][0].hasValue()",
		"[old.?metadata][0].?labels.hasValue()",
		"{'of': old.?metadata}.of.?labels.hasValue()",
		"[old.?metadata].exists(of, of.?labels.hasValue())",
		"optional.of(old.metadata).?labels.hasValue()",
		"[old.?metadata, now.?metadata][0].?labels == [old.?metadata, now.?metadata][1].?labels",
		"old.?metadata.?labels == now.?metadata.?labels",
	} {
		ast, issues := env.Compile(expression)
		if issues.Err() != nil {
			panic(issues.Err())
		}
		program, err := env.Program(ast)
		if err != nil {
			panic(err)
		}
		value, _, err := program.Eval(objects)
		if err != nil {
			panic(err)
		}
		fmt.Printf("%s: %v\n", expression, value)
	}
}
GO
said="$(cd "$folder" && go mod tidy 2> /dev/null && go run .)"
expected='[old.?metadata][0].hasValue(): true
[old.?metadata][0].?labels.hasValue(): false
{'"'"'of'"'"': old.?metadata}.of.?labels.hasValue(): false
[old.?metadata].exists(of, of.?labels.hasValue()): true
optional.of(old.metadata).?labels.hasValue(): true
[old.?metadata, now.?metadata][0].?labels == [old.?metadata, now.?metadata][1].?labels: true
old.?metadata.?labels == now.?metadata.?labels: false'
if [ "$said" != "$expected" ]; then
  printf 'it has changed:\n%s\n' "$said"
  exit 1
fi
printf '%s\n' "$said"
