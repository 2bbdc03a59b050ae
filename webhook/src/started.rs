//! What the holder of a right starts carries which right that was: a workload and its pods by a label, an ephemeral
//! container by its environment. Where the policy has it end with the right, pods and jobs also end by themselves: the
//! kubelet and the controllers of Kubernetes need nothing of Lapse for that.
//!
//! The API server asks only for those who hold a right, in namespaces that opted in. The mark is written over
//! whatever the client sent. Whoever holds none and copies what carries a mark gets a copy without it; an admission
//! policy keeps everybody from writing one.

use std::sync::Arc;

use json_patch::{Patch, diff};
use kube::core::DynamicObject;
use lapse_cluster::clock;
use lapse_crds::{GRANT_LABEL, GRANT_UID, GRANT_UID_VARIABLE, GRANT_VARIABLE, STARTED_BY, TICKET};
use lapse_engine::session::{
    RunsWithin, may_be_disguised, runs_within, started_under, taken_for_holder,
};
use lapse_engine::summary::GrantSummary;
use serde_json::{Map, Value, json};

use crate::admission::{Admission, caller};
use crate::answer::{Admitted, NotAdmitted, known};
use crate::asked::Request;

/// Marks what is being started.
pub(crate) async fn mark(
    admission: &Admission,
    request: &Request,
) -> Result<Admitted, NotAdmitted> {
    let caller = caller(&request.user_info)?;
    let namespace = request.namespace.as_deref().unwrap_or_default();
    let allows_it = |held: &[Arc<GrantSummary>]| started_under(held, namespace).is_some();
    let held = known(admission.held(&caller, allows_it).await)?;
    let held = held.unwrap_or_default();
    // The API server asks for holders alone: what a person starts by a right that is not seen yet would outlive it.
    if held.is_empty() && !may_be_disguised(&caller) {
        return Err(NotAdmitted::of_a_holder_not_seen(&caller.username));
    }
    let grant = started_under(&held, namespace);
    let bounds = grant.and_then(|grant| runs_within(grant, clock::now()));
    let patch = patch(request, grant, bounds, &caller.username);
    let taken_for =
        grant.filter(|_| bounds.is_some()).and_then(|grant| taken_for_holder(grant, &caller));
    Ok(Admitted {
        patch: Some(patch),
        warnings: taken_for.into_iter().collect(),
        done: "marked what is started",
        ..Admitted::default()
    })
}

/// Takes the mark off. The API server asks for those who hold no right.
pub(crate) fn unmark(request: &Request) -> Admitted {
    let patch = patch(request, None, None, "");
    let warning = "it is stored without the label lapse.dev/grant and the annotations beside it, which say what somebody started while they held access through Lapse: this does not count as theirs";
    Admitted {
        patch: Some(patch),
        warnings: vec![warning.to_owned()],
        done: "took the mark off a copy",
        ..Admitted::default()
    }
}

/// What marks an object: of the grant that it is started under, or of none, whatever its manifest says.
fn patch(
    request: &Request,
    grant: Option<&GrantSummary>,
    bounds: Option<RunsWithin>,
    username: &str,
) -> Patch {
    let value = |object: &DynamicObject| serde_json::to_value(object).ok();
    let Some(before) = request.object.as_ref().and_then(value) else { return Patch::default() };
    let mut after = before.clone();
    if request.sub_resource.as_deref() == Some("ephemeralcontainers") {
        let old = request.old_object.as_ref().and_then(value).unwrap_or_default();
        mark_containers(&mut after, &old, grant);
    } else {
        let Shape { marked, ending, pods } = Shape::of(&request.kind.kind);
        for place in marked {
            mark_metadata(after.pointer_mut(place), grant, username);
        }
        if let Some(RunsWithin { active_s, grace_s }) = bounds {
            for spec in ending {
                lower(after.pointer_mut(spec), "activeDeadlineSeconds", active_s);
            }
            lower(after.pointer_mut(pods), "terminationGracePeriodSeconds", i64::from(grace_s));
        }
    }
    diff(&before, &after)
}

