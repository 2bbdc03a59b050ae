//! The holder of a right does not make it last, whatever else allows it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use lapse_crds::{AccessRequest, EndReason, Grant, JitPolicy, RequestPhase};
use lapse_e2e::plane::eventually;
use serde_json::{Value, json};

use crate::impersonation::impersonating;
use crate::rbac;
use crate::world::{SOON, World, refused, typed};

pub(crate) const LASTING: &str = "you cannot make it permanent";
const LAPSE: &str = "you cannot change Lapse itself";

/// An object, and the API to make it with.
fn made_by(client: &Client, object: &Value) -> (Api<DynamicObject>, DynamicObject) {
    let object: DynamicObject = typed(object.clone());
    let types = object.types.clone().unwrap();
    let (group, version) = types.api_version.rsplit_once('/').unwrap_or(("", &types.api_version));
    let kind = GroupVersionKind::gvk(group, version, &types.kind);
    let resource = kube::api::ApiResource::from_gvk(&kind);
    let api = match &object.metadata.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    (api, object)
}

impl World {
    /// Tries to make an object; nothing is stored if it is let through.
    pub(crate) async fn tries(&self, client: &Client, object: &Value) -> anyhow::Result<()> {
        let (api, object) = made_by(client, object);
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        Ok(api.create(&dry, &object).await.map(|_| ())?)
    }

    /// What makes a right last, each in its way, with what refuses it.
    pub(crate) fn ways_to_stay(&self) -> Vec<(Value, &'static str)> {
        let ns = &self.ns;
        let edit = rbac::cluster_role("edit");
        let me = json!([rbac::user(&self.alice.name)]);
        let named = |name: &str| json!({"name": name, "namespace": ns});
        let v1 = "rbac.authorization.k8s.io/v1";
        let lapse = json!({"name": "stay", "namespace": "lapse-system"});
        vec![
            (
                json!({"apiVersion": v1, "kind": "RoleBinding", "metadata": named("stay"), "roleRef": edit, "subjects": me}),
                LASTING,
            ),
            (
                json!({"apiVersion": v1, "kind": "ClusterRoleBinding", "metadata": {"name": "stay"}, "roleRef": edit, "subjects": me}),
                LASTING,
            ),
            (
                json!({"apiVersion": v1, "kind": "Role", "metadata": named("stay"), "rules": []}),
                LASTING,
            ),
            (
                json!({"apiVersion": v1, "kind": "ClusterRole", "metadata": {"name": "stay"}, "rules": []}),
                LASTING,
            ),
            (
                json!({
                    "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
                    "metadata": {"name": "stay", "namespace": ns, "annotations": {"kubernetes.io/service-account.name": "default"}},
                }),
                LASTING,
            ),
            (
                json!({
                    "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": "stay"},
                    "spec": {"request": signing_request(), "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"]},
                }),
                LASTING,
            ),
            (
                json!({
                    "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
                    "metadata": {"name": "stay"}, "webhooks": [],
                }),
                LASTING,
            ),
            (
                json!({
                    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "stays.example.com"},
                    "spec": {"group": "example.com", "scope": "Cluster", "names": {"plural": "stays", "kind": "Stay"}, "versions": [
                        {"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}},
                    ]},
                }),
                LASTING,
            ),
            (
                json!({
                    "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": "v1.stay.example.com"},
                    "spec": {"group": "stay.example.com", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1, "insecureSkipTLSVerify": true,
                             "service": {"name": "stay", "namespace": "default"}},
                }),
                LASTING,
            ),
            (
                json!({
                    "apiVersion": "lapse.dev/v1alpha1", "kind": "JitPolicy", "metadata": {"name": "stay"},
                    "spec": {"requesters": [], "targets": []},
                }),
                LASTING,
            ),
            (json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": lapse}), LAPSE),
            (
                json!({
                    "apiVersion": "v1", "kind": "Pod", "metadata": lapse,
                    "spec": {"serviceAccountName": "lapse-webhook", "containers": [{"name": "c", "image": "i"}]},
                }),
                LAPSE,
            ),
        ]
    }
}

/// A request for a certificate (PKCS #10); what it says does not matter here.
fn signing_request() -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let request = rcgen::CertificateParams::default().serialize_request(&key).unwrap();
    BASE64.encode(request.pem().unwrap())
}

