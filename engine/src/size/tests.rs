use rstest::rstest;
use serde_json::json;

use super::*;

fn request() -> Value {
    json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessRequest",
        "metadata": {"name": "fix", "namespace": "shop"},
        "spec": {
            "reason": "Checkout fails",
            "requester": {"username": "alice", "groups": ["shop-developers"]},
        },
    })
}

fn with(path: &str, value: Value) -> DynamicObject {
    let mut object = request();
    let (parent, field) = path.rsplit_once('/').unwrap();
    object.pointer_mut(parent).unwrap()[field] = value;
    serde_json::from_value(object).unwrap()
}

/// So many entries, with values of so many bytes.
fn entries(count: usize, value: usize) -> Value {
    let entry = |number| (format!("example.com/{number:04}"), json!("x".repeat(value)));
    Value::Object((0..count).map(entry).collect())
}

/// So many field managers, each of so many bytes of names of fields.
fn managers(count: usize, fields: usize) -> Value {
    let manager = |number| {
        json!({
            "manager": format!("m{number}"), "operation": "Apply", "apiVersion": "lapse.dev/v1alpha1",
            "fieldsType": "FieldsV1", "fieldsV1": {format!("f:{}", "x".repeat(fields)): {}},
        })
    };
    (0..count).map(manager).collect()
}

fn refusal(object: &DynamicObject) -> Option<String> {
    check(object, None, Stamps::OF_A_REQUEST).err().map(|error| error.to_string())
}

#[rstest]
#[case::spec("/spec/reason", json!("x".repeat(16 * 1024)), "spec takes 16396 bytes, and at most 16384 are stored (the largest is spec.reason with 16386). Shorten")]
#[case::annotations(
    "/metadata/annotations",
    entries(65, 1),
    "metadata.annotations has 65 entries, and at most 64"
)]
#[case::annotation(
    "/metadata/annotations",
    entries(1, 50_000),
    "metadata.annotations takes 50016 bytes, and at most 49152 are stored (the largest is example.com/0000 with 50016)"
)]
#[case::labels(
    "/metadata/labels",
    entries(33, 1),
    "metadata.labels has 33 entries, and at most 32"
)]
#[case::long_labels(
    "/metadata/labels",
    entries(2, 4096),
    "metadata.labels takes 8224 bytes, and at most 4096"
)]
#[case::managers(
    "/metadata/managedFields",
    managers(33, 1),
    "metadata.managedFields has 33 entries, and at most 32"
)]
#[case::managed_fields(
    "/metadata/managedFields",
    managers(2, 20_000),
    "metadata.managedFields takes 40"
)]
#[case::groups("/spec/requester/groups", json!(vec!["x".repeat(1024); 300]), "(the largest is spec.requester with 308")]
#[case::unknown_key("/metadata/labels", json!({"ä".repeat(10_000): ""}), "with 20000)")]
fn what_is_too_large_is_refused(#[case] path: &str, #[case] value: Value, #[case] words: &str) {
    let error = refusal(&with(path, value)).expect("it is too large");
    assert!(error.contains(words), "{error}");
    assert!(error.len() < 1024, "{} bytes", error.len());
}

#[rstest]
#[case::nothing("/spec/reason", json!("Checkout fails"))]
#[case::annotations("/metadata/annotations", entries(64, 700))]
#[case::labels("/metadata/labels", entries(32, 63))]
#[case::managers("/metadata/managedFields", managers(32, 800))]
#[case::groups("/spec/requester/groups", json!(vec!["x".repeat(50); 2048]))]
#[case::signature("/metadata/annotations", json!({(ATTESTATION): "x".repeat(50_000)}))]
fn what_is_not_is_let_through(#[case] path: &str, #[case] value: Value) {
    assert_eq!(refusal(&with(path, value)), None);
}

/// What admission writes is not what its author has to answer for.
#[test]
fn stamps_are_no_part_of_what_was_written() {
    let rules = "x".repeat(17_000);
    let object = with("/spec/rules", json!(rules));
    check(&object, None, Stamps::OF_A_DECISION).unwrap();
    check(&object, None, Stamps::OF_A_REQUEST).unwrap_err();
}

/// An earlier release stored larger ones.
#[test]
fn what_is_too_large_may_stay_and_shrink_and_not_grow() {
    let annotations = |bytes| with("/metadata/annotations", entries(1, bytes));
    let large = annotations(60_000);
    let changed = |object: &DynamicObject| check(object, Some(&large), Stamps::OF_A_REQUEST);
    changed(&large).unwrap();
    changed(&annotations(50_000)).unwrap();
    changed(&annotations(60_001)).unwrap_err();
    let mut labelled = large.clone();
    labelled.metadata.labels = Some([("team".to_owned(), "shop".to_owned())].into());
    changed(&labelled).unwrap();
}

/// The largest request that people write by hand or by a tool, applied as kubectl does: the manifest is
/// stored a second time, in an annotation.
#[test]
fn the_largest_request_can_be_applied_by_kubectl() {
    let names = |count: usize| -> Vec<String> {
        (0..count).map(|number| format!("{number:0>60}")).collect()
    };
    let rule = json!({
        "apiGroups": ["apps"], "resources": ["deployments", "statefulsets"], "verbs": ["get", "patch"],
        "resourceNames": names(3),
    });
    let spec = json!({
        "reason": "<".repeat(4096), "ticket": "x".repeat(256), "policy": "x".repeat(253),
        "target": {"kubernetes": {"namespaces": names(64), "rules": vec![rule; 22]}},
    });
    let mut metadata = json!({"name": "x".repeat(253), "labels": entries(32, 63)});
    metadata["annotations"] = entries(12, 240);
    let mut object = json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessRequest", "metadata": metadata, "spec": spec,
    });
    // As kubectl writes it: Go's JSON escapes what could be HTML.
    let applied = object.to_string().replace('<', "\\u003c");
    let key = "kubectl.kubernetes.io/last-applied-configuration";
    object["metadata"]["annotations"][key] = json!(applied);
    let object: DynamicObject = serde_json::from_value(object).unwrap();
    let spec = Part::Spec.of(&object, Stamps::OF_A_REQUEST);
    assert!((15_000..=Part::Spec.most()).contains(&spec), "{spec} bytes are not the largest");
    assert_eq!(refusal(&object), None);
}

#[test]
fn each_part_says_what_to_do() {
    let said = Part::ALL.map(|part| {
        let largest = Some(("spec.reason".to_owned(), part.most()));
        TooLarge { part, size: part.most() + 1, largest }.to_string()
    });
    insta::assert_snapshot!(said.join("\n"));
}
