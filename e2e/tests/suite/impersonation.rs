//! People who may impersonate service accounts, as the roles `edit` and `admin` allow, in the name of those
//! that Lapse and Kubernetes trust. A name alone is worth nothing.

use std::collections::BTreeMap;

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding;
use k8s_openapi::api::authentication::v1::{SelfSubjectReview, UserInfo};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt as _};
use lapse_crds::{AccessDecision, AccessRequest, Grant, GrantPhase, RequestPhase};
use lapse_e2e::plane::{InstallOptions, User, eventually};
use serde_json::{Value, json};

use crate::rbac;
use crate::world::{SOON, World, refused, typed};

const CONTROLLER: &str = "system:serviceaccount:lapse-system:lapse-controller";
const COLLECTOR: &str = "system:serviceaccount:kube-system:generic-garbage-collector";
const NAMESPACES: &str = "system:serviceaccount:kube-system:namespace-controller";
const CREDENTIAL: &str = "authentication.kubernetes.io/credential-id";

/// Somebody in the name of somebody else.
pub(crate) async fn impersonating(who: &User, name: &str) -> Client {
    let kubeconfig = Kubeconfig::read_from(&who.kubeconfig).unwrap();
    let options = KubeConfigOptions::default();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
    config.auth_info.impersonate = Some(name.to_owned());
    Client::try_from(config).unwrap()
}

/// mallory may act as every service account of the cluster, and as nobody else.
async fn may_impersonate_accounts(world: &World) {
    let name = format!("{}-impersonator", world.ns);
    let rule =
        json!({"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"]});
    world.cluster_role(&name, json!([rule])).await;
    world.bind_everywhere(&name, &name, &rbac::user(&world.mallory.name)).await;
}

/// A control plane without the guard of elevated people, which keeps these from some of it, too.
async fn unguarded(ns: &str) -> World {
    let world = World::own(ns, InstallOptions::default()).await;
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(world.admin.client.clone());
    for name in ["lapse-guard", "lapse-guard-installation"] {
        bindings.delete(name, &DeleteParams::default()).await.unwrap();
    }
    may_impersonate_accounts(&world).await;
    world
}

/// Waits until a policy refuses, which another may have done before.
async fn refused_by<T: std::fmt::Debug>(policy: &str, again: impl AsyncFn() -> kube::Result<T>) {
    let words = format!("'{policy}'");
    eventually(&format!("{policy} to refuse"), SOON, async || {
        let error = format!("{:#}", again().await.unwrap_err());
        Ok(error.contains(&words).then_some(()))
    })
    .await
    .unwrap();
}

/// What the API server says who somebody is.
async fn user(client: &Client) -> UserInfo {
    let reviews: Api<SelfSubjectReview> = Api::all(client.clone());
    let review = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await;
    review.unwrap().status.unwrap().user_info.unwrap()
}

/// The same: the name, and the extra that tells credentials.
async fn credentials(client: &Client) -> (String, Vec<String>) {
    let user = user(client).await;
    let extra: BTreeMap<String, Vec<String>> = user.extra.unwrap_or_default();
    (user.username.unwrap(), extra.get(CREDENTIAL).cloned().unwrap_or_default())
}

/// Who comes with a token that lies in a Secret.
pub(crate) async fn with_token_from_secret(world: &World, account: &str) -> Client {
    let accounts: Api<ServiceAccount> = world.api(&world.admin);
    let made: ServiceAccount = typed(json!({"metadata": {"name": account}}));
    accounts.create(&PostParams::default(), &made).await.unwrap();
    let secrets: Api<Secret> = world.api(&world.admin);
    let name = format!("{account}-token");
    let secret: Secret = typed(json!({
        "metadata": {"name": name, "annotations": {"kubernetes.io/service-account.name": account}},
        "type": "kubernetes.io/service-account-token",
    }));
    secrets.create(&PostParams::default(), &secret).await.unwrap();
    let token = eventually("the token in the Secret", SOON, async || {
        let data = secrets.get(&name).await?.data.unwrap_or_default();
        Ok(data.get("token").map(|token| String::from_utf8(token.0.clone()).unwrap()))
    })
    .await
    .unwrap();
    let kubeconfig = Kubeconfig::read_from(&world.alice.kubeconfig).unwrap();
    let options = KubeConfigOptions::default();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
    config.auth_info = AuthInfo { token: Some(token.into()), ..AuthInfo::default() };
    Client::try_from(config).unwrap()
}

