//! Every way in which the API server lets somebody write an object, against every field that decides
//! anything. Who tries it may do everything that RBAC can allow; whatever the answer is, what decides stays
//! as it was.

mod change;
mod create;
mod names;
mod posted;
mod twice;

use kube::api::{ApiResource, DynamicObject};
use kube::{Api, Client};
use lapse_e2e::plane::User;
use serde_json::{Value, json};

use crate::rbac;
use crate::world::World;

/// Somebody in the namespace of a test whom RBAC allows everything with Lapse's kinds, and with bindings.
async fn trudy(world: &World) -> User {
    let name = format!("trudy-{}", world.ns);
    let groups = ["lapse.dev", "rbac.authorization.k8s.io"];
    let all = json!([{"apiGroups": groups, "resources": ["*"], "verbs": ["*"]}]);
    world.cluster_role(&name, all).await;
    world.bind_everywhere(&name, &name, &rbac::user(&name)).await;
    world.lapse.plane().user(&name, &[]).await.unwrap()
}

/// `edit` here, although a service account is within its reach that may ask.
fn edit(ns: &str) -> Value {
    json!([{"kubernetes": {
        "roles": [{"kind": "ClusterRole", "name": "edit"}], "namespaces": {"names": [ns]},
        "allowEscalation": true,
    }}])
}

/// A kind, by its plural.
fn resource(plural: &str) -> ApiResource {
    let (group, version, kind) = match plural {
        "accessrequests" => ("lapse.dev", "v1alpha1", "AccessRequest"),
        "accessdecisions" => ("lapse.dev", "v1alpha1", "AccessDecision"),
        "grants" => ("lapse.dev", "v1alpha1", "Grant"),
        "jitpolicies" => ("lapse.dev", "v1alpha1", "JitPolicy"),
        _ => ("rbac.authorization.k8s.io", "v1", "RoleBinding"),
    };
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: format!("{group}/{version}"),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}

/// The API of a kind, in the namespace of a test if the kind has namespaces.
fn api(world: &World, client: &Client, plural: &str) -> Api<DynamicObject> {
    match plural {
        "grants" | "jitpolicies" => Api::all_with(client.clone(), &resource(plural)),
        _ => Api::namespaced_with(client.clone(), &world.ns, &resource(plural)),
    }
}

/// An object as a document.
fn document(object: &DynamicObject) -> Value {
    serde_json::to_value(object).unwrap()
}

/// A document with nothing but this at a pointer.
fn only(pointer: &str, value: &Value) -> Value {
    let names: Vec<String> =
        pointer.split('/').skip(1).map(|name| name.replace("~1", "/")).collect();
    names.into_iter().rev().fold(value.clone(), |inner, name| json!({ name: inner }))
}
