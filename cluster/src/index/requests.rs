//! The requests. Of one that waits everything is kept that decides; of one whose right is held, a summary; of one
//! that is over, a word for whoever deletes it.

mod decoded;
mod over;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use kube::Resource as _;
use lapse_crds::{AccessRequest, RequestPhase};
use lapse_engine::attest::KeySet;
use lapse_engine::peers::RequestSummary;

pub(super) use self::decoded::Decoded;
use super::Change;
use super::meanwhile::Meanwhile;
use crate::Stored;

/// What is known of a request that is not over, or that extended another.
#[derive(Clone, Debug)]
pub struct KnownRequest {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its version.
    pub version: u64,
    /// Whether somebody deleted it.
    pub is_deleted: bool,
    /// Whether nothing will ever happen to it again.
    pub is_settled: bool,
    /// What decisions about other requests need to know; or why it cannot be decoded.
    pub summary: Result<Arc<RequestSummary>, Arc<str>>,
    /// The request itself, while it waits, unless it is very large. Its annotations, labels and status are left
    /// out.
    pub object: Option<Arc<AccessRequest>>,
    /// It was signed with a key that is not known yet.
    unverified: Option<Stored<AccessRequest>>,
}

impl KnownRequest {
    /// The user name of who asks; empty if that cannot be told.
    #[must_use]
    pub fn requester(&self) -> &str {
        self.summary.as_ref().map_or("", |summary| &summary.requester)
    }

    /// Whether it has no right yet, and may get one. One that cannot be decoded gets none.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.summary.as_ref().is_ok_and(|summary| waits(summary.phase))
    }

    /// Whether it is certainly over, though it may still await a review.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.summary.as_ref().is_ok_and(|summary| summary.phase.is_terminal())
    }
}

fn waits(phase: RequestPhase) -> bool {
    matches!(phase, RequestPhase::Pending | RequestPhase::Scheduled)
}

/// A request that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastRequest {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Since when it is over.
    pub since: DateTime<Utc>,
    /// The UID of the policy that decided it.
    pub policy_uid: Option<String>,
}

/// A namespace and a name.
type Place = (String, String);

#[derive(Default)]
pub(super) struct Requests {
    keeps_past: bool,
    round: u64,
    by_uid: HashMap<String, (KnownRequest, u64)>,
    by_place: HashMap<Place, String>,
    by_person: HashMap<String, BTreeSet<String>>,
    /// The requests that extend the one of a name.
    extending: HashMap<Place, BTreeSet<String>>,
    past: Past,
    /// Those that were shown to be over, or are gone, by UID, while what is over is read.
    meanwhile: Meanwhile,
}

/// By their time and their UID.
type InOrder = BTreeMap<(DateTime<Utc>, Box<str>), Arc<PastRequest>>;

/// The requests that are over, by their UID, and in the order in which they were, for each policy.
#[derive(Default)]
struct Past {
    by_uid: HashMap<Box<str>, (Arc<PastRequest>, u64)>,
    in_order: BTreeMap<Option<Box<str>>, InOrder>,
}

impl Past {
    fn insert(&mut self, uid: &str, past: PastRequest, round: u64) {
        self.remove(uid);
        let past = Arc::new(past);
        let policy = past.policy_uid.as_deref().map(Box::from);
        let of_policy = self.in_order.entry(policy).or_default();
        of_policy.insert((past.since, uid.into()), past.clone());
        self.by_uid.insert(uid.into(), (past, round));
    }

    fn remove(&mut self, uid: &str) {
        let Some((past, _)) = self.by_uid.remove(uid) else { return };
        let policy: Option<Box<str>> = past.policy_uid.as_deref().map(Box::from);
        if let Some(of_policy) = self.in_order.get_mut(&policy) {
            of_policy.remove(&(past.since, uid.into()));
            if of_policy.is_empty() {
                self.in_order.remove(&policy);
            }
        }
    }
}

impl Requests {
    pub(super) fn new(keeps_past: bool) -> Self {
        Self { keeps_past, ..Self::default() }
    }

    /// With nothing in it. No list that began before names anything in it.
    pub(super) fn emptied(&self) -> Self {
        Self { round: self.round + 1, ..Self::new(self.keeps_past) }
    }

