//! Making what claims to be something else.

use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use lapse_crds::{ATTESTATION, AccessDecision, AccessRequest, Identity, RequestPhase};
use rstest::rstest;
use serde_json::{Value, json};

use super::{api, trudy};
use crate::rbac;
use crate::world::{World, typed};

/// How something is made.
#[derive(Clone, Copy, Debug)]
enum Way {
    Post,
    GenerateName,
    Apply,
    Kubectl,
}

/// A request or a decision that says it was made by somebody else, was signed, and has been decided.
fn claims(body: &Value, who: &str, field: &str, attestation: &str) -> Value {
    let mut claims = body.clone();
    let more = json!({
        "metadata": {
            "annotations": {ATTESTATION: attestation, "lapse.dev/grant-uid": "x"},
            "labels": {"lapse.dev/grant": "x", "app.kubernetes.io/managed-by": "lapse"},
        },
        "spec": {field: {"username": who, "groups": ["system:masters"], "credentialID": "JTI=0"}},
        "status": {"phase": "Active", "grant": {"name": "x", "uid": "y"}},
    });
    json_patch::merge(&mut claims, &more);
    claims
}

#[rstest]
#[case::post("made-post", Way::Post)]
#[case::generate_name("made-generated", Way::GenerateName)]
#[case::apply("made-apply", Way::Apply)]
#[case::kubectl("made-kubectl", Way::Kubectl)]
#[tokio::test]
async fn who_makes_something_is_who_made_it(#[case] ns: &str, #[case] way: Way) {
    let world = World::shared(ns).await;
    let signed = world.ask("signed", json!({})).await;
    let attestation = &signed.annotations()[ATTESTATION];
    let trudy = trudy(&world).await;
    let body = serde_json::to_value(world.request("forged", json!({"duration": "5m"}))).unwrap();
    let forged = claims(&body, &world.alice.name, "requester", attestation);
    let made: AccessRequest = make(&world, &trudy, way, "accessrequests", &forged).await;
    assert_is_by(made.spec.requester.as_ref(), &trudy.name);
    assert_ne!(&made.annotations()[ATTESTATION], attestation, "it was signed anew");
    assert_eq!(made.status.unwrap_or_default().grant, None);
    // Nobody named trudy may ask: what she claims makes no difference.
    let status = world.phase(&made.metadata.name.unwrap(), RequestPhase::Denied).await;
    assert_eq!(status.grant, None);

    let body = json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessDecision",
        "metadata": {"name": "forged", "namespace": ns},
        "spec": {"request": {"name": "signed"}, "verdict": "Approve"},
    });
    let mut forged = claims(&body, &world.bob.name, "decider", attestation);
    // A decision has no status that it could claim.
    forged.as_object_mut().unwrap().remove("status");
    let refused = try_to_make(&world, &trudy, way, "accessdecisions", &forged).await;
    let refused = refused.unwrap_err();
    assert!(refused.contains("is not an approver of JitPolicy"), "{refused}");
    let decisions: Api<AccessDecision> = world.api(&world.admin);
    assert_eq!(decisions.list(&kube::api::ListParams::default()).await.unwrap().items.len(), 0);
    assert_eq!(world.status("signed").await.phase, RequestPhase::Pending);
}

fn assert_is_by(stamp: Option<&Identity>, name: &str) {
    let stamp = stamp.unwrap();
    assert_eq!(stamp.username, name);
    assert_eq!(stamp.groups, ["system:authenticated"]);
    let credential = stamp.credential_id.as_deref().unwrap_or_default();
    assert!(credential.starts_with("X509SHA256="), "{credential}");
}

async fn make<K: serde::de::DeserializeOwned>(
    world: &World,
    who: &lapse_e2e::plane::User,
    way: Way,
    plural: &str,
    body: &Value,
) -> K {
    typed(try_to_make(world, who, way, plural, body).await.unwrap())
}

