//! One object that nobody can read stops nothing, and says what is wrong with it.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use lapse_crds::{AccessDecision, AccessRequest, Grant, JitPolicy, RequestPhase};
use lapse_e2e::plane::{InstallOptions, eventually};
use serde_json::{Value, json};

use crate::attacks::logged;
use crate::world::{SOON, World};

/// As after a release that knew more: the schema takes what these programs cannot read.
#[tokio::test]
async fn a_policy_that_cannot_be_read() {
    let world = World::own("poison", InstallOptions::default()).await;
    let definitions: Api<CustomResourceDefinition> = Api::all(world.admin.client.clone());
    let schema = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
    let patch: json_patch::Patch = serde_json::from_value(json!([
        {"op": "replace", "path": schema, "value": {
            "type": "object", "x-kubernetes-preserve-unknown-fields": true,
            // What lists select by must stay.
            "properties": {"effect": {"type": "string"}},
        }},
    ]))
    .unwrap();
    let patch = Patch::Json::<()>(patch);
    definitions.patch("jitpolicies.lapse.dev", &PatchParams::default(), &patch).await.unwrap();

    // The webhook refuses what it cannot read; this one came before, or past it.
    let hooks: Api<k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration> =
        Api::all(world.admin.client.clone());
    hooks.delete("lapse", &kube::api::DeleteParams::default()).await.unwrap();
    let resource = ApiResource::erase::<JitPolicy>(&());
    let policies: Api<DynamicObject> = Api::all_with(world.admin.client.clone(), &resource);
    let mut poison = DynamicObject::new("a-poison", &resource);
    poison.data = json!({"spec": {"requesters": "everybody", "targets": 7}});
    eventually("the schema to be loose", SOON, async || {
        Ok(Some(policies.create(&PostParams::default(), &poison).await?))
    })
    .await
    .unwrap();

    let told = eventually("the poison to say what is wrong with it", SOON, async || {
        let found = policies.get("a-poison").await?;
        let condition = found.data.pointer("/status/conditions/0").cloned();
        Ok(condition.filter(|condition| condition["type"] == "Ready"))
    })
    .await
    .unwrap();
    assert_eq!(told["reason"], Value::from("Unreadable"));
    assert!(told["message"].as_str().unwrap().contains("cannot be read"), "{told}");
    eventually("the controller to count it", SOON, async || {
        let controller = &world.lapse.controllers[0];
        let labels = ["kind=\"JitPolicy\""];
        let unreadable = controller.counted("lapse_objects_unreadable", &labels).await?;
        let not_ready = controller.counted("lapse_policies", &["ready=\"False\""]).await?;
        Ok((unreadable > 0.5 && not_ready > 0.5).then_some(()))
    })
    .await
    .unwrap();

    // Everything else goes on, also for a request that looks at all policies.
    world.ask("fix", json!({"policy": null})).await;
    let status = world.phase("fix", RequestPhase::Pending).await;
    assert_eq!(status.policy.unwrap().name, "poison");
    let shown = status.candidates.iter().find(|candidate| candidate.policy == "a-poison").unwrap();
    assert!(shown.reason.contains("cannot be read"), "{shown:?}");
    world.approve(&world.bob, "fix").await.unwrap();
    world.phase("fix", RequestPhase::Active).await;
    world.let_in(&world.alice).await;
    assert!(logged(&world).contains("cannot be decoded"));
}

