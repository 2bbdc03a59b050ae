//! What was done by which right, from the audit log of the API server (audit.k8s.io/v1, a line of JSON for each event).
//!
//! The API server writes by which binding it allowed a request (`authorization.k8s.io/reason`), and the bindings of Lapse are
//! named after their Grants. So what somebody was allowed by another right is not counted: for that they did not need Lapse.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use kube::ResourceExt as _;
use lapse_crds::{Grant, OBJECT_PREFIX};
use lapse_engine::rules::Right;
use serde::Deserialize;

use super::lines;
use super::usage::Usage;
use crate::fault::Fault;

/// How many different rights are kept for each Grant. More than any role has.
const MOST_RIGHTS: usize = 4096;
/// Where the API server says by which binding it allowed something.
const REASON: &str = "authorization.k8s.io/reason";

/// An event, as far as it matters here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    stage: String,
    verb: String,
    #[serde(default)]
    object_ref: Option<ObjectRef>,
    #[serde(default, rename = "requestURI")]
    request_uri: String,
    #[serde(default)]
    annotations: HashMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ObjectRef {
    #[serde(default)]
    resource: String,
    #[serde(default)]
    subresource: String,
    #[serde(default)]
    api_group: String,
}

/// What was done by the rights of Lapse.
#[derive(Debug, Default)]
pub(super) struct Used {
    by_grant: HashMap<String, Done>,
    /// How many events there were.
    pub(super) events: u64,
    /// How many lines were none.
    pub(super) passed_over: u64,
}

/// What was done by one right.
#[derive(Clone, Debug, Default)]
pub(super) struct Done {
    pub(super) calls: u64,
    pub(super) rights: BTreeSet<Right>,
}

/// Reads audit logs; `-` is standard input.
pub(super) fn read(files: &[PathBuf]) -> Result<Used, Fault> {
    let mut used = Used::default();
    for path in files {
        let before = used.events;
        let failed = |error| Fault::Other(format!("reading {}: {error}", path.display()));
        let log = lines::open(path).map_err(failed)?;
        lines::each(log, |line| used.line(line)).map_err(failed)?;
        if used.events == before {
            return Err(Fault::Other(format!(
                "{} has no event of audit.k8s.io/v1, one per line as JSON (--audit-log-format=json)",
                path.display()
            )));
        }
    }
    Ok(used)
}

impl Used {
    fn line(&mut self, line: Option<&[u8]>) {
        match line.map(serde_json::from_slice::<Event>) {
            Some(Ok(event)) => self.note(&event),
            Some(Err(_)) | None => self.passed_over += 1,
        }
    }

    fn note(&mut self, event: &Event) {
        self.events += 1;
        let reason = event.annotations.get(REASON).map(String::as_str).unwrap_or_default();
        let Some(grant) = grant_in(reason) else { return };
        let done = self.by_grant.entry(grant.to_owned()).or_default();
        // A watch is told when it begins, too.
        done.calls += u64::from(event.stage == "ResponseComplete");
        if done.rights.len() < MOST_RIGHTS {
            done.rights.extend(right(event));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_grant.is_empty()
    }

    /// What of a Grant was used.
    pub(super) fn by(&self, grant: &Grant) -> Usage {
        let nothing = Done::default();
        Usage::of(grant, self.by_grant.get(&grant.name_any()).unwrap_or(&nothing))
    }
}

/// The Grant in `RBAC: allowed by RoleBinding "lapse:GRANT/NAMESPACE" of ClusterRole "edit" to User "alice"`, as
/// `k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac` writes it.
fn grant_in(reason: &str) -> Option<&str> {
    let rest = reason.strip_prefix("RBAC: allowed by ")?;
    let rest = rest
        .strip_prefix("RoleBinding \"")
        .or_else(|| rest.strip_prefix("ClusterRoleBinding \""))?;
    let name = rest.split_once('"')?.0;
    name.split('/').next()?.strip_prefix(OBJECT_PREFIX)
}

fn right(event: &Event) -> Option<Right> {
    let verb = event.verb.clone();
    match &event.object_ref {
        Some(ObjectRef { resource, subresource, api_group }) if !resource.is_empty() => {
            let of = if subresource.is_empty() { String::new() } else { format!("/{subresource}") };
            let resource = format!("{resource}{of}");
            Some(Right::Resource { verb, group: api_group.clone(), resource, name: None })
        }
        _ => {
            let path = event.request_uri.split('?').next().filter(|path| path.starts_with('/'))?;
            Some(Right::Url { verb, path: path.to_owned() })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Read as _};

    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(r#"RBAC: allowed by RoleBinding "lapse:shop-fix-0a/shop" of ClusterRole "edit" to User "alice""#, Some("shop-fix-0a"))]
    #[case(r#"RBAC: allowed by ClusterRoleBinding "lapse:fix-0a" of ClusterRole "edit" to User "alice""#, Some("fix-0a"))]
    #[case(
        r#"RBAC: allowed by RoleBinding "own/shop" of ClusterRole "edit" to User "lapse:fix""#,
        None
    )]
    #[case(r#"a webhook says: RBAC: allowed by RoleBinding "lapse:fix/shop" of"#, None)]
    #[case("", None)]
    fn the_binding_names_the_grant(#[case] reason: &str, #[case] grant: Option<&str>) {
        assert_eq!(grant_in(reason), grant);
    }

    #[test]
    fn lines_that_are_no_events_are_passed_over() {
        let reason = r#"{"authorization.k8s.io/reason": "RBAC: allowed by RoleBinding \"lapse:fix-0a/shop\" of x"}"#;
        let event = |stage: &str, verb: &str, object: &str| {
            format!(
                r#"{{"kind":"Event","stage":"{stage}","verb":"{verb}","requestURI":"/healthz?x=1",{object}"annotations":{reason}}}"#
            )
        };
        let pods = r#""objectRef":{"resource":"pods","subresource":"log"},"#;
        let log = [
            event(
                "ResponseStarted",
                "watch",
                r#""objectRef":{"resource":"deployments","apiGroup":"apps"},"#,
            ),
            event("ResponseComplete", "get", pods),
            event("ResponseComplete", "get", pods),
            event("ResponseComplete", "get", ""),
            "cut off {".to_owned(),
            String::new(),
        ];
        let mut used = Used::default();
        lines::each(log.join("\n").as_bytes(), |line| used.line(line)).unwrap();
        assert_eq!((used.events, used.passed_over), (4, 1));
        let done = &used.by_grant["fix-0a"];
        assert_eq!(done.calls, 3);
        let rights: Vec<String> = done.rights.iter().map(ToString::to_string).collect();
        assert_eq!(rights, ["get pods/log", "watch deployments.apps", "get URL /healthz"]);
    }

    #[test]
    fn a_line_without_end_is_not_held() {
        let long = std::io::repeat(b'x').take(lines::MOST + 10).chain(&b"\n{}\n"[..]);
        let mut used = Used::default();
        lines::each(BufReader::new(long), |line| used.line(line)).unwrap();
        assert_eq!(used.passed_over, 2);
    }
}