/// Where a workload says what, as JSON pointers.
struct Shape {
    /// The objects that carry the mark: itself, and what it makes. Pods outlive what made them, if that is deleted
    /// without them.
    marked: &'static [&'static str],
    /// The specs that may have a deadline. What is to run for ever has none: Kubernetes refuses it.
    ending: &'static [&'static str],
    /// The spec of its pods.
    pods: &'static str,
}

impl Shape {
    fn of(kind: &str) -> Self {
        match kind {
            "Pod" => Self { marked: &[""], ending: &["/spec"], pods: "/spec" },
            "Job" => Self {
                marked: &["", "/spec/template"],
                ending: &["/spec", "/spec/template/spec"],
                pods: "/spec/template/spec",
            },
            "CronJob" => Self {
                marked: &["", "/spec/jobTemplate", "/spec/jobTemplate/spec/template"],
                ending: &["/spec/jobTemplate/spec", "/spec/jobTemplate/spec/template/spec"],
                pods: "/spec/jobTemplate/spec/template/spec",
            },
            _ => Self { marked: &["", "/spec/template"], ending: &[], pods: "/spec/template/spec" },
        }
    }
}

/// Lowers a number of seconds to the most that it may be.
fn lower(spec: Option<&mut Value>, field: &str, most: i64) {
    let Some(spec) = spec.and_then(Value::as_object_mut) else { return };
    let said = spec.get(field).and_then(Value::as_i64);
    spec.insert(field.to_owned(), json!(said.map_or(most, |said| said.min(most))));
}

/// Labels and annotations of an object, with the mark in place of any other.
fn mark_metadata(object: Option<&mut Value>, grant: Option<&GrantSummary>, username: &str) {
    let Some(object) = object.and_then(Value::as_object_mut) else { return };
    let ticket = grant.and_then(|grant| grant.live.as_ref()?.ticket.as_ref());
    let marks = [
        ("labels", GRANT_LABEL, grant.map(|grant| json!(&*grant.name))),
        ("annotations", GRANT_UID, grant.map(|grant| json!(&*grant.uid))),
        ("annotations", STARTED_BY, grant.map(|_| json!(username))),
        ("annotations", TICKET, ticket.map(|ticket| json!(ticket))),
    ];
    for (field, key, mark) in marks {
        if let Some(mark) = mark {
            let present = map_in(object, "metadata").and_then(|metadata| map_in(metadata, field));
            present.map(|present| present.insert(key.to_owned(), mark));
        } else if let Some(Value::Object(metadata)) = object.get_mut("metadata")
            && let Some(Value::Object(present)) = metadata.get_mut(field)
        {
            present.remove(key);
        }
    }
}

/// The object in a field, which is made if there is none.
fn map_in<'a>(
    object: &'a mut Map<String, Value>,
    field: &str,
) -> Option<&'a mut Map<String, Value>> {
    let value = object.entry(field).or_insert(Value::Null);
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut()
}

