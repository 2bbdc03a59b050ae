//! Who acts as a service account is guarded as in person; the account itself, and who holds nothing, are not.

use kube::Api;
use kube::api::PostParams;
use lapse_crds::{AccessRequest, RequestPhase};
use lapse_e2e::plane::{InstallOptions, eventually};
use serde_json::json;

use crate::guard::LASTING;
use crate::impersonation::{impersonating, with_token_from_secret};
use crate::rbac;
use crate::world::{SOON, World, refused};

const DISGUISED: &str = "may impersonate it";

/// A person who acts as a service account of the namespace is guarded as in person; the account itself,
/// with its token, is not.
#[tokio::test]
async fn nor_by_a_service_account_that_is_impersonated() {
    let world = World::shared("guarded-as").await;
    world.apply(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "bot", "namespace": world.ns}})).await;
    world.standing_admin("bot", &rbac::account(&world.ns, "bot")).await;
    let bot = world.lapse.plane().service_account(&world.ns, "bot").await.unwrap();
    // What the account could do would otherwise refuse the role.
    let edit = json!([{"kind": "ClusterRole", "name": "edit"}]);
    let here = json!({"roles": edit, "namespaces": {"names": [world.ns]}, "allowEscalation": true});
    world.policy(json!({"targets": [{"kubernetes": here}]})).await;
    world.granted("fix", json!({})).await;
    let (binding, _) = world.ways_to_stay().swap_remove(0);
    world.tries(&bot.client, &binding).await.unwrap();
    let name = format!("system:serviceaccount:{}:bot", world.ns);
    let disguised = impersonating(&world.alice, &name).await;
    // `edit` allows the impersonation.
    refused(world.tries(&disguised, &binding).await, DISGUISED);
    world.tries(&bot.client, &binding).await.unwrap();
}

/// GitOps applies by impersonation (Flux by `spec.serviceAccountName`, Argo CD by sync impersonation), so who comes as
/// an account without its credential is nobody's holder, unless what is held lets its holder do that.
#[tokio::test]
async fn who_holds_nothing_is_not_refused() {
    let world = World::own("tenants", InstallOptions::default()).await;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "tenant", "namespace": world.ns}});
    world.apply(account).await;
    world.bind("tenant-admin", "admin", &rbac::account(&world.ns, "tenant")).await;
    let name = format!("system:serviceaccount:{}:tenant", world.ns);
    let reconciler = impersonating(&world.admin, &name).await;
    let app = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "app", "namespace": world.ns},
        "roleRef": rbac::cluster_role("view"), "subjects": [rbac::account(&world.ns, "default")],
    });
    let view = json!({"kubernetes": {"role": {"kind": "ClusterRole", "name": "view"}}});
    world.ask("look", json!({"target": view})).await;
    world.approve(&world.bob, "look").await.unwrap();
    world.phase("look", RequestPhase::Active).await;
    world.tries(&reconciler, &app).await.unwrap();

    let edit = json!([{"kind": "ClusterRole", "name": "edit"}]);
    let here = json!({"roles": edit, "namespaces": {"names": [world.ns]}, "allowEscalation": true});
    world.policy(json!({"targets": [{"kubernetes": here}]})).await;
    world.granted("fix", json!({})).await;
    refused(world.tries(&reconciler, &app).await, DISGUISED);
    let trusted = format!("guard.trustedReconcilers[0]={}:tenant", world.ns);
    world.lapse.upgrade(&[&trusted]).await.unwrap();
    eventually("the account to be trusted", SOON, async || {
        Ok(world.tries(&reconciler, &app).await.ok())
    })
    .await
    .unwrap();
    // That says nothing about who holds the right.
    let (binding, _) = world.ways_to_stay().swap_remove(0);
    world.standing_admin("alice", &rbac::user(&world.alice.name)).await;
    refused(world.tries(&world.alice.client, &binding).await, LASTING);
}

/// It has no credential id, as an impersonator has none, and is told from one by the UID of its account.
#[tokio::test]
async fn who_comes_with_a_token_from_a_secret_is_nobody_in_disguise() {
    let world = World::shared("guarded-secret").await;
    let old = with_token_from_secret(&world, "old").await;
    world.standing_admin("old", &rbac::account(&world.ns, "old")).await;
    let edit = json!([{"kind": "ClusterRole", "name": "edit"}]);
    let here = json!({"roles": edit, "namespaces": {"names": [world.ns]}, "allowEscalation": true});
    world.policy(json!({"targets": [{"kubernetes": here}]})).await;
    world.granted("fix", json!({})).await;
    let (binding, _) = world.ways_to_stay().swap_remove(0);
    let name = format!("system:serviceaccount:{}:old", world.ns);
    refused(world.tries(&impersonating(&world.alice, &name).await, &binding).await, DISGUISED);
    world.tries(&old, &binding).await.unwrap();
}

/// Somebody gave the controller's own account a right. It goes on for everybody, and takes that right back as any other.
#[tokio::test]
async fn a_right_of_the_controller_itself_keeps_nobody_from_theirs() {
    let world = World::own("guarded-lapse", InstallOptions::default()).await;
    let account = rbac::account("lapse-system", "lapse-controller");
    let developers = json!({"kind": "Group", "name": format!("{}-developers", world.ns)});
    world.policy(json!({"requesters": [developers, account]})).await;
    world.bind("controller-asks", "lapse:requester", &account).await;
    let controller =
        world.lapse.plane().service_account("lapse-system", "lapse-controller").await.unwrap();
    let view = json!({"kubernetes": {"role": {"kind": "ClusterRole", "name": "view"}}});
    let requests: Api<AccessRequest> = world.api(&controller);
    let own = world.request("own", json!({"target": view}));
    requests.create(&PostParams::default(), &own).await.unwrap();
    world.approve(&world.bob, "own").await.unwrap();
    world.phase("own", RequestPhase::Active).await;

    world.granted("fix", json!({})).await;
    for name in ["fix", "own"] {
        world.decide(&world.bob, name, json!({"verdict": "Deny"})).await.unwrap();
        world.phase(name, RequestPhase::Ended).await;
    }
    world.locked_out(&world.alice).await;
}
