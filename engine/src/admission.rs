//! Whether the API server holds the admission objects of the chart as the chart has them.
//!
//! Who may write admission policies can take one away, or have it enforce nothing: no admission is asked about that. So
//! it is noticed, and which field it is.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

/// An admission object as the chart renders it, but for what the API server or the webhook fills in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedAdmission {
    /// Its kind.
    pub kind: AdmissionKind,
    /// Its name.
    pub name: String,
    /// The spec of a policy or a binding; the webhooks of a configuration, by name and without `clientConfig`.
    pub content: Value,
}

/// The kinds of objects that admission consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub enum AdmissionKind {
    /// Who asks and who decides is stamped.
    MutatingWebhookConfiguration,
    /// A rule that the API server enforces by itself.
    ValidatingAdmissionPolicy,
    /// What puts such a rule to work.
    ValidatingAdmissionPolicyBinding,
    /// What people and the controller submit is judged.
    ValidatingWebhookConfiguration,
}

/// What is not as it must be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdmissionFaults {
    /// The objects that are gone, each as `Kind name`.
    pub missing: Vec<String>,
    /// The objects that are changed, each with the fields.
    pub changed: Vec<String>,
}

/// Compares what stands, by kind and name, with what is expected.
#[must_use]
pub fn faults(
    expected: &[ExpectedAdmission],
    standing: &BTreeMap<(AdmissionKind, String), Value>,
) -> AdmissionFaults {
    let mut faults = AdmissionFaults::default();
    for ExpectedAdmission { kind, name, content } in expected {
        match standing.get(&(*kind, name.clone())) {
            None => faults.missing.push(format!("{kind:?} {name}")),
            Some(found) => {
                let fields = differences(content, found);
                if !fields.is_empty() {
                    faults.changed.push(format!("{kind:?} {name}: {}", fields.join(", ")));
                }
            }
        }
    }
    faults
}

/// What the API server fills in where nothing is said (`k8s.io/api/admissionregistration/v1`).
const DEFAULTS: [(&str, &str); 4] = [
    ("failurePolicy", "Fail"),
    ("matchPolicy", "Equivalent"),
    ("reinvocationPolicy", "Never"),
    ("scope", "*"),
];
/// The same, in seconds.
const DEFAULT_TIMEOUT: i64 = 10;

/// The fields in which an object differs from what is expected, each by its path. That a list has other entries, or in
/// another order, is a difference of the list.
fn differences(expected: &Value, found: &Value) -> Vec<String> {
    let mut paths = Vec::new();
    compare("", &plain(expected), &plain(found), &mut paths);
    paths.sort();
    paths
}

fn compare(path: &str, expected: &Value, found: &Value, paths: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            let of =
                |map: &Map<String, Value>, key: &str| map.get(key).cloned().unwrap_or_default();
            let more = found.keys().filter(|key| !expected.contains_key(*key));
            for key in expected.keys().chain(more) {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                compare(&path, &of(expected, key), &of(found, key), paths);
            }
        }
        (expected, found) if expected == found => {}
        _ => paths.push(path.to_owned()),
    }
}

/// Without what says nothing: defaults, and what is empty.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| (key, plain(value)));
            let says = fields.filter(|(key, value)| !is_default(key, value));
            Value::Object(says.map(|(key, value)| (key.clone(), value)).collect())
        }
        Value::Array(items) => items.iter().map(plain).collect(),
        other => other.clone(),
    }
}

