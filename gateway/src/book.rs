//! Which orders there are for which Endpoint, and what to tell its agent. Pure: the time is passed in.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use lapse_cluster::Stored;
use lapse_crds::{ATTESTATION, Grant, GrantPhase, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A Grant on an endpoint, as a watch shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenGrant {
    /// Its name.
    pub name: String,
    /// The UID of the Endpoint that it is for.
    pub endpoint_uid: String,
    /// The UID of the request that it was given for.
    pub request_uid: Arc<str>,
    /// The order, as it travels.
    pub order: Arc<str>,
    /// When it ends, whatever happens.
    pub expires_at: DateTime<Utc>,
    /// Where it stands.
    pub stand: Stand,
}

/// Where a Grant stands, for its agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stand {
    /// It is in force, or is going to be.
    Live,
    /// It is being taken back.
    Ending,
    /// It is over, and verified to be.
    Ended,
}

/// What an agent is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tell {
    /// An order.
    Order(Arc<str>),
    /// What was given under this Grant ends now.
    End {
        /// The name of the Grant.
        grant: String,
        /// Why, in words.
        reason: &'static str,
        /// The UID of its request; empty if it is not known.
        request_uid: Arc<str>,
    },
}

/// What the agent of this Endpoint is to be told.
pub type Told = (String, Tell);

const ENDING: &str = "the grant is ending";
pub(crate) const DELETED: &str = "the grant was deleted";
const ENDED: &str = "the grant has ended";

/// Why a Grant cannot be carried.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableGrant {
    /// Its spec or status is not what this release knows.
    #[error("it cannot be read: {0}")]
    Malformed(String),
    /// The webhook signed nothing of it.
    #[error("it has no annotation {ATTESTATION}: no agent would believe it")]
    Unsigned,
}

#[derive(Deserialize)]
struct Raw {
    spec: Box<RawValue>,
    #[serde(default)]
    status: RawStatus,
}

#[derive(Default, Deserialize)]
struct RawStatus {
    #[serde(default)]
    phase: GrantPhase,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    request: Asked,
    target: Target,
    expires_at: Timestamp,
}

#[derive(Deserialize)]
struct Asked {
    uid: String,
}

#[derive(Deserialize)]
struct Target {
    endpoint: Option<Place>,
}

#[derive(Deserialize)]
struct Place {
    uid: String,
}

#[derive(Serialize)]
struct Carried<'a> {
    grant: &'a str,
    spec: &'a RawValue,
    attestation: &'a str,
}

impl SeenGrant {
    /// Reads a Grant; `None` if it is not on an endpoint. Its spec goes on as it is stored: it is what was signed.
    pub fn read(stored: &Stored<Grant>) -> Result<Option<Self>, UnreadableGrant> {
        let malformed = |error: serde_json::Error| UnreadableGrant::Malformed(error.to_string());
        let Raw { spec, status } = stored.read().map_err(UnreadableGrant::Malformed)?;
        let Spec { request, target, expires_at } =
            serde_json::from_str(spec.get()).map_err(malformed)?;
        let Some(Place { uid }) = target.endpoint else { return Ok(None) };
        let metadata = kube::Resource::meta(stored);
        let name = metadata.name.clone().unwrap_or_default();
        let stand = match status.phase {
            GrantPhase::Ended => Stand::Ended,
            GrantPhase::Ending => Stand::Ending,
            _ if metadata.deletion_timestamp.is_some() => Stand::Ending,
            GrantPhase::Pending | GrantPhase::Active => Stand::Live,
        };
        let annotation = metadata.annotations.as_ref().and_then(|all| all.get(ATTESTATION));
        let order = match (annotation, stand) {
            (Some(attestation), Stand::Live) => {
                let carried = Carried { grant: &name, spec: &spec, attestation };
                serde_json::to_string(&carried).map_err(malformed)?.into()
            }
            (None, Stand::Live) => return Err(UnreadableGrant::Unsigned),
            // Nobody is sent it any more.
            (_, Stand::Ending | Stand::Ended) => Arc::from(""),
        };
        Ok(Some(Self {
            name,
            endpoint_uid: uid,
            request_uid: request.uid.into(),
            order,
            expires_at: expires_at.time(),
            stand,
        }))
    }
}

/// The Grants on endpoints that have not ended.
#[derive(Debug, Default)]
pub struct Book {
    grants: HashMap<String, SeenGrant>,
    of_endpoint: HashMap<String, BTreeSet<String>>,
    listing: Option<HashSet<String>>,
    is_complete: bool,
}

