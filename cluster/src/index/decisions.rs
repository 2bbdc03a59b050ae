//! What people said, as long as it bears on anything: about a request that waits everything, about one that has its
//! Grant what can end it, about one that is over nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use kube::Resource as _;
use kube::api::ObjectMeta;
use lapse_crds::{AccessDecision, Verdict, created_at};
use lapse_engine::attest::{AttestationError, Attested, KeySet};
use serde::Deserialize;
use tracing::{error, warn};

use super::{GoodFor, PANICKED};
use crate::Stored;

/// How long a decision is kept whose request is not known. A request is older than what is said about it, so it is
/// a watch that is late.
const PATIENCE: TimeDelta = TimeDelta::minutes(10);

/// The request that a decision is about, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID; absent if nobody stamped the decision.
    pub uid: Option<String>,
    /// What is said about it.
    pub verdict: Verdict,
}

/// A decision as it was shown.
pub(super) struct Decoded {
    pub(super) about: About,
    key: Key,
    attested: Attested<AccessDecision>,
    unverified: Option<Stored<AccessDecision>>,
}

impl Decoded {
    /// One that cannot be decoded cannot have passed admission.
    pub(super) fn of(stored: &Stored<AccessDecision>, keys: &KeySet) -> Option<Self> {
        let key = key(stored.meta());
        let attested = stored
            .attest(keys)
            .inspect_err(|error| warn!(name = %key.1, %error, "a decision cannot be decoded"))
            .ok()?;
        let of = &attested.object.spec.request;
        let about = About {
            namespace: key.0.clone(),
            name: of.name.clone(),
            uid: of.uid.clone(),
            verdict: attested.object.spec.verdict,
        };
        let may_pass = attested.attestation.as_ref().is_err_and(AttestationError::may_pass);
        let unverified = may_pass.then(|| stored.clone());
        Some(Self { about, key, attested: without_ornaments(attested), unverified })
    }
}

/// A namespace and a name.
type Key = (String, String);

fn key(metadata: &ObjectMeta) -> Key {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    (text(&metadata.namespace), text(&metadata.name))
}

fn without_ornaments(attested: Attested<AccessDecision>) -> Attested<AccessDecision> {
    let Attested { object, attestation } = attested;
    let ObjectMeta { name, namespace, uid, resource_version, creation_timestamp, .. } =
        object.metadata;
    let metadata = ObjectMeta {
        name,
        namespace,
        uid,
        resource_version,
        creation_timestamp,
        ..ObjectMeta::default()
    };
    Attested { object: AccessDecision { metadata, spec: object.spec }, attestation }
}

#[derive(Default)]
pub(super) struct Decisions {
    by_request: HashMap<String, HashMap<Key, Said>>,
    requests: HashMap<Key, String>,
    /// The requests that are not known, and since when somebody speaks of them.
    unknown: HashMap<String, DateTime<Utc>>,
    /// What a list that is under way has named.
    named: Option<HashSet<Key>>,
    /// Those over which the program panicked, each with the UID of the request that it is about; without one it may be about
    /// any. What they say is not known, and may be no.
    panicked: BTreeMap<Key, Option<String>>,
}

struct Said {
    attested: Arc<Attested<AccessDecision>>,
    unverified: Option<Stored<AccessDecision>>,
}

impl Decisions {
    /// `waits`: whether a request that is not known may still come, however old what is said about it.
    pub(super) fn apply(
        &mut self,
        decoded: Decoded,
        good_for: GoodFor,
        now: DateTime<Utc>,
        waits: bool,
    ) {
        let Decoded { about, key, attested, unverified } = decoded;
        if let Some(named) = &mut self.named {
            named.insert(key.clone());
        }
        // One that nobody stamped says nothing, and no more what another of its name said.
        self.remove(&key);
        let Some(uid) = about.uid else { return };
        let created = created_at(&attested.object.metadata).unwrap_or(now);
        if good_for == GoodFor::Unknown {
            if !waits {
                self.forget_unknown(now);
                if created < now - PATIENCE {
                    return;
                }
            }
            self.unknown.entry(uid.clone()).or_insert(created);
        }
        let attested = match good_for {
            GoodFor::Nothing => return,
            GoodFor::Ending => lighter(&attested).unwrap_or(attested),
            GoodFor::Everything | GoodFor::Unknown => attested,
        };
        self.requests.insert(key.clone(), uid.clone());
        let said = Said { attested: Arc::new(attested), unverified };
        self.by_request.entry(uid).or_default().insert(key, said);
    }

