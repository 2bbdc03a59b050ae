//! Which orders there are for which Endpoint, and what to tell its agent. Pure: the time is passed in.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use lapse_cluster::Stored;
use lapse_crds::{ATTESTATION, Grant, GrantPhase, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::requests::Progress;

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
    /// How a request stands that was made on its host.
    Progress(Box<Progress>),
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
    #[error("it has no annotation {ATTESTATION}: no agent would trust it")]
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

    /// When a Grant ends by its time, if it is known not to have ended.
    #[must_use]
    pub fn expires_at(&self, grant: &str) -> Option<DateTime<Utc>> {
        self.grants.get(grant).map(|seen| seen.expires_at)
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
mod tests;