/// All that bad input can be, as if every check had been missing when it was stored: it says what is
/// wrong with it, gives nothing, and stops nothing.
#[tokio::test]
async fn what_was_stored_past_every_check() {
    let world = World::own("unchecked", InstallOptions::default()).await;
    unchecked(&world).await;
    let targets = json!([{"kubernetes": {
        "roles": [{"kind": "ClusterRole", "name": "edit"}], "namespaces": {"names": ["unchecked"]},
    }}]);
    let developers = json!([{"kind": "Group", "name": "unchecked-developers"}]);
    let window = json!([{"days": ["Mon"], "start": "08:00", "end": "08:00"}]);
    let managers = json!([{"kind": "Group", "name": "unchecked-managers"}]);
    let nobody = json!([{"name": "none", "required": 0, "approvers": managers}]);
    let condition = |expression: &str| json!([{"expression": expression, "message": "No"}]);
    let policies = [
        ("zone", "schedule", json!({"timeZone": "M".repeat(1 << 18), "windows": window})),
        ("window", "schedule", json!({"timeZone": "UTC", "windows": window})),
        ("compiles-not", "conditions", condition("1 +")),
        ("no-yes-or-no", "conditions", condition("request.reason")),
        ("too-long", "conditions", condition(&"!".repeat(1 << 16))),
        ("explodes", "ticket", json!({"pattern": "(((a{1000}){1000}){1000}){1000}"})),
        ("quorum", "approval", json!({"stages": nobody})),
        ("negative", "duration", json!({"max": "-5m"})),
        ("days", "duration", json!({"max": "1d"})),
        ("nothing", "retention", json!("0s")),
        ("unheard-of", "mode", json!("x".repeat(1 << 18))),
        ("itself", "separationOfDuties", json!([{"policy": "itself"}])),
    ];
    for (name, field, value) in &policies {
        let mut spec = json!({"requesters": developers, "targets": targets, "priority": 1});
        spec[*field] = value.clone();
        store::<JitPolicy>(&world, name, json!({"spec": spec})).await;
    }
    let request = |change: Value| {
        let mut spec = serde_json::to_value(world.request("any", json!({})).spec).unwrap();
        json_patch::merge(&mut spec, &change);
        json!({"spec": spec})
    };
    for (name, change) in [
        // Longer than the schema takes, and not so large that the webhook does not even stamp it.
        ("long", json!({"reason": "x".repeat(15_000)})),
        ("days", json!({"duration": "1d"})),
        ("early", json!({"startTime": "-0001-01-01T00:00:00Z"})),
        ("nowhere", json!({"target": null})),
    ] {
        store::<AccessRequest>(&world, name, request(change)).await;
    }
    let decision = json!({"request": {"name": "fix"}, "verdict": "Perhaps"});
    store::<AccessDecision>(&world, "rubbish", json!({"spec": decision})).await;
    store::<Grant>(&world, "rubbish", json!({"spec": {"expiresAt": "never"}})).await;

    let stored: Api<DynamicObject> = dynamic::<JitPolicy>(&world);
    for (name, _, _) in &policies {
        let what = format!("policy {name} to say what is wrong with it");
        eventually(&what, SOON, async || {
            let found = stored.get(name).await?;
            let ready = found.data.pointer("/status/conditions/0").cloned().unwrap_or_default();
            Ok((ready["type"] == "Ready" && ready["status"] == "False").then_some(()))
        })
        .await
        .unwrap();
    }
    let requests: Api<DynamicObject> = dynamic::<AccessRequest>(&world);
    for name in ["long", "days", "early", "nowhere"] {
        eventually(&format!("request {name} to say what is wrong with it"), SOON, async || {
            let found = requests.get(name).await?;
            let told = found.data.pointer("/status/conditions/0").cloned().unwrap_or_default();
            Ok((told["type"] == "Evaluated" && told["status"] == "False").then_some(()))
        })
        .await
        .unwrap();
    }

    // Everything else goes on beside them, from the first word to the end.
    world.ask("fix", json!({"policy": null})).await;
    world.approve(&world.bob, "fix").await.unwrap();
    let status = world.phase("fix", RequestPhase::Active).await;
    assert_eq!(status.policy.unwrap().name, "unchecked");
    world.let_in(&world.alice).await;
    world.decide(&world.alice, "fix", json!({"verdict": "End"})).await.unwrap();
    world.phase("fix", RequestPhase::Ended).await;
    world.locked_out(&world.alice).await;
}

/// Takes every check away but the stamps: schemas, admission policies, and the webhook that validates.
pub(crate) async fn unchecked(world: &World) {
    let definitions: Api<CustomResourceDefinition> = Api::all(world.admin.client.clone());
    let any = |properties: Value| json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": properties});
    // What lists select by must stay.
    let text = json!({"type": "string"});
    let (username, name) = (any(json!({"username": text})), any(json!({"name": text})));
    let target = any(json!({"endpoint": name}));
    for (kind, fields) in [
        ("jitpolicies", json!({"effect": text})),
        ("accessrequests", json!({"requester": username, "target": target})),
        ("accessdecisions", json!({"request": name})),
        (
            "grants",
            json!({"subject": name, "username": text, "policy": name, "emergency": {"type": "boolean"}, "target": target}),
        ),
    ] {
        let schema = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
        let patch = json!([{"op": "replace", "path": schema, "value": any(fields)}]);
        let patch = Patch::Json::<()>(serde_json::from_value(patch).unwrap());
        let name = format!("{kind}.lapse.dev");
        definitions.patch(&name, &PatchParams::default(), &patch).await.unwrap();
    }
    let webhook = ["delete", "validatingwebhookconfiguration", "lapse"];
    world.kubectl(&world.admin, &webhook, None).await.unwrap();
    let all = ["delete", "validatingadmissionpolicybinding", "--all"];
    world.kubectl(&world.admin, &all, None).await.unwrap();
}

pub(crate) fn dynamic<K: kube::Resource<DynamicType = ()>>(world: &World) -> Api<DynamicObject> {
    let resource = ApiResource::erase::<K>(&());
    if ["JitPolicy", "Grant"].contains(&&*resource.kind) {
        Api::all_with(world.admin.client.clone(), &resource)
    } else {
        Api::namespaced_with(world.admin.client.clone(), &world.ns, &resource)
    }
}

/// Stores an object, as soon as nothing checks it any more.
pub(crate) async fn store<K: kube::Resource<DynamicType = ()>>(
    world: &World,
    name: &str,
    data: Value,
) {
    let mut object = DynamicObject::new(name, &ApiResource::erase::<K>(&()));
    object.data = data;
    let api = dynamic::<K>(world);
    eventually(&format!("{name} to be stored"), SOON, async || {
        Ok(Some(api.create(&PostParams::default(), &object).await?))
    })
    .await
    .unwrap();
}