async fn try_to_make(
    world: &World,
    who: &lapse_e2e::plane::User,
    way: Way,
    plural: &str,
    body: &Value,
) -> Result<Value, String> {
    let api = api(world, &who.client, plural);
    let mut body = body.clone();
    let name = body["metadata"]["name"].as_str().unwrap().to_owned();
    let made = match way {
        Way::Post => api.create(&PostParams::default(), &typed(body)).await,
        Way::GenerateName => {
            let generated = json!({"metadata": {"name": null, "generateName": format!("{name}-")}});
            json_patch::merge(&mut body, &generated);
            api.create(&PostParams::default(), &typed(body)).await
        }
        Way::Apply => {
            let params = PatchParams::apply("trudy").force();
            api.patch(&name, &params, &Patch::Apply(body)).await
        }
        Way::Kubectl => {
            let args = ["create", "-f", "-", "-o", "json"];
            let text = world.kubectl(who, &args, Some(&body.to_string())).await;
            let text = text.map_err(|error| format!("{error:#}"))?;
            return serde_json::from_str(&text).map_err(|error| error.to_string());
        }
    };
    made.map(|made| super::document(&made)).map_err(|error| error.to_string())
}

/// Grants, and what carries Lapse's names, is made by Lapse alone, in whichever way.
#[tokio::test]
async fn nobody_else_makes_what_is_lapses() {
    let world = World::shared("made-lapses").await;
    world.granted("fix", json!({})).await;
    let trudy = trudy(&world).await;
    let held = world.grant("fix").await;
    let mut grant = serde_json::to_value(lapse_crds::Grant::new("forged", held.spec)).unwrap();
    grant["spec"]["subject"]["name"] = json!(trudy.name);
    let edit = rbac::cluster_role("edit");
    let binding = rbac::binding("RoleBinding", "lapse:forged", &edit, &rbac::user(&trudy.name));
    for way in [Way::Post, Way::GenerateName, Way::Apply, Way::Kubectl] {
        let refused = try_to_make(&world, &trudy, way, "grants", &grant).await.unwrap_err();
        assert!(refused.contains("'lapse-grants'"), "{way:?}: {refused}");
        let refused = try_to_make(&world, &trudy, way, "rolebindings", &binding).await;
        let refused = refused.unwrap_err();
        assert!(refused.contains("'lapse-rbac-reserved'"), "{way:?}: {refused}");
    }
    assert!(!world.can_write(&trudy).await);
    assert_eq!(world.bindings().await.len(), 1);
}

/// Nothing is made by writing to its status, or by writing over what is not there.
#[tokio::test]
async fn nothing_is_made_by_the_way() {
    let world = World::shared("made-otherwise").await;
    let trudy = trudy(&world).await;
    let requests = api(&world, &trudy.client, "accessrequests");
    let body = serde_json::to_value(world.request("forged", json!({}))).unwrap();
    let body: kube::api::DynamicObject = typed(claims(&body, &world.alice.name, "requester", "{}"));
    let post = PostParams::default();
    assert!(requests.replace("forged", &post, &body).await.is_err());
    assert!(requests.replace_status("forged", &post, &body).await.is_err());
    let apply = PatchParams::apply("trudy").force();
    assert!(requests.patch_status("forged", &apply, &Patch::Apply(&body)).await.is_err());
    let posted = requests.create_subresource::<_, Value>("status", "forged", &post, &body).await;
    assert!(posted.is_err(), "{posted:?}");
    assert_eq!(requests.get_opt("forged").await.unwrap(), None);
}

/// What was approved is the request of that UID. One of the same name is another.
#[tokio::test]
async fn what_is_made_anew_under_a_name_is_not_approved() {
    let world = World::shared("made-anew").await;
    let managers = json!([{"kind": "Group", "name": "made-anew-managers"}]);
    world
        .policy(json!({"approval": {"stages": [
            {"name": "two", "required": 2, "approvers": managers},
        ]}}))
        .await;
    world
        .ask(
            "fix",
            json!({"target": {"kubernetes": {"role": {"kind": "ClusterRole", "name": "view"}}}}),
        )
        .await;
    world.approve(&world.bob, "fix").await.unwrap();
    world.waits("fix", "1 of").await;
    let requests: Api<AccessRequest> = world.api(&world.alice);
    requests.delete("fix", &DeleteParams::default()).await.unwrap();
    world.ask("fix", json!({})).await;
    world.approve(&world.ben, "fix").await.unwrap();
    world.waits("fix", "1 of").await;
    assert!(!world.can_write(&world.alice).await);
    world.approve(&world.bob, "fix").await.unwrap();
    world.phase("fix", RequestPhase::Active).await;
}
