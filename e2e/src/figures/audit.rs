//! What the controller wrote, from the audit log of the API server.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

const CONTROLLER: &str = "system:serviceaccount:lapse-system:lapse-controller";
const WRITES: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];

/// The writes of the controller, by verb and resource.
pub(super) fn writes(log: &Path) -> Result<BTreeMap<String, usize>> {
    let text = std::fs::read_to_string(log).context("reading the audit log")?;
    let mut writes = BTreeMap::new();
    // The last line may be half written.
    for event in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        if let Some(write) = write(&event) {
            *writes.entry(write).or_insert(0) += 1;
        }
    }
    Ok(writes)
}

fn write(event: &Value) -> Option<String> {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
    let verb = text("/verb").filter(|verb| WRITES.contains(verb))?;
    let is_controllers = text("/user/username") == Some(CONTROLLER);
    let is_done = text("/stage") == Some("ResponseComplete");
    let resource = text("/objectRef/resource")?;
    let sub = text("/objectRef/subresource").map(|sub| format!("/{sub}")).unwrap_or_default();
    (is_controllers && is_done).then(|| format!("{verb} {resource}{sub}"))
}

/// What came in between.
pub(super) fn difference(
    before: &BTreeMap<String, usize>,
    after: &BTreeMap<String, usize>,
) -> Vec<(String, usize)> {
    let added = |what: &String, count: usize| count - before.get(what).copied().unwrap_or(0);
    after.iter().map(|(what, count)| (what.clone(), added(what, *count))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_finished_writes_of_the_controller_count() {
        let event = |user: &str, verb: &str, stage: &str| {
            json!({
                "user": {"username": user}, "verb": verb, "stage": stage,
                "objectRef": {"resource": "grants", "subresource": "status"},
            })
        };
        let counted = event(CONTROLLER, "update", "ResponseComplete");
        assert_eq!(write(&counted).as_deref(), Some("update grants/status"));
        assert_eq!(write(&event(CONTROLLER, "get", "ResponseComplete")), None);
        assert_eq!(write(&event("alice", "update", "ResponseComplete")), None);
        assert_eq!(write(&event(CONTROLLER, "update", "RequestReceived")), None);
    }
}
