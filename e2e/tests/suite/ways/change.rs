//! Changing what stands.

use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use lapse_crds::RequestPhase;
use lapse_e2e::plane::eventually;
use rstest::rstest;
use serde_json::{Value, json};

use super::{api, document, only, resource, trudy};
use crate::world::{SOON, World};

/// How something is changed.
#[derive(Clone, Copy, Debug)]
enum Way {
    Put,
    JsonPatch,
    MergePatch,
    StrategicMergePatch,
    Apply,
    PutStatus,
    PatchStatus,
    ApplyStatus,
}

impl Way {
    const ALL: [Self; 8] = [
        Self::Put,
        Self::JsonPatch,
        Self::MergePatch,
        Self::StrategicMergePatch,
        Self::Apply,
        Self::PutStatus,
        Self::PatchStatus,
        Self::ApplyStatus,
    ];

    fn is_of_status(self) -> bool {
        matches!(self, Self::PutStatus | Self::PatchStatus | Self::ApplyStatus)
    }

    /// Tries it; the object as the API server answers.
    async fn try_on(
        self,
        api: &Api<DynamicObject>,
        plural: &str,
        standing: &DynamicObject,
        (pointer, value): (&str, &Value),
        dry_run: bool,
    ) -> kube::Result<DynamicObject> {
        let name = standing.metadata.name.as_deref().unwrap();
        let post = PostParams { dry_run, ..PostParams::default() };
        let params = PatchParams { dry_run, ..PatchParams::default() };
        let forced = PatchParams { dry_run, ..PatchParams::apply("trudy").force() };
        let changed = || -> DynamicObject {
            let mut whole = document(standing);
            json_patch::merge(&mut whole, &only(pointer, value));
            serde_json::from_value(whole).unwrap()
        };
        let part = || {
            let mut part = only(pointer, value);
            let of = resource(plural);
            let types =
                json!({"apiVersion": of.api_version, "kind": of.kind, "metadata": {"name": name}});
            json_patch::merge(&mut part, &types);
            part
        };
        match self {
            Self::Put => api.replace(name, &post, &changed()).await,
            Self::JsonPatch => {
                let operations = json!([{"op": "add", "path": pointer, "value": value}]);
                let patch = Patch::Json::<()>(serde_json::from_value(operations).unwrap());
                api.patch(name, &params, &patch).await
            }
            Self::MergePatch => api.patch(name, &params, &Patch::Merge(only(pointer, value))).await,
            Self::StrategicMergePatch => {
                api.patch(name, &params, &Patch::Strategic(only(pointer, value))).await
            }
            Self::Apply => api.patch(name, &forced, &Patch::Apply(part())).await,
            Self::PutStatus => api.replace_status(name, &post, &changed()).await,
            Self::PatchStatus => {
                api.patch_status(name, &params, &Patch::Merge(only(pointer, value))).await
            }
            Self::ApplyStatus => api.patch_status(name, &forced, &Patch::Apply(part())).await,
        }
    }
}

/// Owners and finalizers, which keep an object or have it deleted.
fn ownership() -> Vec<(&'static str, Value)> {
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "none", "uid": "0"}]);
    vec![
        ("/metadata/ownerReferences", owner),
        ("/metadata/finalizers", json!(["example.com/kept"])),
    ]
}

fn of_request() -> Vec<(&'static str, Value)> {
    let mut fields = ownership();
    fields.extend([
        ("/metadata/annotations/lapse.dev~1attestation", json!("{}")),
        ("/spec/requester", json!({"username": "olga"})),
        ("/spec/duration", json!("1h")),
        ("/spec/policy", json!("another")),
        ("/spec/emergency", json!(true)),
        ("/spec/target/kubernetes/role/name", json!("view")),
        ("/status/phase", json!("Ended")),
        ("/status/grant", json!({"name": "x", "uid": "y"})),
    ]);
    fields
}

fn of_decision() -> Vec<(&'static str, Value)> {
    let mut fields = ownership();
    fields.extend([
        ("/metadata/annotations/lapse.dev~1attestation", json!("{}")),
        ("/spec/decider", json!({"username": "olga"})),
        ("/spec/verdict", json!("Deny")),
        ("/spec/request/uid", json!("another")),
        ("/spec/policy/generation", json!(99)),
        ("/spec/rulesHash", json!("sha256:0")),
        ("/spec/duration", json!("5m")),
    ]);
    fields
}

