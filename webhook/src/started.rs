//! What the holder of a right starts carries which right that was: pods and jobs by a label, an ephemeral
//! container by its environment.
//!
//! The API server asks only for those who hold a right, in namespaces that opted in. The mark is written over
//! whatever the client sent; an admission policy keeps everybody else from writing one.

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation};
use kube::ResourceExt as _;
use lapse_cluster::Freshness;
use lapse_crds::{
    GRANT_LABEL, GRANT_UID, GRANT_UID_VARIABLE, GRANT_VARIABLE, Grant, STARTED_BY, TICKET,
};
use lapse_engine::session::started_under;
use serde_json::{Map, Value, json};

use crate::admission::{Admission, Request, caller};
use crate::answer::{Admitted, NotAdmitted, known};

/// Marks what is being started.
pub(crate) async fn mark(
    admission: &Admission,
    request: &Request,
) -> Result<Admitted, NotAdmitted> {
    let caller = caller(&request.user_info)?;
    let namespace = request.namespace.as_deref().unwrap_or_default();
    let reader = admission.reader();
    let mut held = known(reader.held(&caller, Freshness::AtHand).await)?.unwrap_or_default();
    if started_under(&held, namespace).is_none() {
        held = known(reader.held(&caller, Freshness::Now).await)?.unwrap_or_default();
    }
    let grant = started_under(&held, namespace);
    let patch = patch(request, grant, &caller.username);
    Ok(Admitted { patch: Some(patch), done: "marked what is started", ..Admitted::default() })
}

/// What marks an object: of the grant that it is started under, or of none, whatever its manifest says.
fn patch(request: &Request, grant: Option<&Grant>, username: &str) -> Patch {
    let Some(object) = request.object.as_ref() else { return Patch::default() };
    let Ok(object) = serde_json::to_value(object) else { return Patch::default() };
    if request.sub_resource.as_deref() == Some("ephemeralcontainers") {
        let before = request.old_object.as_ref().and_then(|old| serde_json::to_value(old).ok());
        return Patch(in_containers(&object, before.as_ref(), grant));
    }
    let mut operations = in_metadata(&object, &["metadata"], grant, username);
    if request.kind.kind == "Job" {
        // The pods of a job outlive it, if it is deleted without them.
        operations.extend(in_metadata(&object, &["spec", "template", "metadata"], grant, username));
    }
    Patch(operations)
}

fn add(path: &[&str], value: Value) -> PatchOperation {
    let path = PointerBuf::from_tokens(path.iter().copied());
    PatchOperation::Add(AddOperation { path, value })
}

/// Labels and annotations, with the mark in place of any other.
fn in_metadata(
    object: &Value,
    at: &[&str],
    grant: Option<&Grant>,
    username: &str,
) -> Vec<PatchOperation> {
    let metadata = at.iter().try_fold(object, |value, key| value.get(key));
    let present = |field: &str| -> Map<String, Value> {
        let found = metadata.and_then(|metadata| metadata.get(field)).and_then(Value::as_object);
        found.cloned().unwrap_or_default()
    };
    let (mut labels, mut annotations) = (present("labels"), present("annotations"));
    labels.remove(GRANT_LABEL);
    for key in [GRANT_UID, STARTED_BY, TICKET] {
        annotations.remove(key);
    }
    if let Some(grant) = grant {
        labels.insert(GRANT_LABEL.to_owned(), json!(grant.name_any()));
        annotations.insert(GRANT_UID.to_owned(), json!(grant.metadata.uid));
        annotations.insert(STARTED_BY.to_owned(), json!(username));
        if let Some(ticket) = &grant.spec.ticket {
            annotations.insert(TICKET.to_owned(), json!(ticket));
        }
    }
    let mut operations = Vec::new();
    if metadata.is_none_or(Value::is_null) {
        operations.push(add(at, json!({})));
    }
    operations.push(add(&[at, &["labels"]].concat(), Value::Object(labels)));
    operations.push(add(&[at, &["annotations"]].concat(), Value::Object(annotations)));
    operations
}

