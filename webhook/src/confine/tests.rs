//! What is refused without a look, and what a cluster that does not answer refuses. What follows from what is
//! stored, the engine tells, and its tests.

use k8s_openapi::api::rbac::v1::RoleBinding;
use lapse_crds::{Grant, RbacKind};
use lapse_engine::grant::ObjectSpec;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::admission::Admission;
use crate::asked::Request;
use crate::testing::{self, now};

fn admission() -> Admission {
    let (keys, key_set) = testing::keys(now());
    testing::admission(keys, key_set)
}

fn grant_object() -> Value {
    json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "Grant",
        "metadata": {"name": "shop-fix-4a49acf8a6", "uid": "grant-1"},
        "spec": {
            "request": {"namespace": "shop", "name": "fix", "uid": "uid-1"},
            "policy": {"name": "shop", "uid": "uid-2", "generation": 1},
            "subject": {"kind": "User", "name": "alice"},
            "target": {"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}, "namespaces": ["shop"]}},
            "startsAt": "2026-11-21T12:00:00Z", "expiresAt": "2026-11-21T13:00:00Z",
            "emergency": false, "rulesHash": "sha256:0",
        },
    })
}

fn binding_object() -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {
            "name": "lapse:shop-fix-4a49acf8a6", "namespace": "shop",
            "labels": {
                "app.kubernetes.io/managed-by": "lapse", "lapse.dev/grant": "shop-fix-4a49acf8a6",
            },
            "annotations": {
                "lapse.dev/grant-uid": "grant-1", "lapse.dev/request-uid": "uid-1",
                "lapse.dev/expires-at": "2026-11-21T13:00:00.000000Z",
            },
        },
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "alice"}],
    })
}

/// A review of this object, with some of its fields replaced.
fn asked(mut object: Value, changes: &Value) -> Request {
    json_patch::merge(&mut object, changes);
    testing::request(&object, &json!({}))
}

#[rstest]
#[case::a_path_for_a_name(json!({"spec": {"request": {"name": "../pods"}}}), "spec.request.name")]
#[case::a_path_for_a_namespace(json!({"spec": {"request": {"namespace": "a/b"}}}), "spec.request.namespace")]
#[case::no_grant(json!({"spec": null}), "cannot be read")]
#[tokio::test]
async fn a_grant_that_cannot_be_read_is_invalid(#[case] changes: Value, #[case] words: &str) {
    let refused = grant(&admission(), &asked(grant_object(), &changes)).await.unwrap_err();
    assert!(matches!(refused, NotAdmitted::Invalid { .. }), "{refused:?}");
    assert!(refused.to_string().contains(words), "{refused}");
}

#[rstest]
#[case::no_label(json!({"metadata": {"labels": {"lapse.dev/grant": null}}}))]
#[case::no_annotation(json!({"metadata": {"annotations": {"lapse.dev/grant-uid": null}}}))]
#[case::neither(json!({"metadata": {"labels": null, "annotations": null}}))]
#[tokio::test]
async fn what_names_no_grant_is_refused(#[case] changes: Value) {
    let made = asked(binding_object(), &changes);
    let refused = object(&admission(), RbacKind::RoleBinding, &made).await.unwrap_err();
    assert!(matches!(refused, NotAdmitted::NotConfirmed(_)), "{refused:?}");
    assert!(refused.to_string().contains("name none"), "{refused}");
}

#[tokio::test]
async fn a_cluster_that_does_not_answer_refuses_for_now() {
    let admission = admission();
    let judged = grant(&admission, &asked(grant_object(), &json!({}))).await;
    assert!(matches!(judged, Err(NotAdmitted::Failed(_))), "{judged:?}");
    let made = asked(binding_object(), &json!({}));
    let judged = object(&admission, RbacKind::RoleBinding, &made).await;
    assert!(matches!(judged, Err(NotAdmitted::Failed(_))), "{judged:?}");
    let decided = json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessDecision",
        "metadata": {"name": "no", "namespace": "shop"},
        "spec": {"request": {"name": "fix", "uid": "uid-1"}, "verdict": "Deny"},
    });
    let gone = json!({"operation": "DELETE", "object": null, "oldObject": decided});
    let judged = decision(&admission, &testing::request(&decided, &gone)).await;
    assert!(matches!(judged, Err(NotAdmitted::Failed(_))), "{judged:?}");
}

/// The binding as the controller sends it is the one that is expected, whatever other admission adds to it.
#[rstest]
#[case::as_sent(json!({}), None)]
#[case::with_a_label_of_others(json!({"metadata": {"labels": {"team": "shop"}}}), None)]
#[case::to_another(
    json!({"subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "mallory"}]}),
    Some("what it gives, or to whom,")
)]
#[case::of_another_role(json!({"roleRef": {"name": "admin"}}), Some("what it gives, or to whom,"))]
#[case::that_says_it_ends_later(
    json!({"metadata": {"annotations": {"lapse.dev/expires-at": "2099-01-01T00:00:00Z"}}}),
    Some("metadata.annotations")
)]
#[case::that_would_stay(json!({"metadata": {"finalizers": ["x/y"]}}), Some("metadata.finalizers"))]
fn a_binding_is_compared_with_the_one_that_is_made(
    #[case] changes: Value,
    #[case] expected: Option<&str>,
) {
    let grant: Grant = serde_json::from_value(grant_object()).unwrap();
    let [spec] = ObjectSpec::all_of(&grant, "lapse-system").try_into().unwrap();
    let made = asked(binding_object(), &changes).object.unwrap();
    // It is one that the API server would take.
    let _: RoleBinding = decode(&made).unwrap();
    assert_eq!(super::object::difference(&grant, &spec, &made).unwrap(), expected);
}