/// The user has every permission there is, and is no suspect for that: only while she holds a right of
/// Lapse's are the same things refused, and they are possible again after its end.
#[tokio::test]
async fn who_holds_a_right_does_not_make_it_last() {
    let world = World::shared("guarded").await;
    world.standing_admin("alice", &rbac::user(&world.alice.name)).await;
    world.standing_admin("bob", &rbac::user(&world.bob.name)).await;
    let alice = &world.alice.client;
    let ways = world.ways_to_stay();
    for (object, _) in &ways {
        world.tries(alice, object).await.unwrap();
    }
    world.ask("fix", json!({})).await;
    world.approve(&world.bob, "fix").await.unwrap();
    world.phase("fix", RequestPhase::Active).await;
    world.marked(&world.alice, true).await;

    for (object, words) in &ways {
        refused(world.tries(alice, object).await, words);
        world.tries(&world.bob.client, object).await.unwrap();
    }
    let accounts: Api<ServiceAccount> = world.api(&world.alice);
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let token: TokenRequest = typed(json!({"spec": {"audiences": []}}));
    refused(
        accounts.create_token_request("default", &dry, &token).await.map_err(Into::into),
        LASTING,
    );
    // What is there already is not changed either, and Lapse is not taken down.
    let policies: Api<JitPolicy> = Api::all(alice.clone());
    let params = PatchParams { dry_run: true, ..PatchParams::default() };
    let changed = async |name: &str, spec: Value| {
        let patch = json!({"spec": spec});
        let changed = policies.patch(name, &params, &Patch::Merge(&patch)).await;
        changed.map(|_| ()).map_err(anyhow::Error::from)
    };
    refused(changed(&world.ns, json!({"duration": {"max": "2h"}})).await, LASTING);
    refused(
        changed(&world.ns, json!({"mode": "Disabled", "reason": null, "duration": {"max": "2h"}}))
            .await,
        LASTING,
    );
    // What Lapse says of it is no way either, and refused to everybody.
    let said = Patch::Merge(json!({"status": {"activeGrants": 7}}));
    let said = policies.patch_status(&world.ns, &params, &said).await;
    refused(said.map_err(Into::into), "written by Lapse alone");
    let delete = async |args: &[&str]| world.kubectl(&world.alice, args, None).await;
    refused(delete(&["delete", "crd", "grants.lapse.dev"]).await, LASTING);
    refused(delete(&["delete", "mutatingwebhookconfiguration", "lapse"]).await, LASTING);
    let exec = "/api/v1/namespaces/lapse-system/pods/lapse-webhook/exec?command=sh&stdout=true";
    refused(delete(&["create", "--raw", exec, "-f", "-"]).await, LAPSE);
    // Nobody is kept from taking rights away.
    changed(&world.ns, json!({"mode": "Disabled"})).await.unwrap();
    let dry_run = DeleteParams { dry_run: true, ..DeleteParams::default() };
    let gone = policies.delete(&world.ns, &dry_run).await;
    refused(gone.map_err(Into::into), LASTING);
    let grants: Api<Grant> = Api::all(alice.clone());
    let grant = world.grant("fix").await.metadata.name.unwrap();
    grants.delete(&grant, &dry_run).await.unwrap();
    let everybody = json!([{"kind": "Group", "name": "system:authenticated"}]);
    let ban = json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "JitPolicy", "metadata": {"name": "guarded-ban"},
        "spec": {"effect": "Deny", "requesters": everybody, "targets": [{"all": true}]},
    });
    world.tries(alice, &ban).await.unwrap();
    world.apply(json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "JitPolicy", "metadata": {"name": "guarded-banned"},
        "spec": {"effect": "Deny", "requesters": [{"kind": "User", "name": "nobody"}], "targets": [{"all": true}]},
    })).await;
    refused(changed("guarded-banned", json!({"mode": "Disabled"})).await, LASTING);
    let gone = policies.delete("guarded-banned", &dry_run).await;
    refused(gone.map_err(Into::into), LASTING);
    // Everything else goes on.
    assert!(world.can_write(&world.alice).await);
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "plain", "namespace": world.ns}});
    world.tries(alice, &secret).await.unwrap();
    world.ask("more", json!({})).await;
    let requests: Api<AccessRequest> = world.api(&world.alice);
    requests.delete("more", &DeleteParams::default()).await.unwrap();

    world.decide(&world.alice, "fix", json!({"verdict": "End"})).await.unwrap();
    let status = world.phase("fix", RequestPhase::Ended).await;
    assert_eq!(status.end_reason, Some(EndReason::EndedByRequester));
    world.marked(&world.alice, false).await;
    for (object, _) in &ways {
        world.tries(alice, object).await.unwrap();
    }
}

