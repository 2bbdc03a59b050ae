//! Stolen tokens of the components. What they try goes to the real API server, with everything that RBAC
//! allows them, and is worth no more than what was approved.

mod bindings;
mod grants;
mod outage;
mod place;
mod status;
mod webhook;

use std::fmt::Debug;

use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::DynamicObject;
use kube::{Api, Client, ResourceExt as _};
use lapse_cluster::objects::manifest;
use lapse_crds::{AccessRequest, Grant, RequestRef};
use lapse_engine::grant::{Content, ObjectSpec, grant_name};
use serde_json::Value;

use crate::world::{World, refused, typed};

async fn thief(world: &World, component: &str) -> Client {
    world.lapse.plane().service_account("lapse-system", component).await.unwrap().client
}

fn forbidden<T: Debug>(result: kube::Result<T>, words: &str) {
    refused(result.map_err(Into::into), words);
}

const CONFINED: &str = "admission webhook \"confine.lapse.dev\" denied the request";

/// Refused by the webhook, for this reason.
fn confined<T: Debug>(result: kube::Result<T>, words: &str) {
    let error = format!("{:#}", result.unwrap_err());
    assert!(error.contains(CONFINED) && error.contains(words), "expected {words:?} in: {error}");
}

/// How often the webhooks have refused what was written in the controller's name.
async fn times_confined(world: &World, kind: &str) -> f64 {
    let kind = format!("kind=\"{kind}\"");
    let labels = ["webhook=\"confine\"", "outcome=\"refused\"", &kind];
    let mut sum = 0.0;
    for webhook in &world.lapse.webhooks {
        sum += webhook.counted("lapse_webhook_admissions_total", &labels).await.unwrap();
    }
    sum
}

/// How many refused writes by a component the audit log tells about objects of this name.
fn audited(world: &World, component: &str, name: &str) -> usize {
    let log = std::fs::read_to_string(world.lapse.plane().audit_log()).unwrap();
    let who = format!("system:serviceaccount:lapse-system:{component}");
    let is_it = |event: &Value| {
        event["user"]["username"] == *who
            && event["objectRef"]["name"] == name
            && event["responseStatus"]["code"].as_u64().is_some_and(|code| code >= 400)
    };
    log.lines().filter_map(|line| serde_json::from_str(line).ok()).filter(is_it).count()
}

async fn request(world: &World, name: &str) -> AccessRequest {
    let api: Api<AccessRequest> = world.api(&world.admin);
    api.get(name).await.unwrap()
}

/// The Grant that this one would be if it had been given for another request.
async fn moved_to(world: &World, grant: &Grant, name: &str) -> Grant {
    let uid = request(world, name).await.uid().unwrap();
    let named = grant_name(&world.ns, name, &uid);
    let mut spec = grant.spec.clone();
    spec.request = RequestRef { namespace: world.ns.clone(), name: name.to_owned(), uid };
    let mut moved = Grant::new(&named, spec);
    moved.metadata.finalizers = Some(vec!["lapse.dev/revoke".to_owned()]);
    moved
}

fn everywhere(grant: &mut Grant, _: &World) {
    let target = grant.spec.target.kubernetes.as_mut().unwrap();
    (target.namespaces, target.cluster_wide) = (Vec::new(), true);
}

/// The objects of a grant as the controller makes them.
fn objects_of(grant: &Grant) -> Vec<(ObjectSpec, DynamicObject)> {
    let specs = ObjectSpec::all_of(grant, "lapse-system").into_iter();
    specs.map(|spec| (spec.clone(), manifest(grant, &spec))).collect()
}

/// The binding that gives the right of a grant, as the controller makes it.
fn right_of(grant: &Grant) -> RoleBinding {
    let objects = objects_of(grant).into_iter();
    let mut bindings = objects.filter(|(spec, _)| matches!(spec.content, Content::Binding { .. }));
    typed(serde_json::to_value(bindings.next().unwrap().1).unwrap())
}
