//! What was asked of an API server, from its audit log.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use lapse_cluster::rights::{Access, Component};
use serde_json::Value;

use crate::plane::install::NAMESPACE;

/// The verbs that write.
pub(crate) const WRITES: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];

/// A request about an object that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Who asked, as the API server authenticated them.
    pub user: String,
    /// For what: one namespace and one name, where the request named them.
    pub access: Access,
    /// The status that was answered, such as 403. A watch has answered once it began.
    pub code: u64,
    /// When it came.
    pub received: DateTime<Utc>,
    /// When it was answered.
    pub answered: DateTime<Utc>,
}

/// The user that a component is.
#[must_use]
pub fn user(component: Component) -> String {
    format!("system:serviceaccount:{NAMESPACE}:{}", component.account())
}

/// The requests that were answered so far, in the order of their answers.
///
/// # Errors
/// If the log cannot be read.
pub fn read(log: &Path) -> Result<Vec<Asked>> {
    read_on(log, &mut 0)
}

/// Those that were answered since this was read last, up to this byte.
pub(crate) fn read_on(log: &Path, from: &mut u64) -> Result<Vec<Asked>> {
    let mut file = File::open(log).context("reading the audit log")?;
    file.seek(SeekFrom::Start(*from)).context("reading the audit log")?;
    let mut text = String::new();
    file.read_to_string(&mut text).context("reading the audit log")?;
    // The last line may be half written.
    let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
    *from += u64::try_from(whole.len())?;
    let events = whole.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    Ok(events.filter_map(|event| asked(&event)).collect())
}

fn asked(event: &Value) -> Option<Asked> {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    // A watch goes on: that it was let in is known when it begins.
    let is_watch = text("/verb")? == "watch";
    let done = if is_watch { "ResponseStarted" } else { "ResponseComplete" };
    let code = event.pointer("/responseStatus/code").and_then(Value::as_u64)?;
    if text("/stage")? != done && code < 400 {
        return None;
    }
    let sub = text("/objectRef/subresource").map(|sub| format!("/{sub}")).unwrap_or_default();
    let access = Access {
        namespace: text("/objectRef/namespace"),
        group: text("/objectRef/apiGroup").unwrap_or_default(),
        resource: text("/objectRef/resource")? + &sub,
        verb: text("/verb")?,
        name: text("/objectRef/name"),
    };
    let (received, answered) = (text("/requestReceivedTimestamp")?, text("/stageTimestamp")?);
    Some(Asked {
        user: text("/user/username")?,
        access,
        code,
        received: received.parse().ok()?,
        answered: answered.parse().ok()?,
    })
}

/// The writes of the controller, by verb and resource.
pub(crate) fn writes(log: &Path) -> Result<BTreeMap<String, usize>> {
    let controller = user(Component::Controller);
    let mut writes = BTreeMap::new();
    for Asked { user, access, .. } in read(log)? {
        if user == controller && WRITES.contains(&access.verb.as_str()) {
            *writes.entry(format!("{} {}", access.verb, access.resource)).or_insert(0) += 1;
        }
    }
    Ok(writes)
}

/// What came in between.
pub(crate) fn difference(
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

    fn event(verb: &str, stage: &str, code: u64) -> Value {
        json!({
            "user": {"username": "alice"}, "verb": verb, "stage": stage,
            "responseStatus": {"code": code},
            "requestReceivedTimestamp": "2026-03-02T09:00:00.000001Z",
            "stageTimestamp": "2026-03-02T09:00:00.250000Z",
            "objectRef": {
                "apiGroup": "lapse.dev", "resource": "grants", "subresource": "status", "name": "g",
            },
        })
    }

    #[test]
    fn a_request_is_what_rbac_was_asked() {
        let asked = asked(&event("update", "ResponseComplete", 200)).unwrap();
        assert_eq!(asked.access.to_string(), "update grants/status.lapse.dev named g everywhere");
        assert_eq!((asked.user.as_str(), asked.code), ("alice", 200));
        assert_eq!((asked.answered - asked.received).num_microseconds(), Some(249_999));
    }

    #[test]
    fn each_request_counts_once_when_its_answer_is_known() {
        assert!(asked(&event("update", "ResponseStarted", 200)).is_none());
        assert!(asked(&event("watch", "ResponseComplete", 200)).is_none());
        assert!(asked(&event("watch", "ResponseStarted", 200)).is_some());
        assert!(asked(&event("watch", "ResponseComplete", 403)).is_some());
        let page = json!({
            "user": {"username": "alice"}, "verb": "get", "stage": "ResponseComplete",
            "responseStatus": {"code": 200}, "requestURI": "/metrics",
        });
        assert!(asked(&page).is_none(), "it is about no object");
    }
}