/// The environment of the ephemeral containers that are new. Those that run already cannot be changed.
fn in_containers(
    object: &Value,
    before: Option<&Value>,
    grant: Option<&Grant>,
) -> Vec<PatchOperation> {
    let containers = |pod: &Value| -> Vec<Value> {
        let list = pod.pointer("/spec/ephemeralContainers").and_then(Value::as_array);
        list.cloned().unwrap_or_default()
    };
    let known: Vec<Value> = before.map(containers).unwrap_or_default();
    let is_new = |(_, container): &(usize, Value)| {
        !known.iter().any(|known| known.get("name") == container.get("name"))
    };
    let marked = |(index, container): (usize, Value)| {
        let present = container.get("env").and_then(Value::as_array).cloned().unwrap_or_default();
        let is_mark = |variable: &Value| {
            let name = variable.get("name").and_then(Value::as_str);
            name == Some(GRANT_VARIABLE) || name == Some(GRANT_UID_VARIABLE)
        };
        let mut env: Vec<Value> = present.into_iter().filter(|v| !is_mark(v)).collect();
        if let Some(grant) = grant {
            env.push(json!({"name": GRANT_VARIABLE, "value": grant.name_any()}));
            env.push(json!({"name": GRANT_UID_VARIABLE, "value": grant.metadata.uid}));
        }
        add(&["spec", "ephemeralContainers", &index.to_string(), "env"], json!(env))
    };
    containers(object).into_iter().enumerate().filter(is_new).map(marked).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn grant() -> Grant {
        serde_json::from_value(json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "Grant",
            "metadata": {"name": "shop-fix-1234567890", "uid": "g-1"},
            "spec": {
                "request": {"namespace": "shop", "name": "fix", "uid": "r-1"},
                "policy": {"name": "p", "uid": "p-1", "generation": 1},
                "subject": {"kind": "User", "name": "alice"},
                "target": {"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}}},
                "startsAt": "2026-11-21T12:00:00Z", "expiresAt": "2026-11-21T13:00:00Z",
                "ticket": "INC1", "rulesHash": "h",
            },
        }))
        .unwrap()
    }

    /// What is stored of `object`.
    fn stored(object: Value, change: &Value, grant: Option<&Grant>) -> Value {
        let request = testing::request(&object, change);
        let mut stored = object;
        json_patch::patch(&mut stored, &patch(&request, grant, "alice")).unwrap();
        stored
    }

    fn pod(labels: &Value) -> Value {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": labels}, "spec": {}})
    }

    #[test]
    fn a_pod_is_marked_whatever_its_manifest_says() {
        let claimed = pod(&json!({"app": "web", GRANT_LABEL: "another"}));
        let marked = stored(claimed.clone(), &json!({}), Some(&grant()));
        assert_eq!(
            marked["metadata"]["labels"],
            json!({"app": "web", GRANT_LABEL: "shop-fix-1234567890"})
        );
        let annotations = json!({GRANT_UID: "g-1", STARTED_BY: "alice", TICKET: "INC1"});
        assert_eq!(marked["metadata"]["annotations"], annotations);
        assert_eq!(stored(claimed, &json!({}), None)["metadata"]["labels"], json!({"app": "web"}));
    }

    #[test]
    fn a_job_and_its_pods_are_marked() {
        let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"},
            "spec": {"template": {"spec": {}}}});
        let marked = stored(job, &json!({}), Some(&grant()));
        for labels in ["/metadata/labels", "/spec/template/metadata/labels"] {
            let expected = json!({GRANT_LABEL: "shop-fix-1234567890"});
            assert_eq!(marked.pointer(labels), Some(&expected), "{labels}");
        }
    }

    #[test]
    fn an_ephemeral_container_is_marked_when_it_is_new() {
        let of = |containers: Value| {
            let mut pod = pod(&json!({}));
            pod["spec"]["ephemeralContainers"] = containers;
            pod
        };
        let old = json!({"name": "old", "env": []});
        let claimed = json!({"name": "new", "env": [{"name": "A", "value": "1"}, {"name": GRANT_VARIABLE, "value": "another"}]});
        let change = json!({"subResource": "ephemeralcontainers", "operation": "UPDATE", "oldObject": of(json!([old]))});
        let marked = stored(of(json!([old, claimed])), &change, Some(&grant()));
        let env = json!([{"name": "A", "value": "1"},
            {"name": GRANT_VARIABLE, "value": "shop-fix-1234567890"}, {"name": GRANT_UID_VARIABLE, "value": "g-1"}]);
        assert_eq!(
            marked["spec"]["ephemeralContainers"],
            json!([old, {"name": "new", "env": env}])
        );
        assert_eq!(marked["metadata"], of(json!([]))["metadata"], "labels cannot be written there");
    }
}