    /// One as a watch shows it, or as this process wrote it: `None` if a newer state of it is known.
    pub(super) fn apply(&mut self, decoded: Decoded) -> Option<Change<KnownRequest>> {
        let change = self.put(decoded)?;
        if let Some(known) = change.after.as_ref().filter(|known| known.is_over()) {
            self.meanwhile.note(&known.uid);
        }
        Some(change)
    }

    fn put(&mut self, decoded: Decoded) -> Option<Change<KnownRequest>> {
        let Decoded { known, past } = decoded;
        let round = self.round;
        // What a list names is so, whatever was seen before it began: in a cluster that was restored, versions may be
        // lower than those that were seen.
        if let Some((newer, seen)) = self.by_uid.get(&known.uid)
            && *seen == round
            && !super::is_newer(known.version, newer.version)
        {
            return None;
        }
        // Another of the same name is gone. If that is the newer one, this is what was written of one that is gone.
        let place = (known.namespace.clone(), known.name.clone());
        let other = self.by_place.get(&place).filter(|uid| **uid != known.uid).cloned();
        if let Some((other, (holder, seen))) =
            other.and_then(|other| Some((other.clone(), self.by_uid.get(&other)?)))
        {
            if *seen == round && !super::is_newer(known.version, holder.version) {
                return None;
            }
            self.remove(&other);
        }
        let before = self.remove(&known.uid);
        // What was kept of what never changes is kept: whoever wrote it does not know how large it is.
        let object = match &before {
            Some(before) if known.object.is_some() && before.waits() => before.object.clone(),
            _ => known.object,
        };
        let known = KnownRequest { object, ..known };
        if let Some(past) = past.filter(|_| self.keeps_past) {
            self.past.insert(&known.uid, past, round);
        }
        if keeps(&known) {
            self.insert(known.clone(), round);
        }
        Some(Change { before, after: Some(known) })
    }

    pub(super) fn delete(&mut self, stored: &Stored<AccessRequest>) -> Change<KnownRequest> {
        let uid = stored.meta().uid.as_deref().unwrap_or_default();
        let before = self.gone(uid);
        // Of one that was over, whoever waits for it to go learns nothing but that.
        let before = before.unwrap_or_else(|| Decoded::of(stored, &KeySet::default()).known);
        Change { before: Some(before), after: None }
    }

    fn insert(&mut self, known: KnownRequest, round: u64) {
        let place = (known.namespace.clone(), known.name.clone());
        self.by_place.insert(place.clone(), known.uid.clone());
        if let Ok(summary) = &known.summary {
            let of_person = self.by_person.entry(summary.requester.clone()).or_default();
            of_person.insert(known.uid.clone());
            if let Some(extends) = &summary.extends {
                let of_place = self.extending.entry((place.0, extends.clone())).or_default();
                of_place.insert(known.uid.clone());
            }
        }
        self.by_uid.insert(known.uid.clone(), (known, round));
    }

    /// One that is gone.
    pub(super) fn gone(&mut self, uid: &str) -> Option<KnownRequest> {
        self.meanwhile.note(uid);
        self.remove(uid)
    }

    fn remove(&mut self, uid: &str) -> Option<KnownRequest> {
        self.past.remove(uid);
        let (known, _) = self.by_uid.remove(uid)?;
        let place = (known.namespace.clone(), known.name.clone());
        if self.by_place.get(&place).is_some_and(|named| named == uid) {
            self.by_place.remove(&place);
        }
        if let Ok(summary) = &known.summary {
            remove_from(&mut self.by_person, &summary.requester, uid);
            if let Some(extends) = &summary.extends {
                remove_from(&mut self.extending, &(place.0, extends.clone()), uid);
            }
        }
        Some(known)
    }

    /// A list of what is live begins.
    pub(super) fn begin(&mut self) {
        self.round += 1;
        self.meanwhile.begin();
    }

    /// Which list it is that was begun last.
    pub(super) fn round(&self) -> u64 {
        self.round
    }

    /// The list is done. Returns what is gone, or over: which of both, the pages of what is over will say.
    pub(super) fn done(&mut self) -> Vec<Change<KnownRequest>> {
        self.remove_unnamed(|known| !known.is_over())
    }