/// What the policies of the chart rely on.
#[tokio::test]
async fn tokens_and_certificates_have_an_id_and_an_impersonator_has_none() {
    let world = World::shared("imp-facts").await;
    may_impersonate_accounts(&world).await;
    let account = world.lapse.plane().service_account("lapse-system", "lapse-controller").await;
    let (name, ids) = credentials(&account.unwrap().client).await;
    assert_eq!(name, CONTROLLER);
    assert!(ids.len() == 1 && ids[0].starts_with("JTI="), "{ids:?}");
    let (_, ids) = credentials(&world.alice.client).await;
    assert!(ids.len() == 1 && ids[0].starts_with("X509SHA256="), "{ids:?}");
    let (name, ids) = credentials(&impersonating(&world.mallory, CONTROLLER).await).await;
    assert_eq!((name.as_str(), ids), (CONTROLLER, vec![]));
}

/// What lay in a Secret has no id, and is told from an impersonator by the UID, which that one lacks.
#[tokio::test]
async fn a_token_from_a_secret_shows_the_uid_of_its_account_and_an_impersonator_none() {
    let world = World::shared("imp-secret").await;
    may_impersonate_accounts(&world).await;
    let own = user(&with_token_from_secret(&world, "old").await).await;
    let accounts: Api<ServiceAccount> = world.api(&world.admin);
    assert_eq!(own.uid, accounts.get("old").await.unwrap().uid());
    assert!(!own.extra.unwrap_or_default().contains_key(CREDENTIAL));
    let name = format!("system:serviceaccount:{}:old", world.ns);
    assert_eq!(own.username.as_ref(), Some(&name));
    let disguised = user(&impersonating(&world.mallory, &name).await).await;
    assert_eq!(disguised.username, Some(name.clone()));
    assert_eq!(disguised.uid.unwrap_or_default(), "");
    // To pass a UID along takes a right of its own.
    let versions = ["get", "--raw", "/version", "--as", &name, "--as-uid", "1"];
    let refused = world.lapse.plane().kubectl(&world.mallory, &versions).await.unwrap();
    assert!(!refused.success() && refused.stderr.contains("uids"), "{refused:?}");
}

fn forbidden<T: std::fmt::Debug>(result: kube::Result<T>, words: &str) {
    refused(result.map_err(Into::into), words);
}

/// In the controller's name: RBAC lets her do all that the controller may, and nothing of it helps her.
#[tokio::test]
async fn nobody_becomes_the_controller_by_impersonation() {
    let world = unguarded("imp-controller").await;
    world.granted("held", json!({})).await;
    let held = world.grant("held").await;
    world.ask("asked", json!({})).await;
    world.phase("asked", RequestPhase::Pending).await;
    world.denied("denied").await;
    let client = impersonating(&world.mallory, CONTROLLER).await;
    let (post, params) = (PostParams::default(), PatchParams::default());

    let grants: Api<Grant> = Api::all(client.clone());
    let mut forged = Grant::new("forged", held.spec.clone());
    forged.spec.subject.name.clone_from(&world.mallory.name);
    refused_by("lapse-grants", async || grants.create(&post, &forged).await).await;
    let freed = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    forbidden(grants.patch(&held.name_any(), &params, &freed).await, "lapse-grants");
    let over = Patch::Merge(json!({"status": {"phase": "Ended"}}));
    forbidden(grants.patch_status(&held.name_any(), &params, &over).await, "lapse-status");

    let requests: Api<AccessRequest> = Api::namespaced(client.clone(), &world.ns);
    let approved = json!({"status": {
        "phase": "Active", "grant": {"name": held.name_any(), "uid": held.uid()},
    }});
    let approved = requests.patch_status("asked", &params, &Patch::Merge(approved)).await;
    forbidden(approved, "lapse-status");

    let bindings: Api<RoleBinding> = Api::namespaced(client.clone(), &world.ns);
    let own: RoleBinding = typed(json!({
        "metadata": {
            "name": "lapse:mine",
            "labels": {
                "app.kubernetes.io/managed-by": "lapse", "lapse.dev/grant": held.name_any(),
            },
            "annotations": {"lapse.dev/grant-uid": held.uid()},
        },
        "roleRef": rbac::cluster_role("edit"), "subjects": [rbac::user(&world.mallory.name)],
    }));
    forbidden(bindings.create(&post, &own).await, "lapse-rbac-reserved");

    let decisions: Api<AccessDecision> = Api::namespaced(client, &world.ns);
    let deny = decision_about(&world, "denied").await;
    forbidden(decisions.delete(&deny, &DeleteParams::default()).await, "lapse-decisions-kept");

    assert!(!world.can_write(&world.mallory).await);
    assert_eq!(world.status("asked").await.phase, RequestPhase::Pending);
    assert_eq!(world.grant("held").await.status.unwrap().phase, GrantPhase::Active);
    let audited = attempts(&world, &world.mallory.name, CONTROLLER);
    assert!(audited >= 6, "the audit log shows who it was: {audited}");
}