/// The environment of the ephemeral containers that are new. Those that run already cannot be changed.
fn mark_containers(pod: &mut Value, old: &Value, grant: Option<&GrantSummary>) {
    const CONTAINERS: &str = "/spec/ephemeralContainers";
    let known = old.pointer(CONTAINERS).and_then(Value::as_array);
    let known: Vec<_> = known.into_iter().flatten().map(|container| &container["name"]).collect();
    let containers = pod.pointer_mut(CONTAINERS).and_then(Value::as_array_mut);
    let is_new = |container: &&mut Value| !known.contains(&&container["name"]);
    for container in containers.into_iter().flatten().filter(is_new) {
        let Some(container) = container.as_object_mut() else { continue };
        let present = container.get("env").and_then(Value::as_array).cloned().unwrap_or_default();
        let is_mark = |variable: &Value| {
            [GRANT_VARIABLE, GRANT_UID_VARIABLE].iter().any(|mark| variable["name"] == *mark)
        };
        let mut env: Vec<Value> = present.into_iter().filter(|v| !is_mark(v)).collect();
        if let Some(grant) = grant {
            env.push(json!({"name": GRANT_VARIABLE, "value": &*grant.name}));
            env.push(json!({"name": GRANT_UID_VARIABLE, "value": &*grant.uid}));
        }
        if !env.is_empty() || container.contains_key("env") {
            container.insert("env".to_owned(), json!(env));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn grant() -> GrantSummary {
        let grant: lapse_crds::Grant = serde_json::from_value(json!({
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
        .unwrap();
        GrantSummary::of(&grant)
    }

    /// What is stored of `object`.
    fn stored(object: Value, change: &Value, grant: Option<&GrantSummary>) -> Value {
        bounded(object, change, grant, None)
    }

    fn bounded(
        object: Value,
        change: &Value,
        grant: Option<&GrantSummary>,
        bounds: Option<RunsWithin>,
    ) -> Value {
        let request = testing::request(&object, change);
        let mut stored = object;
        json_patch::patch(&mut stored, &patch(&request, grant, bounds, "alice")).unwrap();
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
    fn what_makes_pods_is_marked_with_them() {
        for kind in ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"] {
            let object = json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "w"},
                "spec": {"template": {"metadata": {"labels": {"app": "web"}}, "spec": {}}}});
            let bounds = Some(RunsWithin { active_s: 60, grace_s: 10 });
            let marked = bounded(object, &json!({}), Some(&grant()), bounds);
            assert_eq!(marked["metadata"]["labels"][GRANT_LABEL], "shop-fix-1234567890", "{kind}");
            let template = json!({
                "metadata": {
                    "labels": {"app": "web", GRANT_LABEL: "shop-fix-1234567890"},
                    "annotations": {GRANT_UID: "g-1", STARTED_BY: "alice", TICKET: "INC1"},
                },
                "spec": {"terminationGracePeriodSeconds": 10},
            });
            assert_eq!(marked["spec"]["template"], template, "{kind}: it has no deadline");
        }
        let cron_job = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "c"},
            "spec": {"jobTemplate": {"spec": {"template": {"spec": {}}}}}});
        let bounds = Some(RunsWithin { active_s: 60, grace_s: 10 });
        let marked = bounded(cron_job, &json!({}), Some(&grant()), bounds);
        for object in ["", "/spec/jobTemplate", "/spec/jobTemplate/spec/template"] {
            let label =
                marked.pointer(object).map(|object| &object["metadata"]["labels"][GRANT_LABEL]);
            assert_eq!(label, Some(&json!("shop-fix-1234567890")), "{object}");
        }
        let job = &marked["spec"]["jobTemplate"]["spec"];
        assert_eq!(job["activeDeadlineSeconds"], 60);
        let pod = json!({"activeDeadlineSeconds": 60, "terminationGracePeriodSeconds": 10});
        assert_eq!(job["template"]["spec"], pod);
    }

    #[test]
    fn a_pod_that_ends_with_its_right_ends_by_itself() {
        let bounds = Some(RunsWithin { active_s: 60, grace_s: 10 });
        for (asked, given) in [
            (json!({}), json!({"activeDeadlineSeconds": 60, "terminationGracePeriodSeconds": 10})),
            (
                json!({"activeDeadlineSeconds": 3600, "terminationGracePeriodSeconds": 31_536_000}),
                json!({"activeDeadlineSeconds": 60, "terminationGracePeriodSeconds": 10}),
            ),
            (
                json!({"activeDeadlineSeconds": 5, "terminationGracePeriodSeconds": 1}),
                json!({"activeDeadlineSeconds": 5, "terminationGracePeriodSeconds": 1}),
            ),
        ] {
            let mut asking = pod(&json!({}));
            asking["spec"] = asked.clone();
            let stored = bounded(asking.clone(), &json!({}), Some(&grant()), bounds);
            assert_eq!(stored["spec"], given, "{asked}");
            let kept = bounded(asking, &json!({}), Some(&grant()), None);
            assert_eq!(kept["spec"], asked, "what may go on is left as it is");
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
