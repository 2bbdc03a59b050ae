//! What an older release stored, read by this one.

use ed25519_dalek::SigningKey;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::api::{ApiResource, DynamicObject};
use kube::{Api, Resource};
use lapse_crds::{ATTESTATION, AccessDecision, AccessRequest, JitPolicy, RequestPhase};
use lapse_e2e::plane::InstallOptions;
use lapse_engine::attest::{Subject, sign};
use lapse_engine::role::RoleRules;
use serde_json::{Value, json};

use crate::attacks::{persist, without_admission};
use crate::world::{World, typed};

/// An object with its spec as an older release wrote and signed it.
fn signed_by(key: &SigningKey, object: &Value, nonce: u8) -> Value {
    let text = |at: &str| object.pointer(at).and_then(Value::as_str).unwrap_or_default();
    let subject = Subject {
        kind: text("/kind"),
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name"),
        generate_name: "",
        spec: &object["spec"],
    };
    let attestation = sign(key, &subject, lapse_cluster::clock::now(), [nonce; 16]).unwrap();
    let mut signed = object.clone();
    let text = serde_json::to_string(&attestation).unwrap();
    signed["metadata"]["annotations"] = json!({ATTESTATION: text});
    signed
}

/// Objects as they are written, and not as the types of this release write them.
fn dynamic<K>(world: &World) -> Api<DynamicObject>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let resource = ApiResource::erase::<K>(&());
    Api::namespaced_with(world.admin.client.clone(), &world.ns, &resource)
}

/// `credentialID` was `credentialId`. What the schema does not know is dropped when it is read, and then no signature
/// over it holds.
#[tokio::test]
async fn requests_and_decisions_of_older_releases_are_honoured() {
    let world = World::own("older", InstallOptions::default()).await;
    // The keys are there as soon as somebody could ask.
    world.ask("newer", json!({})).await;
    let secrets: Api<Secret> = Api::namespaced(world.admin.client.clone(), "lapse-system");
    let secret = secrets.get("lapse-webhook-keys").await.unwrap();
    let key = &secret.data.unwrap()["signing.key"].0;
    let key = SigningKey::try_from(&**key).unwrap();
    without_admission(&world.admin.client).await;

    let who = |name: &str, group: &str| json!({"username": name, "groups": [format!("older-{group}")], "credentialId": "X509SHA256=0"});
    let newer = serde_json::to_value(world.request("older", json!({}))).unwrap();
    let mut asked = json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessRequest",
        "metadata": {"name": "older", "namespace": "older"}, "spec": newer["spec"],
    });
    asked["spec"]["requester"] = who(&world.alice.name, "developers");
    let stored =
        persist(&dynamic::<AccessRequest>(&world), &typed(signed_by(&key, &asked, 1))).await;
    world.waits("older", "1 of").await;

    let policies: Api<JitPolicy> = Api::all(world.admin.client.clone());
    let policy = policies.get("older").await.unwrap().metadata;
    let roles: Api<ClusterRole> = Api::all(world.admin.client.clone());
    let edit = roles.get("edit").await.unwrap();
    let edit = RoleRules::of_cluster_role(edit.rules.unwrap());
    let approval = json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessDecision",
        "metadata": {"name": "older-approval", "namespace": "older"},
        "spec": {
            "request": {"name": "older", "uid": stored.metadata.uid},
            "verdict": "Approve", "decider": who(&world.bob.name, "managers"),
            "policy": {"name": "older", "uid": policy.uid, "generation": policy.generation},
            "rulesHash": edit.hash(), "rules": edit.to_keep(),
        },
    });
    persist(&dynamic::<AccessDecision>(&world), &typed(signed_by(&key, &approval, 2))).await;
    world.phase("older", RequestPhase::Active).await;
    world.let_in(&world.alice).await;

    let request: Api<AccessRequest> = world.api(&world.admin);
    let read = request.get("older").await.unwrap().spec.requester.unwrap();
    assert_eq!(read.credential_id.as_deref(), Some("X509SHA256=0"));
    let decision: Api<AccessDecision> = world.api(&world.admin);
    let read = decision.get("older-approval").await.unwrap().spec.decider.unwrap();
    assert_eq!(read.credential_id.as_deref(), Some("X509SHA256=0"));
}
