//! What one person stores: small, however it is sent, and without getting in anybody's way.

mod before;
mod fits;
mod refused;

use kube::api::{ApiResource, DynamicObject};
use kube::{Api, ResourceExt as _};
use lapse_crds::{AccessDecision, AccessRequest};
use lapse_e2e::plane::User;
use serde_json::{Value, json};

use crate::rendered::Rendered;
use crate::world::World;

/// So many entries, with values of so many bytes.
fn entries(count: usize, value: usize) -> Value {
    let entry = |number| (format!("example.com/{number:0>60}"), json!("x".repeat(value)));
    Value::Object((0..count).map(entry).collect())
}

/// So many field managers.
fn managers(count: usize, fields: usize) -> Value {
    let manager = |number| {
        json!({
            "manager": format!("m{number}"), "operation": "Apply", "apiVersion": "lapse.dev/v1alpha1",
            "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1",
            "fieldsV1": {"f:metadata": {"f:labels": {format!("f:{}", "x".repeat(fields)): {}}}},
        })
    };
    (0..count).map(manager).collect()
}

fn requests(world: &World, who: &User) -> Api<DynamicObject> {
    let resource = ApiResource::erase::<AccessRequest>(&());
    Api::namespaced_with(who.client.clone(), &world.ns, &resource)
}

fn decisions(world: &World, who: &User) -> Api<DynamicObject> {
    let resource = ApiResource::erase::<AccessDecision>(&());
    Api::namespaced_with(who.client.clone(), &world.ns, &resource)
}

/// The chart's policy cannot use the engine's numbers, so it repeats them.
#[tokio::test]
async fn the_chart_has_the_numbers_of_the_engine() {
    use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
    use lapse_engine::size::Part;
    let policies: Vec<ValidatingAdmissionPolicy> =
        Rendered::with(&[]).await.all("ValidatingAdmissionPolicy");
    let policy = policies.iter().find(|policy| policy.name_any() == "lapse-size").unwrap();
    let variables = policy.spec.as_ref().unwrap().variables.as_ref().unwrap();
    for (name, part) in [
        ("mostSpecBytes", Part::Spec),
        ("mostAnnotations", Part::Annotations),
        ("mostAnnotationBytes", Part::AnnotationBytes),
        ("mostLabels", Part::Labels),
        ("mostLabelBytes", Part::LabelBytes),
        ("mostFieldManagers", Part::FieldManagers),
    ] {
        let variable = variables.iter().find(|variable| variable.name == name).unwrap();
        assert_eq!(variable.expression, part.most().to_string(), "{name}");
    }
}
