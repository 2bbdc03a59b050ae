//! What people on hosts have requested and is not decided yet, and what to tell their agents of it. Pure: the time is passed in.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use lapse_cluster::Stored;
use lapse_crds::{
    AccessRequest, Condition, ConditionStatus, Conditions as _, RequestPhase, created_at,
};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// The most requests of one host that may wait at once: what a host states that was taken over must not fill a cluster.
pub const MOST_OPEN: usize = 32;
/// How old a request may be of which nothing was known and that is decided already: its agent may still wait to hear of it.
const RECENT: TimeDelta = TimeDelta::minutes(10);
/// The longest text that is told, in characters.
const LONGEST: usize = 1024;
/// What says why a request stands where it stands, the first before the others.
const CONDITIONS: [&str; 3] = ["Evaluated", "Approved", "Granted"];

/// How a request stands, for who has made it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Its name.
    pub name: String,
    /// Its phase; `None` if there is no such request.
    pub phase: Option<RequestPhase>,
    /// Who must still approve, in words; empty if nobody.
    pub waiting_for: String,
    /// Why it is in this phase, in words; empty if that says it.
    pub why: String,
}

/// What the agent of the Endpoint with this UID is to be told.
pub type Told = (String, Progress);

/// A request that was made on a host, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenRequest {
    /// The UID of the Endpoint on whose host it was made.
    pub endpoint_uid: String,
    /// How it stands.
    pub progress: Progress,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

#[derive(Deserialize)]
struct Lean {
    spec: LeanSpec,
    #[serde(default)]
    status: LeanStatus,
}

#[derive(Deserialize)]
struct LeanSpec {
    origin: Option<LeanOrigin>,
    requester: Option<LeanRequester>,
}

#[derive(Deserialize)]
struct LeanOrigin {
    uid: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LeanRequester {
    endpoint_user: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LeanStatus {
    #[serde(default)]
    phase: RequestPhase,
    approval: Option<LeanApproval>,
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LeanApproval {
    waiting_for: Option<String>,
}

impl SeenRequest {
    /// Reads one; `None` if nobody made it on a host without credentials of the cluster.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(stored: &Stored<AccessRequest>) -> Result<Option<Self>, String> {
        let Lean { spec, status } = stored.read()?;
        let LeanSpec { origin, requester } = spec;
        let is_of_host = requester.is_some_and(|requester| requester.endpoint_user.is_some());
        let Some(LeanOrigin { uid: endpoint_uid }) = origin.filter(|_| is_of_host) else {
            return Ok(None);
        };
        let metadata = kube::Resource::meta(stored);
        let LeanStatus { phase, approval, conditions } = status;
        let waiting_for = approval.and_then(|approval| approval.waiting_for).unwrap_or_default();
        let progress = Progress {
            name: metadata.name.clone().unwrap_or_default(),
            phase: Some(phase),
            waiting_for: clipped(&waiting_for),
            why: why(&conditions).map(clipped).unwrap_or_default(),
        };
        let created_at = created_at(metadata).unwrap_or_default();
        Ok(Some(Self { endpoint_uid, progress, created_at }))
    }

    /// Whether it waits for its approval, or for its start.
    fn is_open(&self) -> bool {
        matches!(self.progress.phase, Some(RequestPhase::Pending | RequestPhase::Scheduled))
    }
}

/// What is not as it must be, in words. Who must still approve is said apart.
fn why(conditions: &Vec<Condition>) -> Option<&str> {
    let all = CONDITIONS.into_iter().filter_map(|name| conditions.condition(name));
    let mut lacking = all.filter(|condition| condition.status != ConditionStatus::True);
    let first = lacking.next().filter(|condition| condition.reason != "Waiting")?;
    Some(&first.message)
}

fn clipped(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

/// The requests of people on hosts that are not decided yet.
#[derive(Debug, Default)]
pub struct Requests {
    open: HashMap<String, SeenRequest>,
    /// How many there are of each Endpoint.
    counts: HashMap<String, usize>,
    listing: Option<HashSet<String>>,
}

impl Requests {
    /// How many of the Endpoint with this UID are not decided yet.
    #[must_use]
    pub fn of(&self, endpoint_uid: &str) -> usize {
        self.counts.get(endpoint_uid).copied().unwrap_or_default()
    }

    /// How one of that Endpoint stands, if it is known not to be decided yet.
    #[must_use]
    pub fn progress(&self, endpoint_uid: &str, name: &str) -> Option<Progress> {
        let seen = self.open.get(name).filter(|seen| seen.endpoint_uid == endpoint_uid);
        seen.map(|seen| seen.progress.clone())
    }

    /// A list of everything begins.
    pub fn begin(&mut self) {
        self.listing = Some(HashSet::new());
    }

    /// It was there in the list, whatever it says.
    pub fn listed(&mut self, name: &str) {
        if let Some(listing) = &mut self.listing {
            listing.insert(name.to_owned());
        }
    }

    /// The list is complete: what was not in it is gone.
    pub fn done(&mut self) -> Vec<Told> {
        let Some(listed) = self.listing.take() else { return Vec::new() };
        let gone: Vec<String> =
            self.open.keys().filter(|name| !listed.contains(*name)).cloned().collect();
        gone.iter().filter_map(|name| self.delete(name)).collect()
    }

    /// A request came or changed.
    pub fn apply(&mut self, seen: SeenRequest, now: DateTime<Utc>) -> Option<Told> {
        let name = seen.progress.name.clone();
        let before = self.forget(&name);
        let is_news = before.as_ref().is_none_or(|before| before.progress != seen.progress);
        let is_recent = before.is_some() || now - seen.created_at < RECENT;
        let told = (seen.endpoint_uid.clone(), seen.progress.clone());
        if seen.is_open() {
            *self.counts.entry(seen.endpoint_uid.clone()).or_default() += 1;
            self.open.insert(name, seen);
            return is_news.then_some(told);
        }
        (is_news && is_recent).then_some(told)
    }

    /// A request is gone.
    pub fn delete(&mut self, name: &str) -> Option<Told> {
        let SeenRequest { endpoint_uid, progress, .. } = self.forget(name)?;
        Some((endpoint_uid, Progress { name: progress.name, ..Progress::default() }))
    }

    fn forget(&mut self, name: &str) -> Option<SeenRequest> {
        let seen = self.open.remove(name)?;
        if let Some(count) = self.counts.get_mut(&seen.endpoint_uid) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&seen.endpoint_uid);
            }
        }
        Some(seen)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-11-21T12:00:00Z".parse().unwrap()
    }

