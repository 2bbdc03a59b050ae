#!/usr/bin/env bash
# Kubernetes 1.36.3, the audit policy of the API server (audit.k8s.io/v1): a rule with `verbs: ["*"]` matches no request at
# all. The same goes for `users`, `userGroups` and `namespaces`. In `resources` and `nonResourceURLs` of the same rule a star
# is any. The policy is read without an error or a warning.
#
# Expected: any verb, as in RBAC, in flow schemas and in admission rules; or a policy that is refused.
#
# What matches no rule is not logged. So a policy that means to log "all verbs on secrets" logs nothing of them, and one whose
# first rule leaves out what `users: ["*"]` do goes on to the rules after it.
#
# Why: only resources, their groups and paths are compared with the star in mind; the other lists are searched for the very
# word.
#
# What to do: leave the list out, which stands for all ("An empty list implies every verb."), and send a request through a new
# policy before it counts.
#
# Seen on 2026-12-01: what is below as `expected`.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cat > "$folder/go.mod" <<'MOD'
module finding

go 1.26

require k8s.io/apiserver v0.36.3
MOD
cat > "$folder/main.go" <<'GO'
package main

import (
	"fmt"

	"k8s.io/apiserver/pkg/audit/policy"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

func main() {
	alice := &user.DefaultInfo{Name: "alice", Groups: []string{"system:authenticated"}}
	requests := []authorizer.AttributesRecord{
		{User: alice, Verb: "delete", Namespace: "shop", Resource: "secrets", Name: "key", APIVersion: "v1", ResourceRequest: true},
		{User: alice, Verb: "get", Path: "/healthz/etcd"},
	}
	for _, rule := range []string{
		"{level: Metadata}",
		"{level: Metadata, verbs: ['*']}",
		"{level: Metadata, users: ['*']}",
		"{level: Metadata, userGroups: ['*']}",
		"{level: Metadata, namespaces: ['*']}",
		"{level: Metadata, resources: [{group: '*', resources: ['*']}]}",
		"{level: Metadata, nonResourceURLs: ['*']}",
	} {
		text := "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- " + rule
		read, err := policy.LoadPolicyFromBytes([]byte(text))
		if err != nil {
			panic(err)
		}
		evaluator := policy.NewPolicyRuleEvaluator(read)
		fmt.Print(rule, ":")
		for _, request := range requests {
			fmt.Print(" ", evaluator.EvaluatePolicyRule(request).Level)
		}
		fmt.Println()
	}
}
GO
said="$(cd "$folder" && go mod tidy 2> /dev/null && go run .)"
expected="{level: Metadata}: Metadata Metadata
{level: Metadata, verbs: ['*']}: None None
{level: Metadata, users: ['*']}: None None
{level: Metadata, userGroups: ['*']}: None None
{level: Metadata, namespaces: ['*']}: None None
{level: Metadata, resources: [{group: '*', resources: ['*']}]}: Metadata None
{level: Metadata, nonResourceURLs: ['*']}: None Metadata"
if [ "$said" != "$expected" ]; then
  printf 'it has changed:\n%s\n' "$said"
  exit 1
fi
printf '%s\n' "$said"