/// Whose names are alike in many letters, or in none that a label could hold, are two people.
#[tokio::test]
async fn nobody_is_taken_for_another_of_a_similar_name() {
    let world = World::shared("namesakes").await;
    let role = "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_PRODUCTION-CLUSTER-ADMIN_0123456789abcdef";
    let issuer = format!("https://login.example.com/{}", "realms/".repeat(9));
    let pairs = [
        ("\u{738b}\u{4f1f}".to_owned(), "\u{674e}\u{5a1c}".to_owned()),
        ("oidc:m\u{fc}ller".to_owned(), "oidc:m\u{f6}ller".to_owned()),
        (format!("{role}/ana@example.com"), format!("{role}/bob@example.com")),
        (format!("{issuer}#0000000a"), format!("{issuer}#0000000b")),
    ];
    let (binding, _) = world.ways_to_stay().swap_remove(0);
    let group = format!("{}-developers", world.ns);
    for (number, (holder, other)) in pairs.iter().enumerate() {
        let [holder, other] = [holder, other]
            .map(async |name| world.lapse.plane().user(name, &[&group]).await.unwrap());
        let (holder, other) = tokio::join!(holder, other);
        for (who, user) in [("holder", &holder), ("other", &other)] {
            world.standing_admin(&format!("{who}-{number}"), &rbac::user(&user.name)).await;
        }
        let name = format!("fix-{number}");
        let requests: Api<AccessRequest> = world.api(&holder);
        requests.create(&PostParams::default(), &world.request(&name, json!({}))).await.unwrap();
        world.approve(&world.bob, &name).await.unwrap();
        world.phase(&name, RequestPhase::Active).await;
        world.marked(&holder, true).await;
        refused(world.tries(&holder.client, &binding).await, LASTING);
        world.tries(&other.client, &binding).await.unwrap();
    }
}

#[tokio::test]
async fn a_policy_may_have_it_recorded_or_let_it_be() {
    for (mode, is_recorded) in [("Audit", true), ("Off", false)] {
        let world = World::shared(&format!("guard-{}", mode.to_lowercase())).await;
        world.standing_admin("alice", &rbac::user(&world.alice.name)).await;
        world.policy(json!({"session": {"guard": mode}})).await;
        world.granted("fix", json!({})).await;
        world.marked(&world.alice, true).await;
        let (binding, _) = world.ways_to_stay().swap_remove(0);
        world.tries(&world.alice.client, &binding).await.unwrap();
        let record = world.audited("rolebindings", "stay").await;
        assert_eq!(record.to_string().contains(LASTING), is_recorded, "{mode}: {record}");
        // Its writes are told apart all the same.
        assert!(record["session.lapse.dev/grant"].is_string(), "{mode}: {record}");
    }
}