    fn stored(change: impl FnOnce(&mut Value)) -> Stored<AccessRequest> {
        let mut object = json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessRequest",
            "metadata": {"name": "r", "namespace": "ops", "creationTimestamp": "2026-11-21T11:59:00Z"},
            "spec": {
                "origin": {"endpoint": "web-1", "uid": "u-1", "localUser": "al"},
                "requester": {"username": "alice", "endpointUser": {"endpoint": "web-1", "localUser": "al"}},
            },
        });
        change(&mut object);
        serde_json::from_value(object).unwrap()
    }

    fn seen(change: impl FnOnce(&mut Value)) -> SeenRequest {
        SeenRequest::read(&stored(change)).unwrap().unwrap()
    }

    fn in_phase(name: &str, phase: &str) -> SeenRequest {
        seen(|object| {
            object["metadata"]["name"] = json!(name);
            object["status"] = json!({"phase": phase});
        })
    }

    #[rstest]
    #[case::not_looked_at(json!({}), RequestPhase::Pending, "", "")]
    #[case::waiting(
        json!({"phase": "Pending", "approval": {"stages": [], "waitingFor": "1 of olga"}, "conditions": [
            {"type": "Approved", "status": "False", "reason": "Waiting", "message": "It waits for 1 of olga.", "lastTransitionTime": "2026-11-21T12:00:00Z"},
        ]}),
        RequestPhase::Pending, "1 of olga", ""
    )]
    #[case::denied(
        json!({"phase": "Denied", "conditions": [
            {"type": "Approved", "status": "False", "reason": "Denied", "message": "Denied by bob: no", "lastTransitionTime": "2026-11-21T12:00:00Z"},
        ]}),
        RequestPhase::Denied, "", "Denied by bob: no"
    )]
    fn how_it_stands_is_said(
        #[case] status: Value,
        #[case] phase: RequestPhase,
        #[case] waiting_for: &str,
        #[case] why: &str,
    ) {
        let progress = Progress {
            name: "r".into(),
            phase: Some(phase),
            waiting_for: waiting_for.into(),
            why: why.into(),
        };
        assert_eq!(seen(|object| object["status"] = status).progress, progress);
    }

    #[rstest]
    #[case::with_credentials(|o: &mut Value| o["spec"]["requester"]["endpointUser"] = Value::Null)]
    #[case::from_nowhere(|o: &mut Value| o["spec"]["origin"] = Value::Null)]
    #[case::not_stamped(|o: &mut Value| o["spec"]["requester"] = Value::Null)]
    fn what_nobody_made_on_a_host_is_nobodys(#[case] change: fn(&mut Value)) {
        assert_eq!(SeenRequest::read(&stored(change)), Ok(None));
    }

    #[test]
    fn what_changes_is_told_once_and_what_is_decided_is_forgotten() {
        let mut requests = Requests::default();
        let open = in_phase("a", "Pending");
        let told = |seen: &SeenRequest| Some(("u-1".to_owned(), seen.progress.clone()));
        assert_eq!(requests.apply(open.clone(), now()), told(&open));
        assert_eq!(requests.apply(open.clone(), now()), None);
        assert_eq!((requests.of("u-1"), requests.of("u-2")), (1, 0));
        assert_eq!(requests.progress("u-1", "a"), Some(open.progress));
        assert_eq!(requests.progress("u-2", "a"), None, "it is another's");
        let denied = in_phase("a", "Denied");
        assert_eq!(requests.apply(denied.clone(), now()), told(&denied));
        assert!(requests.open.is_empty() && requests.counts.is_empty());
    }

    /// Its agent may wait to hear of it, and nobody waits to hear of what was decided long ago.
    #[test]
    fn what_was_decided_before_it_was_seen_is_told_if_it_is_recent() {
        let mut requests = Requests::default();
        let denied = in_phase("a", "Denied");
        assert!(requests.apply(denied.clone(), now()).is_some());
        assert_eq!(requests.apply(denied, now() + TimeDelta::hours(1)), None);
    }

    #[test]
    fn what_is_gone_is_told_too() {
        let mut requests = Requests::default();
        requests.apply(in_phase("a", "Pending"), now());
        requests.apply(in_phase("b", "Scheduled"), now());
        let gone =
            |name: &str| ("u-1".to_owned(), Progress { name: name.into(), ..Progress::default() });
        assert_eq!(requests.delete("b"), Some(gone("b")));
        requests.begin();
        requests.listed("c");
        assert_eq!(requests.done(), [gone("a")]);
        assert_eq!(requests.of("u-1"), 0);
        assert!(requests.done().is_empty());
    }
}