    /// One over which the program panicked.
    pub(super) fn panicked(&mut self, stored: &Stored<AccessDecision>) -> Option<About> {
        #[derive(Deserialize)]
        struct Lean {
            spec: LeanSpec,
        }
        #[derive(Deserialize)]
        struct LeanSpec {
            request: RequestRef,
            verdict: Verdict,
        }
        #[derive(Deserialize)]
        struct RequestRef {
            name: String,
            uid: Option<String>,
        }
        let key = key(stored.meta());
        error!(namespace = key.0, name = key.1, "reading an AccessDecision panicked");
        if let Some(named) = &mut self.named {
            named.insert(key.clone());
        }
        self.remove(&key);
        let Ok(Lean { spec: LeanSpec { request, verdict } }) = stored.read() else {
            self.panicked.insert(key, None);
            return None;
        };
        let RequestRef { name, uid } = request;
        let about = About { namespace: key.0.clone(), name, uid, verdict };
        // One that nobody stamped says nothing.
        if about.uid.is_some() {
            self.panicked.insert(key, about.uid.clone());
        }
        Some(about)
    }

    /// Why it is not known what was said about a request, if it is not.
    pub(super) fn not_known(&self, uid: &str) -> Option<String> {
        let is_about = |of: &Option<String>| of.as_deref().is_none_or(|about| about == uid);
        let ((namespace, name), _) = self.panicked.iter().find(|(_, of)| is_about(of))?;
        Some(format!(
            "what AccessDecision {namespace}/{name} says is not known: {PANICKED}. Delete it, and have it said again"
        ))
    }

    /// Keeps of what was said about a request what is still good for something.
    pub(super) fn keep(&mut self, uid: &str, good_for: GoodFor) {
        match good_for {
            GoodFor::Unknown => {}
            GoodFor::Everything => drop(self.unknown.remove(uid)),
            GoodFor::Nothing => self.forget(uid),
            GoodFor::Ending => {
                self.unknown.remove(uid);
                let Some(all) = self.by_request.get_mut(uid) else { return };
                for said in all.values_mut() {
                    if let Some(less) = lighter(&said.attested) {
                        said.attested = Arc::new(less);
                    }
                }
            }
        }
    }

    fn forget(&mut self, uid: &str) {
        self.unknown.remove(uid);
        for key in self.by_request.remove(uid).into_iter().flatten().map(|(key, _)| key) {
            self.requests.remove(&key);
        }
    }

    fn forget_unknown(&mut self, now: DateTime<Utc>) {
        let late = self.unknown.iter().filter(|(_, since)| **since < now - PATIENCE);
        let late: Vec<String> = late.map(|(uid, _)| uid.clone()).collect();
        for uid in &late {
            self.forget(uid);
        }
    }

    pub(super) fn delete(&mut self, stored: &Stored<AccessDecision>) -> Option<About> {
        let key = key(stored.meta());
        let uid = self.remove(&key);
        let spec = stored.object().ok()?.spec;
        let uid = uid.or(spec.request.uid);
        Some(About { namespace: key.0, name: spec.request.name, uid, verdict: spec.verdict })
    }

    fn remove(&mut self, key: &Key) -> Option<String> {
        self.panicked.remove(key);
        let uid = self.requests.remove(key)?;
        if let Some(all) = self.by_request.get_mut(&uid) {
            all.remove(key);
            if all.is_empty() {
                self.by_request.remove(&uid);
                self.unknown.remove(&uid);
            }
        }
        Some(uid)
    }

    pub(super) fn begin(&mut self) {
        self.named = Some(HashSet::new());
    }

    pub(super) fn done(&mut self) {
        let Some(named) = self.named.take() else { return };
        let known = self.requests.keys().chain(self.panicked.keys());
        let gone = known.filter(|key| !named.contains(*key));
        let gone: Vec<Key> = gone.cloned().collect();
        for key in &gone {
            self.remove(key);
        }
    }

    pub(super) fn verify_again(&mut self, keys: &KeySet) {
        for said in self.by_request.values_mut().flat_map(HashMap::values_mut) {
            let Some(stored) = &said.unverified else { continue };
            let Some(decoded) = Decoded::of(stored, keys) else { continue };
            said.attested = Arc::new(decoded.attested);
            said.unverified = decoded.unverified;
        }
    }

    pub(super) fn has(&self, uid: &str, metadata: &ObjectMeta) -> bool {
        let said = self.by_request.get(uid).and_then(|all| all.get(&key(metadata)));
        said.is_some_and(|said| said.attested.object.metadata.uid == metadata.uid)
    }

    /// What was said about a request. What was verified with a key that is distrusted by now is worth nothing.
    pub(super) fn about(&self, uid: &str, keys: &KeySet) -> Vec<Attested<AccessDecision>> {
        let all = self.by_request.get(uid).into_iter().flat_map(HashMap::values);
        let honoured = |said: &Said| {
            let Attested { object, attestation } = (*said.attested).clone();
            let attestation = attestation
                .and_then(|attestation| keys.still_honours(&attestation).map(|()| attestation));
            Attested { object, attestation }
        };
        all.map(honoured).collect()
    }
}

/// The same without the rules of the role, if it carries any: that the right follows from them was found when it
/// was given.
fn lighter(attested: &Attested<AccessDecision>) -> Option<Attested<AccessDecision>> {
    let spec = &attested.object.spec;
    (spec.verdict == Verdict::Approve && !spec.rules.is_empty()).then(|| {
        let mut less = attested.clone();
        less.object.spec.rules = Vec::new();
        less
    })
}