fn of_grant() -> Vec<(&'static str, Value)> {
    let mut fields = ownership();
    fields.extend([
        ("/spec/subject/name", json!("mallory")),
        ("/spec/expiresAt", json!("2099-01-01T00:00:00.000000Z")),
        ("/spec/target/kubernetes/role/name", json!("admin")),
        ("/spec/session", json!({"guard": "Off"})),
        ("/status/phase", json!("Ended")),
        ("/status/bindings", json!([])),
        ("/metadata/labels", json!({"lapse.dev/grant": "x"})),
    ]);
    fields
}

fn of_policy() -> Vec<(&'static str, Value)> {
    vec![("/status/activeGrants", json!(99)), ("/status/observedGeneration", json!(99))]
}

fn of_binding() -> Vec<(&'static str, Value)> {
    let mallory =
        json!([{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "mallory"}]);
    let mut fields = ownership();
    fields.extend([
        ("/subjects", mallory),
        ("/metadata/labels/lapse.dev~1grant", json!("x")),
        ("/metadata/labels/app.kubernetes.io~1managed-by", json!("x")),
        ("/metadata/annotations/lapse.dev~1grant-uid", json!("x")),
        ("/metadata/annotations/lapse.dev~1expires-at", json!("2099-01-01T00:00:00Z")),
    ]);
    fields
}

/// The name of the object of the test: of the request, of the decision about it, and of what was given.
async fn name_of(world: &World, plural: &str) -> String {
    match plural {
        "accessrequests" => "fix".to_owned(),
        "jitpolicies" => world.ns.clone(),
        "grants" => world.grant("fix").await.metadata.name.unwrap(),
        "accessdecisions" => {
            let decisions = api(world, &world.admin.client, plural);
            let all = decisions.list(&kube::api::ListParams::default()).await.unwrap();
            all.items[0].metadata.name.clone().unwrap()
        }
        _ => world.grant("fix").await.status.unwrap().bindings[0].name.clone(),
    }
}

#[rstest]
#[case::requests("ways-requests", "accessrequests", of_request())]
#[case::decisions("ways-decisions", "accessdecisions", of_decision())]
#[case::grants("ways-grants", "grants", of_grant())]
#[case::policies("ways-policies", "jitpolicies", of_policy())]
#[case::bindings("ways-bindings", "rolebindings", of_binding())]
#[tokio::test]
async fn nothing_changes_what_decides(
    #[case] ns: &str,
    #[case] plural: &str,
    #[case] fields: Vec<(&'static str, Value)>,
) {
    let world = World::shared(ns).await;
    world.granted("fix", json!({})).await;
    let trudy = trudy(&world).await;
    let name = name_of(&world, plural).await;
    let (admins, tried) =
        (api(&world, &world.admin.client, plural), api(&world, &trudy.client, plural));
    // What a policy gives is counted a moment later.
    let policies = api(&world, &world.admin.client, "jitpolicies");
    eventually("the policy to count its grant", SOON, async || {
        let policy = document(&policies.get(ns).await?);
        Ok((policy.pointer("/status/activeGrants") == Some(&json!(1))).then_some(()))
    })
    .await
    .unwrap();
    for (pointer, value) in &fields {
        let at = |object: &DynamicObject| document(object).pointer(pointer).cloned();
        let before = at(&admins.get(&name).await.unwrap());
        assert_ne!(before.as_ref(), Some(value), "{pointer}: nothing would change");
        for way in Way::ALL {
            for dry_run in [true, false] {
                let standing = admins.get(&name).await.unwrap();
                let change = (*pointer, value);
                let answer = way.try_on(&tried, plural, &standing, change, dry_run).await;
                // Writing the status leaves the rest alone, and writing the rest leaves the status alone:
                // then it is as if nothing had been asked. Anything else is refused.
                if way.is_of_status() == pointer.starts_with("/status") {
                    assert!(answer.is_err(), "{way:?} of {pointer}: {answer:?}");
                }
                if let Ok(answer) = answer {
                    assert_eq!(at(&answer), before, "{way:?} of {pointer} (dry run: {dry_run})");
                }
                let after = at(&admins.get(&name).await.unwrap());
                assert_eq!(after, before, "{way:?} of {pointer} (dry run: {dry_run})");
            }
        }
    }
    assert_eq!(world.status("fix").await.phase, RequestPhase::Active);
    assert!(world.can_write(&world.alice).await, "the right goes on");
}