async fn decision_about(world: &World, request: &str) -> String {
    let decisions: Api<AccessDecision> = world.api(&world.admin);
    let about = ListParams::default().fields(&format!("spec.request.name={request}"));
    decisions.list(&about).await.unwrap().items[0].name_any()
}

/// How many refused writes of somebody in another's name the audit log tells.
fn attempts(world: &World, who: &str, as_whom: &str) -> usize {
    let log = std::fs::read_to_string(world.lapse.plane().audit_log()).unwrap();
    let is_it = |event: &Value| {
        event["user"]["username"] == who
            && event["impersonatedUser"]["username"] == as_whom
            && event["responseStatus"]["code"].as_u64().is_some_and(|code| code >= 400)
    };
    log.lines().filter_map(|line| serde_json::from_str(line).ok()).filter(is_it).count()
}

/// In the name of the controllers of Kubernetes that end the lives of objects, whom the policies let take
/// finalizers and decisions away. They may do so everywhere.
#[tokio::test]
async fn nobody_becomes_a_controller_of_kubernetes_by_impersonation() {
    let world = unguarded("imp-housekeeping").await;
    world.granted("held", json!({})).await;
    let held = world.grant("held").await;
    world.decide(&world.bob, "held", json!({"verdict": "Approve"})).await.ok();
    let decision = decision_about(&world, "held").await;
    for name in [COLLECTOR, NAMESPACES] {
        let client = impersonating(&world.mallory, name).await;
        let decisions: Api<AccessDecision> = Api::namespaced(client.clone(), &world.ns);
        refused_by("lapse-decisions-kept", async || {
            decisions.delete(&decision, &DeleteParams::default()).await
        })
        .await;
        let params = DeleteParams::default();
        let all = decisions.delete_collection(&params, &ListParams::default()).await;
        assert!(all.is_err(), "{all:?}");
    }
    let client = impersonating(&world.mallory, COLLECTOR).await;
    let params = PatchParams::default();
    let kept = Patch::Merge(json!({"metadata": {"finalizers": ["example.com/kept"]}}));
    let requests: Api<AccessRequest> = Api::namespaced(client.clone(), &world.ns);
    forbidden(requests.patch("held", &params, &kept).await, "lapse-ownership");
    let grants: Api<Grant> = Api::all(client.clone());
    let freed = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    forbidden(grants.patch(&held.name_any(), &params, &freed).await, "lapse-grants");
    let name = &held.status.as_ref().unwrap().bindings[0].name;
    let bindings: Api<RoleBinding> = Api::namespaced(client, &world.ns);
    let marked = Patch::Merge(json!({"metadata": {"ownerReferences": [{
        "apiVersion": "v1", "kind": "ConfigMap", "name": "none", "uid": "0",
    }]}}));
    forbidden(bindings.patch(name, &params, &marked).await, "lapse-rbac-reserved");
    let decisions: Api<AccessDecision> = world.api(&world.admin);
    assert!(decisions.get_opt(&decision).await.unwrap().is_some());
    assert!(world.can_write(&world.alice).await);
}