impl Book {
    /// Whether all that there is was listed, and nothing has put it in doubt since.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.grants.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.grants.is_empty()
    }

    /// Whether this Grant is known not to have ended.
    #[must_use]
    pub fn knows(&self, grant: &str) -> bool {
        self.grants.contains_key(grant)
    }

    /// What it knows may be out of date, or may never have been: all is to be listed again.
    pub fn doubt(&mut self) {
        self.is_complete = false;
    }

    /// A list of everything begins.
    pub fn begin(&mut self) {
        self.listing = Some(HashSet::new());
    }

    /// It was there in the list, whatever it says: what cannot be read is not gone.
    pub fn listed(&mut self, name: &str) {
        if let Some(listing) = &mut self.listing {
            listing.insert(name.to_owned());
        }
    }

    /// The list is complete: what was not in it is gone.
    pub fn done(&mut self) -> Vec<Told> {
        self.is_complete = true;
        let Some(listed) = self.listing.take() else { return Vec::new() };
        let gone: Vec<String> =
            self.grants.keys().filter(|name| !listed.contains(*name)).cloned().collect();
        gone.iter().filter_map(|name| self.delete(name)).collect()
    }

    /// A Grant came or changed.
    pub fn apply(&mut self, seen: SeenGrant, now: DateTime<Utc>) -> Option<Told> {
        self.listed(&seen.name);
        let grant = seen.name.clone();
        let uid = seen.endpoint_uid.clone();
        let before = self.grants.get(&grant);
        let end = |reason| Tell::End {
            grant: grant.clone(),
            reason,
            request_uid: seen.request_uid.clone(),
        };
        let told = match (before.map(|before| before.stand), seen.stand) {
            (Some(Stand::Live), Stand::Live)
                if before.is_some_and(|before| before.order == seen.order) =>
            {
                None
            }
            (_, Stand::Live) => (seen.expires_at > now).then(|| Tell::Order(seen.order.clone())),
            // It was told when it began to end, and has answered.
            (Some(Stand::Ending), Stand::Ending | Stand::Ended) | (None, Stand::Ended) => None,
            (_, Stand::Ending) => Some(end(ENDING)),
            (_, Stand::Ended) => Some(end(ENDED)),
        };
        if seen.stand == Stand::Ended {
            self.forget(&grant);
        } else {
            self.of_endpoint.entry(uid.clone()).or_default().insert(grant.clone());
            self.grants.insert(grant, seen);
        }
        told.map(|tell| (uid, tell))
    }

    /// A Grant is gone.
    pub fn delete(&mut self, grant: &str) -> Option<Told> {
        let seen = self.forget(grant)?;
        let SeenGrant { endpoint_uid, request_uid, .. } = seen;
        Some((endpoint_uid, Tell::End { grant: grant.to_owned(), reason: DELETED, request_uid }))
    }

    fn forget(&mut self, grant: &str) -> Option<SeenGrant> {
        let seen = self.grants.remove(grant)?;
        if let Some(of) = self.of_endpoint.get_mut(&seen.endpoint_uid) {
            of.remove(grant);
            if of.is_empty() {
                self.of_endpoint.remove(&seen.endpoint_uid);
            }
        }
        Some(seen)
    }

    /// What to tell an agent that connects and has these Grants, and which of them nothing is known of: those are to be
    /// looked up before it is told that they are no more.
    #[must_use]
    pub fn at_hello(
        &self,
        uid: &str,
        held: &[String],
        now: DateTime<Utc>,
    ) -> (Vec<Tell>, Vec<String>) {
        let mine = self.of_endpoint.get(uid).into_iter().flatten();
        let tells =
            mine.filter_map(|name| self.grants.get(name)).filter_map(|seen| match seen.stand {
                Stand::Live if seen.expires_at > now => Some(Tell::Order(seen.order.clone())),
                Stand::Live => None,
                Stand::Ending | Stand::Ended => Some(Tell::End {
                    grant: seen.name.clone(),
                    reason: ENDING,
                    request_uid: seen.request_uid.clone(),
                }),
            });
        let is_mine =
            |name: &str| self.grants.get(name).is_some_and(|seen| seen.endpoint_uid == uid);
        let unknown = held.iter().filter(|name| !is_mine(name)).cloned().collect();
        (tells.collect(), unknown)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use serde_json::json;

    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn seen(name: &str, uid: &str, stand: Stand) -> SeenGrant {
        SeenGrant {
            name: name.into(),
            endpoint_uid: uid.into(),
            request_uid: "r".into(),
            order: Arc::from(format!("order {name}")),
            expires_at: now() + TimeDelta::hours(1),
            stand,
        }
    }

    fn order(name: &str) -> Tell {
        Tell::Order(Arc::from(format!("order {name}")))
    }

    fn end(name: &str, reason: &'static str) -> Tell {
        Tell::End { grant: name.into(), reason, request_uid: "r".into() }
    }

    fn told(uid: &str, tell: Tell) -> Told {
        (uid.to_owned(), tell)
    }

    #[test]
    fn an_agent_is_told_once_of_each_change() {
        let mut book = Book::default();
        assert_eq!(book.apply(seen("a", "u", Stand::Live), now()), Some(told("u", order("a"))));
        assert_eq!(book.apply(seen("a", "u", Stand::Live), now()), None);
        assert_eq!(
            book.apply(seen("a", "u", Stand::Ending), now()),
            Some(told("u", end("a", ENDING)))
        );
        assert_eq!(book.apply(seen("a", "u", Stand::Ending), now()), None);
        assert_eq!(book.apply(seen("a", "u", Stand::Ended), now()), None);
        book.apply(seen("b", "u", Stand::Live), now());
        assert_eq!(
            book.apply(seen("b", "u", Stand::Ended), now()),
            Some(told("u", end("b", ENDED)))
        );
        assert_eq!(book.apply(seen("b", "u", Stand::Ended), now()), None);
        assert!(book.is_empty() && book.of_endpoint.is_empty(), "{book:?}");
        assert_eq!(book.delete("a"), None);
    }

    #[test]
    fn nobody_is_sent_what_is_past_its_time() {
        let mut book = Book::default();
        let mut late = seen("a", "u", Stand::Live);
        late.expires_at = now();
        assert_eq!(book.apply(late, now()), None);
        assert_eq!(book.at_hello("u", &[], now()), (vec![], vec![]));
    }

    #[test]
    fn each_agent_hears_of_its_own_alone() {
        let mut book = Book::default();
        for (name, uid, stand) in
            [("a", "u", Stand::Live), ("b", "v", Stand::Live), ("c", "u", Stand::Ending)]
        {
            book.apply(seen(name, uid, stand), now());
        }
        let held = ["a", "b", "z"].map(str::to_owned);
        let (tells, unknown) = book.at_hello("u", &held, now());
        assert_eq!(tells, [order("a"), end("c", ENDING)]);
        assert_eq!(unknown, ["b", "z"]);
    }

    #[test]
    fn what_a_new_list_lacks_has_ended_and_what_cannot_be_read_has_not() {
        let mut book = Book::default();
        for name in ["a", "b", "c"] {
            book.apply(seen(name, "u", Stand::Live), now());
        }
        assert!(!book.is_complete());
        book.begin();
        assert_eq!(book.apply(seen("a", "u", Stand::Live), now()), None);
        book.listed("c");
        assert_eq!(book.done(), [("u".to_owned(), end("b", DELETED))]);
        assert!(book.is_complete() && book.knows("a") && book.knows("c"));
        book.doubt();
        assert!(!book.is_complete() && book.knows("a"), "nothing ends by a doubt");
        book.begin();
        book.done();
        assert!(book.is_complete() && book.is_empty());
    }

    fn stored(change: impl FnOnce(&mut serde_json::Value)) -> Stored<Grant> {
        let mut grant = json!({
            "metadata": {"name": "g", "annotations": {ATTESTATION: "signed"}},
            "spec": {
                "request": {"uid": "r"},
                "target": {"endpoint": {"name": "web-1", "uid": "u", "later": [1.50, "x"]}},
                "expiresAt": "2027-01-01T00:00:00Z",
            },
        });
        change(&mut grant);
        serde_json::from_str(&grant.to_string()).unwrap()
    }

    #[test]
    fn the_spec_goes_on_as_it_is_stored() {
        let seen = SeenGrant::read(&stored(|_| ())).unwrap().unwrap();
        assert_eq!((seen.endpoint_uid.as_str(), seen.stand), ("u", Stand::Live));
        let order: lapse_engine::order::Order = serde_json::from_str(&seen.order).unwrap();
        assert_eq!(order.spec["target"]["endpoint"]["later"], json!([1.50, "x"]));
        assert_eq!((order.grant.as_str(), order.attestation.as_str()), ("g", "signed"));
    }

    #[test]
    fn what_is_deleted_ends_and_what_is_not_signed_is_not_carried() {
        let deleted = stored(|grant| {
            grant["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        });
        assert_eq!(SeenGrant::read(&deleted).unwrap().unwrap().stand, Stand::Ending);
        let unsigned = stored(|grant| grant["metadata"]["annotations"] = json!({}));
        assert!(matches!(SeenGrant::read(&unsigned), Err(UnreadableGrant::Unsigned)));
        let role = stored(|grant| grant["spec"]["target"] = json!({"kubernetes": {}}));
        assert_eq!(SeenGrant::read(&role).unwrap(), None);
        let broken = stored(|grant| grant["spec"]["target"] = json!(7));
        assert!(matches!(SeenGrant::read(&broken), Err(UnreadableGrant::Malformed(_))));
    }
}