fn is_default(key: &str, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty() || DEFAULTS.contains(&(key, text)),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Number(number) => {
            key == "timeoutSeconds" && number.as_i64() == Some(DEFAULT_TIMEOUT)
        }
        Value::Bool(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn expected() -> Value {
        json!({
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [{"apiGroups": ["lapse.dev"], "operations": ["CREATE"], "resources": ["grants"]}]},
            "matchConditions": [{"name": "a", "expression": "true"}],
            "validations": [{"expression": "false", "reason": "Forbidden"}],
            "timeoutSeconds": 5,
        })
    }

    /// What the API server of today fills in, and nothing else, is no difference.
    #[test]
    fn defaults_are_no_difference() {
        let found = json!({
            "failurePolicy": "Fail",
            "matchConstraints": {
                "matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {},
                "resourceRules": [{"apiGroups": ["lapse.dev"], "operations": ["CREATE"], "resources": ["grants"], "scope": "*"}],
            },
            "matchConditions": [{"name": "a", "expression": "true"}],
            "validations": [{"expression": "false", "reason": "Forbidden"}],
            "variables": null,
            "timeoutSeconds": 5,
            "reinvocationPolicy": "Never",
        });
        assert_eq!(differences(&expected(), &found), [""; 0]);
        assert_eq!(differences(&json!({"timeoutSeconds": 10}), &json!({})), [""; 0]);
    }

    #[test]
    fn what_is_gone_and_what_is_changed_are_two_things() {
        let policy = AdmissionKind::ValidatingAdmissionPolicy;
        let binding = AdmissionKind::ValidatingAdmissionPolicyBinding;
        let object =
            |kind, name: &str, content| ExpectedAdmission { kind, name: name.to_owned(), content };
        let deny = json!({"policyName": "a", "validationActions": ["Deny"]});
        let all = [
            object(policy, "a", expected()),
            object(binding, "a", deny.clone()),
            object(policy, "b", expected()),
            object(policy, "c", expected()),
        ];
        let audited = json!({"policyName": "a", "validationActions": ["Audit", "Deny"]});
        let mut weak = expected();
        weak["failurePolicy"] = json!("Ignore");
        weak["validations"] = json!([]);
        let standing = BTreeMap::from([
            ((policy, "a".to_owned()), expected()),
            ((binding, "a".to_owned()), audited),
            ((policy, "b".to_owned()), weak),
            // A name alone is no object of another kind.
            ((binding, "c".to_owned()), deny),
        ]);
        let AdmissionFaults { missing, changed } = faults(&all, &standing);
        assert_eq!(missing, ["ValidatingAdmissionPolicy c"]);
        assert_eq!(
            changed,
            [
                "ValidatingAdmissionPolicyBinding a: validationActions",
                "ValidatingAdmissionPolicy b: failurePolicy, validations",
            ]
        );
    }

    #[rstest]
    #[case("/failurePolicy", json!("Ignore"), "failurePolicy")]
    #[case("/timeoutSeconds", json!(1), "timeoutSeconds")]
    #[case("/timeoutSeconds", json!(10), "timeoutSeconds")]
    #[case("/matchConditions/0/expression", json!("false"), "matchConditions")]
    #[case("/matchConditions", json!([]), "matchConditions")]
    #[case("/validations/0/expression", json!("true"), "validations")]
    #[case("/matchConstraints/resourceRules/0/resources", json!(["none"]), "matchConstraints.resourceRules")]
    #[case("/matchConstraints/resourceRules/0/scope", json!("Cluster"), "matchConstraints.resourceRules")]
    #[case("/matchConstraints/namespaceSelector", json!({"matchLabels": {"a": "b"}}), "matchConstraints.namespaceSelector")]
    #[case("/matchConstraints/objectSelector", json!({"matchLabels": {"a": "b"}}), "matchConstraints.objectSelector")]
    #[case("/matchConstraints/matchPolicy", json!("Exact"), "matchConstraints.matchPolicy")]
    fn what_is_changed_is_named(#[case] at: &str, #[case] value: Value, #[case] path: &str) {
        let mut found = expected();
        let (parent, key) = at.rsplit_once('/').unwrap();
        found.pointer_mut(parent).unwrap()[key] = value;
        assert_eq!(differences(&expected(), &found), [path]);
        assert_eq!(differences(&found, &expected()), [path], "in both directions");
    }
}
