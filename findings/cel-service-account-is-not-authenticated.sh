#!/usr/bin/env bash
# Kubernetes 1.36.3, CEL in admission policies: `authorizer.serviceAccount(NAMESPACE, NAME)` asks for a service account that
# is in `system:serviceaccounts` and `system:serviceaccounts:NAMESPACE`, and not in `system:authenticated`, in which every
# request of the same account is. What is bound to that group, the policy does not see: `check` says no, and the account can.
#
# Expected: the answer that the account gets. The documentation says "an Authorizer for the service account".
#
# So a policy that wants an account to have a right before a pod may run as it refuses accounts that have it. It shows only
# where something is bound to `system:authenticated`, as is so for what all may ask of the API server about themselves.
#
# Why: the groups of an account are what its token says; `system:authenticated` comes from the chain of authenticators, which
# nothing that is only asked about goes through. (`kubectl auth can-i --as=system:serviceaccount:…` does: impersonation adds
# the group.)
#
# What to do: bind what a policy asks about to `system:serviceaccounts`, besides or instead.
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
	k8s.io/apiserver v0.36.3
)
MOD
cat > "$folder/main.go" <<'GO'
package main

import (
	"context"
	"fmt"
	"net/http"

	"github.com/google/cel-go/cel"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/group"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/cel/library"
)

// What is bound to system:authenticated.
type bound struct{}

func (bound) Authorize(_ context.Context, asked authorizer.Attributes) (authorizer.Decision, string, error) {
	for _, group := range asked.GetUser().GetGroups() {
		if group == user.AllAuthenticated {
			return authorizer.DecisionAllow, "", nil
		}
	}
	return authorizer.DecisionNoOpinion, "", nil
}

func main() {
	// A request with a token of the account, as the API server takes it in.
	account := &serviceaccount.ServiceAccountInfo{Namespace: "shop", Name: "web"}
	token := authenticator.RequestFunc(func(*http.Request) (*authenticator.Response, bool, error) {
		return &authenticator.Response{User: account.UserInfo()}, true, nil
	})
	response, _, err := group.NewAuthenticatedGroupAdder(token).AuthenticateRequest(&http.Request{})
	if err != nil {
		panic(err)
	}
	env, err := cel.NewEnv(library.Authz(), cel.Variable("authorizer", library.AuthorizerType))
	if err != nil {
		panic(err)
	}
	for _, expression := range []string{
		"authorizer.group('').resource('pods').check('list').allowed()",
		"authorizer.serviceAccount('shop', 'web').group('').resource('pods').check('list').allowed()",
	} {
		ast, issues := env.Compile(expression)
		if issues.Err() != nil {
			panic(issues.Err())
		}
		program, err := env.Program(ast)
		if err != nil {
			panic(err)
		}
		value, _, err := program.Eval(map[string]any{"authorizer": library.NewAuthorizerVal(response.User, bound{})})
		if err != nil {
			panic(err)
		}
		fmt.Printf("%s, asked by %s: %v\n", expression, response.User.GetName(), value)
	}
}
GO
said="$(cd "$folder" && go mod tidy 2> /dev/null && go run .)"
account=system:serviceaccount:shop:web
expected="authorizer.group('').resource('pods').check('list').allowed(), asked by $account: true
authorizer.serviceAccount('shop', 'web').group('').resource('pods').check('list').allowed(), asked by $account: false"
if [ "$said" != "$expected" ]; then
  printf 'it has changed:\n%s\n' "$said"
  exit 1
fi
printf '%s\n' "$said"
