#!/usr/bin/env bash
# Kubernetes 1.36.3: a namespace is cluster-scoped, and yet a request for one counts as a request in it. A RoleBinding in
# `shop` lets its holder read, change and delete the namespace `shop` itself, if the role has `namespaces` among its resources,
# as one with `resources: ["*"]` has. The same binding says no to any other cluster-scoped object, and to a list of namespaces.
#
# Expected: "a RoleBinding grants permissions within a specific namespace", so nothing on an object that lies in none, as
# is so for nodes, volumes and cluster roles.
#
# So who administers all in a namespace by `*` can also delete the namespace, change its labels, and by them what network
# policies, namespace selectors and pod security make of it. (`admin` and `edit`, which name their resources, only read it.)
#
# Why: the path of a namespace, /api/v1/namespaces/shop, begins like that of what lies in it, and its name is taken for both.
#
# What to do: name the resources of a role that is bound in namespaces. To find out what a role is good for there, ask for
# `namespaces` with the namespace's own name, too.
#
# Seen on 2026-12-01: what is below as `expected`.
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
	k8s.io/kubernetes v1.36.3
)

MOD
# k8s.io/kubernetes requires its staging modules at v0.0.0.
for module in api apiextensions-apiserver apimachinery apiserver cli-runtime client-go cloud-provider cluster-bootstrap \
  code-generator component-base component-helpers controller-manager cri-api cri-client cri-streaming csi-translation-lib \
  dynamic-resource-allocation endpointslice externaljwt kms kube-aggregator kube-controller-manager kube-proxy \
  kube-scheduler kubectl kubelet metrics mount-utils pod-security-admission sample-apiserver streaming; do
  echo "replace k8s.io/$module => k8s.io/$module v0.36.3"
done >> "$folder/go.mod"
cat > "$folder/main.go" <<'GO'
package main

import (
	"context"
	"fmt"
	"net/http"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/filters"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/kubernetes/pkg/registry/rbac/validation"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac"
)

func main() {
	meta := metav1.ObjectMeta{Namespace: "shop", Name: "all"}
	role := &rbacv1.Role{
		ObjectMeta: meta,
		Rules:      []rbacv1.PolicyRule{{Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}}},
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: meta,
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "alice"}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "all"},
	}
	_, roles := validation.NewTestRuleResolver([]*rbacv1.Role{role}, []*rbacv1.RoleBinding{binding}, nil, nil)
	authorizes := rbac.New(roles, roles, roles, roles)
	paths := request.RequestInfoFactory{
		APIPrefixes:          sets.NewString("api", "apis"),
		GrouplessAPIPrefixes: sets.NewString("api"),
	}
	for _, asked := range [][2]string{
		{"DELETE", "/api/v1/namespaces/shop"},
		{"PATCH", "/api/v1/namespaces/shop"},
		{"DELETE", "/api/v1/namespaces/other"},
		{"GET", "/api/v1/namespaces"},
		{"GET", "/api/v1/nodes/shop"},
		{"GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles/shop"},
		{"GET", "/api/v1/namespaces/shop/pods/web"},
	} {
		sent, err := http.NewRequest(asked[0], asked[1], nil)
		if err != nil {
			panic(err)
		}
		info, err := paths.NewRequestInfo(sent)
		if err != nil {
			panic(err)
		}
		ctx := request.WithUser(request.WithRequestInfo(context.Background(), info), &user.DefaultInfo{Name: "alice"})
		attributes, err := filters.GetAuthorizerAttributes(ctx)
		if err != nil {
			panic(err)
		}
		decision, _, _ := authorizes.Authorize(ctx, attributes)
		of := fmt.Sprintf("%q of %q in namespace %q", attributes.GetName(), attributes.GetResource(), attributes.GetNamespace())
		fmt.Printf("%s %s is %s: allowed %v\n", asked[0], asked[1], of, decision == authorizer.DecisionAllow)
	}
}
GO
said="$(cd "$folder" && go mod tidy 2> /dev/null && go run .)"
expected='DELETE /api/v1/namespaces/shop is "shop" of "namespaces" in namespace "shop": allowed true
PATCH /api/v1/namespaces/shop is "shop" of "namespaces" in namespace "shop": allowed true
DELETE /api/v1/namespaces/other is "other" of "namespaces" in namespace "other": allowed false
GET /api/v1/namespaces is "" of "namespaces" in namespace "": allowed false
GET /api/v1/nodes/shop is "shop" of "nodes" in namespace "": allowed false
GET /apis/rbac.authorization.k8s.io/v1/clusterroles/shop is "shop" of "clusterroles" in namespace "": allowed false
GET /api/v1/namespaces/shop/pods/web is "web" of "pods" in namespace "shop": allowed true'
if [ "$said" != "$expected" ]; then
  printf 'it has changed:\n%s\n' "$said"
  exit 1
fi
printf '%s\n' "$said"
