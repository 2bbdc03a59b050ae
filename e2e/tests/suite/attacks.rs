//! Objects that did not pass admission, and bindings that are not what they seem.

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingAdmissionPolicyBinding, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client, Resource};
use lapse_crds::{ATTESTATION, AccessDecision, AccessRequest, EndReason, GrantPhase, RequestPhase};
use lapse_e2e::plane::{InstallOptions, eventually};
use lapse_engine::grant::{grant_name, object_name};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::rbac;
use crate::world::{SOON, World, typed};

/// Takes admission away, as a cluster administrator could by mistake.
async fn remove_all<K>(client: &Client)
where
    K: Resource<DynamicType = (), Scope = kube::core::ClusterResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let api: Api<K> = Api::all(client.clone());
    api.delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
}

pub(crate) async fn without_admission(client: &Client) {
    remove_all::<ValidatingAdmissionPolicyBinding>(client).await;
    remove_all::<MutatingWebhookConfiguration>(client).await;
    remove_all::<ValidatingWebhookConfiguration>(client).await;
}

#[tokio::test]
async fn what_did_not_pass_admission_gives_nothing() {
    let world = World::own("unsigned", InstallOptions::default()).await;
    let signed = world.ask("signed", json!({})).await;
    let kept = world.granted("kept", json!({})).await;
    let managers = json!([{"kind": "Group", "name": "unsigned-managers"}]);
    let two = json!([{"name": "two", "required": 2, "approvers": managers}]);
    world.policy_named("unsigned-two", json!({"approval": {"stages": two}})).await;
    world.ask("copied", json!({"policy": "unsigned-two"})).await;
    let approval = world.approve(&world.bob, "copied").await.unwrap();
    world.policy_named("unsigned-easy", json!({"approval": {"stages": []}})).await;
    without_admission(&world.admin.client).await;

    let alice = json!({"username": world.alice.name, "groups": ["unsigned-developers", "system:authenticated"]});
    let api: Api<AccessRequest> = world.api(&world.alice);
    let create = async |request: AccessRequest| persist(&api, &request).await;
    let unsigned =
        world.request("unsigned", json!({"policy": "unsigned-easy", "requester": alice}));
    assert!(
        !create(unsigned).await.metadata.annotations.unwrap_or_default().contains_key(ATTESTATION)
    );
    let status = world.phase("unsigned", RequestPhase::Denied).await;
    let evaluated = &status.conditions[0];
    assert_eq!(evaluated.reason, "NotAttested");
    assert!(evaluated.message.contains("carries no attestation"), "{evaluated:?}");

    // The attestation of another request does not fit.
    let mut forged =
        world.request("forged", json!({"policy": "unsigned-easy", "requester": alice}));
    let annotation = signed.metadata.annotations.as_ref().unwrap()[ATTESTATION].clone();
    forged.metadata.annotations = Some([(ATTESTATION.to_owned(), annotation.clone())].into());
    create(forged).await;
    let status = world.phase("forged", RequestPhase::Denied).await;
    assert!(status.conditions[0].message.contains("does not match its content"), "{status:?}");

    // Nor does rubbish.
    let mut rubbish =
        world.request("rubbish", json!({"policy": "unsigned-easy", "requester": alice}));
    rubbish.metadata.annotations = Some([(ATTESTATION.to_owned(), "{}".to_owned())].into());
    create(rubbish).await;
    let status = world.phase("rubbish", RequestPhase::Denied).await;
    assert!(status.conditions[0].message.contains("cannot be read"), "{status:?}");

    // A forged approval counts for nothing: what has been asked properly stays unapproved.
    let policies: Api<lapse_crds::JitPolicy> = Api::all(world.admin.client.clone());
    let policy = policies.get("unsigned").await.unwrap();
    let bob = json!({"username": world.bob.name, "groups": ["unsigned-managers"]});
    let forged: AccessDecision = typed(json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessDecision",
        "metadata": {"name": "forged", "namespace": "unsigned", "annotations": {ATTESTATION: annotation}},
        "spec": {
            "request": {"name": "signed", "uid": signed.metadata.uid},
            "verdict": "Approve", "decider": bob,
            "policy": {"name": "unsigned", "uid": policy.metadata.uid, "generation": policy.metadata.generation},
        },
    }));
    let decisions: Api<AccessDecision> = world.api(&world.mallory);
    persist(&decisions, &forged).await;
    // Nor does a copy of an approval, which is signed, count as another.
    let mut copy = AccessDecision::new("", approval.spec);
    copy.metadata.name = None;
    copy.metadata.generate_name = approval.metadata.generate_name;
    copy.metadata.namespace = approval.metadata.namespace;
    copy.metadata.annotations = approval.metadata.annotations;
    persist(&decisions, &copy).await;
    // A forged Deny ends nothing either.
    let deny: AccessDecision = typed(json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessDecision",
        "metadata": {"name": "forged-deny", "namespace": "unsigned"},
        "spec": {"request": {"name": "kept", "uid": kept_uid(&world).await}, "verdict": "Deny", "decider": bob},
    }));
    persist(&decisions, &deny).await;
    create(world.request("marker", json!({"requester": alice}))).await;
    world.phase("marker", RequestPhase::Denied).await;
    assert_eq!(world.status("kept").await.phase, RequestPhase::Active);
    assert!(kept.grant.is_some());
    let signed = world.status("signed").await;
    assert_eq!((signed.phase, signed.grant), (RequestPhase::Pending, None));
    world.waits("copied", "1 of").await;
    // And it is noticed that admission is gone.
    eventually("the missing policies to be counted", SOON, async || {
        let missing = "lapse_admission_policies_missing";
        let missing = world.lapse.controllers[0].counted(missing, &[]).await?;
        Ok((missing > 10.0).then_some(()))
    })
    .await
    .unwrap();
}