/// The audit log of the API server says of each write by which request it was done. Those without a right
/// have nothing noted about them.
#[tokio::test]
async fn what_the_holder_of_a_right_writes_is_recorded_with_its_request() {
    let world = World::shared("recorded").await;
    world.standing_admin("mallory", &rbac::user(&world.mallory.name)).await;
    world.granted("fix", json!({"ticket": "INC0012345"})).await;
    let grant = world.grant("fix").await.metadata.name.unwrap();
    let write = async |client: Client, name: &str| {
        let maps: Api<ConfigMap> = Api::namespaced(client, &world.ns);
        let map = typed(json!({"metadata": {"name": name}}));
        maps.create(&PostParams::default(), &map).await.unwrap();
    };
    write(world.alice.client.clone(), "by-alice").await;
    write(world.mallory.client.clone(), "by-mallory").await;
    let account = format!("system:serviceaccount:{}:default", world.ns);
    world.bind("default-edits", "edit", &rbac::account(&world.ns, "default")).await;
    write(impersonating(&world.alice, &account).await, "in-disguise").await;

    for name in ["by-alice", "in-disguise"] {
        let record = world.audited("configmaps", name).await;
        // Whoever holds a right in the whole cluster may be in disguise, too: another test may.
        let names = |record: &Value, what: &str, name: &str| {
            let all = record[what].as_str().unwrap_or_default();
            all.split(", ").any(|known| known == name)
        };
        assert!(names(&record, "session.lapse.dev/grant", &grant), "{record}");
        assert!(names(&record, "session.lapse.dev/request", "recorded/fix"), "{record}");
        assert!(names(&record, "session.lapse.dev/ticket", "INC0012345"), "{record}");
    }
    let record = world.audited("configmaps", "by-mallory").await;
    assert!(!record.to_string().contains("lapse"), "{record}");
}

impl World {
    /// The annotations of the audit record of an object's creation.
    async fn audited(&self, resource: &str, name: &str) -> Value {
        let log = self.lapse.plane().audit_log();
        let is_it = |event: &Value| {
            let of = &event["objectRef"];
            event["verb"] == "create"
                && event["stage"] == "ResponseComplete"
                && of["resource"] == resource
                && of["namespace"] == *self.ns
                && of["name"] == name
        };
        eventually(&format!("{resource} {name} in the audit log"), SOON, async || {
            let text = std::fs::read_to_string(&log)?;
            let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            Ok(events.filter(is_it).map(|mut event| event["annotations"].take()).next())
        })
        .await
        .unwrap()
    }
}

/// Who is an approver, and holds a right that would allow approving anything, says no and not yes.
#[tokio::test]
async fn nobody_approves_by_a_right_that_is_held() {
    let world = World::shared("by-right").await;
    let managers = json!([{"kind": "Group", "name": "by-right-managers"}]);
    let admin = json!([{"kind": "ClusterRole", "name": "cluster-admin"}]);
    let everything = json!({"roles": admin, "clusterWide": true, "allowEscalation": true});
    world
        .policy_named("by-right-ops", json!({
            "requesters": managers, "targets": [{"kubernetes": everything}], "approval": {"stages": []},
        }))
        .await;
    let requests: Api<AccessRequest> = world.api(&world.bob);
    let role = json!({"kind": "ClusterRole", "name": "cluster-admin"});
    let target = json!({"kubernetes": {"role": role, "clusterWide": true}});
    let fields = json!({"policy": "by-right-ops", "target": target});
    world.bind("managers-ask", "lapse:requester", &rbac::group("by-right-managers")).await;
    requests.create(&PostParams::default(), &world.request("ops", fields)).await.unwrap();
    world.phase("ops", RequestPhase::Active).await;

    world.ask("fix", json!({})).await;
    world.refuses_approval(&world.bob, "fix", "which also allows approving").await;
    world.ask("other", json!({})).await;
    world.decide(&world.bob, "other", json!({"verdict": "Deny"})).await.unwrap();
    world.decide(&world.bob, "ops", json!({"verdict": "End"})).await.unwrap();
    world.phase("ops", RequestPhase::Ended).await;
    // The webhook learns of the end a moment later.
    eventually("bob to be let approve", SOON, async || {
        Ok(world.approve(&world.bob, "fix").await.ok())
    })
    .await
    .unwrap();
}

/// Who takes the mark away, to be rid of the guard, is rid of the right.
#[tokio::test]
async fn without_the_mark_the_right_is_gone() {
    let world = World::shared("unmarked").await;
    world.granted("fix", json!({})).await;
    let marker = world.grant("fix").await.status.unwrap().marker.unwrap();
    let bindings: Api<RoleBinding> = Api::namespaced(world.admin.client.clone(), "lapse-system");
    bindings.delete(&marker.name, &DeleteParams::default()).await.unwrap();
    let status = world.phase("fix", RequestPhase::Ended).await;
    assert_eq!(status.end_reason, Some(EndReason::BindingDeleted));
    world.locked_out(&world.alice).await;
}