    /// Removes what the last list did not name.
    fn remove_unnamed(
        &mut self,
        is_meant: impl Fn(&KnownRequest) -> bool,
    ) -> Vec<Change<KnownRequest>> {
        let round = self.round;
        let unnamed =
            self.by_uid.iter().filter(|(_, (known, seen))| *seen < round && is_meant(known));
        let unnamed: Vec<String> = unnamed.map(|(uid, _)| uid.clone()).collect();
        let gone = unnamed.iter().filter_map(|uid| self.remove(uid));
        gone.map(|known| Change { before: Some(known), after: None }).collect()
    }

    pub(super) fn verify_again(&mut self, keys: &KeySet) {
        let unverified = self.by_uid.values().filter_map(|(known, _)| known.unverified.clone());
        for stored in unverified.collect::<Vec<_>>() {
            let Decoded { known, .. } = Decoded::of(&stored, keys);
            let Some((_, seen)) = self.by_uid.get(&known.uid) else { continue };
            let seen = *seen;
            self.remove(&known.uid);
            self.insert(known, seen);
        }
    }

    pub(super) fn get(&self, uid: &str) -> Option<KnownRequest> {
        self.by_uid.get(uid).map(|(known, _)| known.clone())
    }

    pub(super) fn named(&self, namespace: &str, name: &str) -> Option<KnownRequest> {
        let uid = self.by_place.get(&(namespace.to_owned(), name.to_owned()))?;
        self.get(uid)
    }

    pub(super) fn knows(&self, uid: &str) -> bool {
        self.by_uid.contains_key(uid) || self.past.by_uid.contains_key(uid)
    }

    /// What a person has open, and what extends the same request.
    pub(super) fn peers(
        &self,
        username: &str,
        extends: Option<(&str, &str)>,
    ) -> Vec<Arc<RequestSummary>> {
        let own = self.by_person.get(username).into_iter().flatten();
        let place = extends.map(|(namespace, name)| (namespace.to_owned(), name.to_owned()));
        let rivals = place.and_then(|place| self.extending.get(&place)).into_iter().flatten();
        let is_open = |known: &KnownRequest| !known.is_settled;
        let own = own.filter_map(|uid| self.by_uid.get(uid)).map(|(known, _)| known);
        let own: Vec<&KnownRequest> = own.filter(|known| is_open(known)).collect();
        let rivals = rivals.filter_map(|uid| self.by_uid.get(uid)).map(|(known, _)| known);
        let rivals = rivals.filter(|known| {
            let summary = known.summary.as_ref().ok();
            !is_open(known) && summary.is_some_and(|summary| summary.requester == username)
        });
        let all = own.into_iter().chain(rivals);
        all.filter_map(|known| known.summary.as_ref().ok().cloned()).collect()
    }

    pub(super) fn open(&self) -> Vec<KnownRequest> {
        let all = self.by_uid.values().map(|(known, _)| known);
        all.filter(|known| !known.is_settled).cloned().collect()
    }

    pub(super) fn waiting(&self) -> Vec<KnownRequest> {
        let all = self.by_uid.values().map(|(known, _)| known);
        all.filter(|known| !known.is_settled && known.waits()).cloned().collect()
    }

    /// Those that wait, and extend the right of the request of this name.
    pub(super) fn extending(&self, namespace: &str, name: &str) -> Vec<KnownRequest> {
        let place = (namespace.to_owned(), name.to_owned());
        let of_place = self.extending.get(&place).into_iter().flatten();
        let all = of_place.filter_map(|uid| self.by_uid.get(uid)).map(|(known, _)| known);
        all.filter(|known| !known.is_settled && known.waits()).cloned().collect()
    }

    pub(super) fn count_unreadable(&self) -> usize {
        self.by_uid.values().filter(|(known, _)| known.summary.is_err()).count()
    }
}

/// Whether a request is kept beside the word for whoever deletes it: one that is not over, and one that extended
/// another's right.
fn keeps(known: &KnownRequest) -> bool {
    let has_extended = known.summary.as_ref().is_ok_and(|summary| {
        let was_given = matches!(summary.phase, RequestPhase::Ended | RequestPhase::Failed);
        summary.extends.is_some() && was_given
    });
    !known.is_settled || has_extended
}

fn remove_from<K: std::hash::Hash + Eq>(
    map: &mut HashMap<K, BTreeSet<String>>,
    key: &K,
    value: &str,
) {
    if let Some(set) = map.get_mut(key) {
        set.remove(value);
        if set.is_empty() {
            map.remove(key);
        }
    }
}