/// Creates an object as soon as the API server has noticed that admission is gone.
pub(crate) async fn persist<K>(api: &Api<K>, object: &K) -> K
where
    K: Clone + std::fmt::Debug + DeserializeOwned + serde::Serialize,
{
    eventually("admission to be gone", SOON, async || {
        Ok(Some(api.create(&PostParams::default(), object).await?))
    })
    .await
    .unwrap()
}

async fn kept_uid(world: &World) -> String {
    let api: Api<AccessRequest> = world.api(&world.admin);
    api.get("kept").await.unwrap().metadata.uid.unwrap()
}

/// Somebody guessed the name: a binding that gives mallory admin stands where Lapse would put its own,
/// from before the admission policies were there.
#[tokio::test]
async fn a_binding_under_the_name_is_never_adopted() {
    let world = World::own("squatted", InstallOptions::default()).await;
    let request = world.ask("fix", json!({})).await;
    let uid = request.metadata.uid.unwrap();
    let name = object_name(&grant_name("squatted", "fix", &uid));
    remove_all::<ValidatingAdmissionPolicyBinding>(&world.admin.client).await;
    let mallory = rbac::user(&world.mallory.name);
    let squatter: RoleBinding =
        typed(rbac::binding("RoleBinding", &name, &rbac::cluster_role("edit"), &mallory));
    let bindings: Api<RoleBinding> = world.api(&world.admin);
    persist(&bindings, &squatter).await;

    world.approve(&world.bob, "fix").await.unwrap();
    let status = world.phase("fix", RequestPhase::Failed).await;
    let granted = status.conditions.iter().find(|c| c.r#type == "Granted").unwrap();
    assert!(granted.message.contains("The name is taken"), "{granted:?}");
    assert!(!world.can_write(&world.alice).await);
    let found = bindings.get(&name).await.unwrap();
    assert_eq!(found.subjects.unwrap()[0].name, world.mallory.name, "left as it was");
}

/// A binding that carries Lapse's name and label, and no grant: it goes, whoever made it.
#[tokio::test]
async fn a_binding_of_lapse_without_a_grant_goes_at_once() {
    let world = World::own("orphaned", InstallOptions::default()).await;
    world.granted("fix", json!({})).await;
    let grant = world.grant("fix").await;
    let held = &grant.status.as_ref().unwrap().bindings[0];
    let bindings: Api<RoleBinding> = world.api(&world.admin);
    let mut copy = bindings.get(&held.name).await.unwrap();
    remove_all::<ValidatingAdmissionPolicyBinding>(&world.admin.client).await;

    // As from a backup, after its grant has ended.
    world.decide(&world.alice, "fix", json!({"verdict": "End"})).await.unwrap();
    world.phase("fix", RequestPhase::Ended).await;
    copy.metadata.resource_version = None;
    copy.metadata.uid = None;
    persist(&bindings, &copy).await;
    // Whoever decides about rights may not have seen it yet.
    eventually("the copy to go", SOON, async || {
        Ok(bindings.get_opt(&held.name).await?.is_none().then_some(()))
    })
    .await
    .unwrap();
    world.locked_out(&world.alice).await;

    // One that is not Lapse's by name is left alone, whatever its label says.
    copy.metadata.name = Some("somebody-elses".to_owned());
    bindings.create(&PostParams::default(), &copy).await.unwrap();
    copy.metadata.name = Some("lapse:somebody-elses".to_owned());
    bindings.create(&PostParams::default(), &copy).await.unwrap();
    eventually("the one with Lapse's name to go", SOON, async || {
        Ok(bindings.get_opt("lapse:somebody-elses").await?.is_none().then_some(()))
    })
    .await
    .unwrap();
    assert!(bindings.get_opt("somebody-elses").await.unwrap().is_some());
    let log = logged(&world);
    assert!(log.contains(r#""namespace":"orphaned""#), "what was removed says where it was");
    assert!(log.contains(r#""reason":"EndedByRequester""#), "what ended says why");
}

/// What the controller has logged. Nothing in it looks as if Rust were to read it.
pub(crate) fn logged(world: &World) -> String {
    let log = std::fs::read_to_string(&world.lapse.controllers[0].process.spec().log).unwrap();
    let of_rust = log.lines().find(|line| line.contains("\"Some(") || line.contains("\"None\""));
    assert_eq!(of_rust, None);
    log
}

/// Somebody swaps the binding for one that gives more.
#[tokio::test]
async fn a_binding_that_was_swapped_ends_the_grant() {
    let world = World::own("swapped", InstallOptions::default()).await;
    world.granted("fix", json!({})).await;
    let grant = world.grant("fix").await;
    let held = &grant.status.as_ref().unwrap().bindings[0];
    let bindings: Api<RoleBinding> = world.api(&world.admin);
    let mut swapped = bindings.get(&held.name).await.unwrap();
    remove_all::<ValidatingAdmissionPolicyBinding>(&world.admin.client).await;
    swapped.role_ref.name = "admin".to_owned();
    swapped.metadata.resource_version = None;
    swapped.metadata.uid = None;
    eventually("the swap", SOON, async || {
        bindings.delete(&held.name, &DeleteParams::default()).await.ok();
        Ok(Some(bindings.create(&PostParams::default(), &swapped).await?))
    })
    .await
    .unwrap();
    let status = world.phase("fix", RequestPhase::Ended).await;
    let reason = status.end_reason.unwrap();
    assert!([EndReason::BindingChanged, EndReason::BindingDeleted].contains(&reason), "{reason}");
    world.locked_out(&world.alice).await;
    let grant = world.ended(grant.metadata.name.as_ref().unwrap()).await;
    assert_eq!(grant.status.unwrap().phase, GrantPhase::Ended);
}
