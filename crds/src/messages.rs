//! What the definitions say of what they refuse, in one list that people can read.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// The message of each rule, with where it holds. How the API server puts it to people, an end-to-end test shows.
fn rules(path: &str, schema: &Value, found: &mut BTreeMap<String, BTreeSet<String>>) {
    // Of a pattern people read the expression alone: one stands where a rule in words costs more than the API server
    // allows, and the list shows which.
    if let Some(pattern) = schema["pattern"].as_str() {
        found.entry(format!("should match '{pattern}'")).or_default().insert(path.to_owned());
    }
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let message = rule["message"].as_str();
        let message = message.unwrap_or_else(|| panic!("{path}: a rule without words: {rule}"));
        found.entry(message.to_owned()).or_default().insert(path.to_owned());
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        rules(&format!("{path}.{name}"), property, found);
    }
    for part in ["items", "additionalProperties"] {
        if let Some(part) = schema.get(part) {
            rules(&format!("{path}[]"), part, found);
        }
    }
}

#[test]
fn of_rules() {
    let mut found = BTreeMap::new();
    for crd in super::all() {
        let crd = serde_json::to_value(&crd).unwrap();
        let schema = crd.pointer("/spec/versions/0/schema/openAPIV3Schema").unwrap();
        rules(crd.pointer("/spec/names/kind").unwrap().as_str().unwrap(), schema, &mut found);
    }
    let lines = found.iter().map(|(message, paths)| {
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        format!("{message}\n    {}", paths.join("\n    "))
    });
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"));
}

/// What cannot be read as one of the types.
#[test]
fn of_texts() {
    let lines = [
        "1d".parse::<super::GrantDuration>().unwrap_err().to_string(),
        serde_json::from_str::<super::Timestamp>("\"tomorrow\"").unwrap_err().to_string(),
    ];
    insta::assert_snapshot!(lines.join("\n"));
}
