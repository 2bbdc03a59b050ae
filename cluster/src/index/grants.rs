//! The Grants. Of one that is over a summary is kept, for limits, extensions and reviews.

mod counts;
mod lean;
mod orphans;
mod over;
mod shared;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use kube::Resource as _;
use lapse_crds::{Grant, Subject};
use lapse_engine::grant::grant_name;
use lapse_engine::peers::RequestSummary;
use lapse_engine::summary::GrantSummary;
use tracing::error;

use self::orphans::Orphans;
use self::shared::Shared;
use super::meanwhile::Meanwhile;
use super::{Change, PANICKED};
use crate::Stored;
use crate::process::caught;

/// How long ago a Grant may have ended for the time that it was held to count in a limit: a day, and an hour for
/// clocks that differ.
const RECENT: TimeDelta = TimeDelta::hours(25);

/// What is known of a Grant.
#[derive(Clone, Debug)]
pub struct KnownGrant {
    /// Its name.
    pub name: Arc<str>,
    /// Its version.
    pub version: u64,
    /// What decisions need to know of it, or why it cannot be decoded.
    pub summary: Result<Arc<GrantSummary>, Arc<str>>,
}

impl KnownGrant {
    pub(super) fn of(grant: &Grant) -> Self {
        let summary = Arc::new(GrantSummary::of(grant));
        Self {
            name: summary.name.clone(),
            version: super::version(&grant.metadata),
            summary: Ok(summary),
        }
    }

    /// The summary of one that is not over.
    #[must_use]
    pub fn live(&self) -> Option<&Arc<GrantSummary>> {
        self.summary.as_ref().ok().filter(|summary| summary.live.is_some())
    }

    /// Whether it is certainly over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.summary.as_ref().is_ok_and(|summary| summary.live.is_none())
    }

    /// Whether something may still happen to it.
    pub(crate) fn is_open(&self) -> bool {
        self.summary.as_ref().map_or(true, |summary| !summary.is_settled())
    }
}

pub(super) fn decode(stored: &Stored<Grant>) -> KnownGrant {
    let metadata = stored.meta();
    let summary = caught("Grant", || lean::summary(stored)).unwrap_or_else(|| {
        error!(grant = metadata.name, "reading a Grant panicked");
        Err(PANICKED.to_owned())
    });
    let summary = summary.map(Arc::new).map_err(Arc::from);
    let name = match &summary {
        Ok(summary) => summary.name.clone(),
        Err(_) => metadata.name.as_deref().unwrap_or_default().into(),
    };
    KnownGrant { name, version: super::version(metadata), summary }
}

#[derive(Default)]
pub(super) struct Grants {
    /// Whether it can be told which of those that are over are to be deleted.
    keeps_past: bool,
    round: u64,
    by_name: HashMap<Arc<str>, (KnownGrant, u64)>,
    by_person: HashMap<Arc<Subject>, OfPerson>,
    live_by_policy: HashMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// By the name of the Endpoint that they are held on.
    live_on: HashMap<Box<str>, BTreeSet<Arc<str>>>,
    /// Those that are over, by the name of the Endpoint whose host is still to be compared with what it was before.
    comparing_on: HashMap<Box<str>, BTreeSet<Arc<str>>>,
    /// Those to which something may still happen.
    open: BTreeSet<Arc<str>>,
    live: BTreeSet<Arc<str>>,
    undecodable: BTreeSet<Arc<str>>,
    /// Of those that are over and whose request is gone, in the order in which they were, for each policy.
    orphans: Orphans,
    /// Those of emergencies, by the request's namespace and name, for whoever reviews.
    emergencies: HashMap<(String, String), BTreeSet<Arc<str>>>,
    shared: Shared,
    /// Those that are gone, by name, while what is over is read.
    meanwhile: Meanwhile,
}

/// The Grants of a person that bear on what else the person asks for.
#[derive(Default)]
struct OfPerson {
    live: BTreeSet<Arc<str>>,
    owing: BTreeSet<Arc<str>>,
    recent: BTreeSet<(DateTime<Utc>, Arc<str>)>,
}

impl OfPerson {
    fn is_empty(&self) -> bool {
        self.live.is_empty() && self.owing.is_empty() && self.recent.is_empty()
    }
}

/// The Endpoint that a Grant which is not over is held on.
fn endpoint_of(grant: &GrantSummary) -> Option<&str> {
    let target = grant.live.as_ref()?.target.as_ref()?;
    Some(&target.scope.endpoint()?.name)
}

/// When a Grant that is over was verified to be gone.
fn ended_at(grant: &GrantSummary) -> DateTime<Utc> {
    grant.ended_at.unwrap_or(grant.expires_at).time()
}

impl Grants {
    pub(super) fn new(keeps_past: bool) -> Self {
        Self { keeps_past, ..Self::default() }
    }

    /// With nothing in it. No list that began before names anything in it.
    pub(super) fn emptied(&self) -> Self {
        Self { round: self.round + 1, ..Self::new(self.keeps_past) }
    }

    /// Leaves out what nobody asks about a Grant that is over: which object it was, and, where nobody deletes it, where
    /// its request stood.
    fn strip(&self, known: &mut KnownGrant) {
        let Ok(grant) = &mut known.summary else { return };
        let Some(grant) = Arc::get_mut(grant).filter(|grant| grant.is_settled()) else { return };
        grant.uid = Box::default();
        if !self.keeps_past && !grant.is_emergency {
            grant.request.namespace = String::new();
            grant.request.name = String::new();
        }
    }

    pub(super) fn apply(
        &mut self,
        mut known: KnownGrant,
        now: DateTime<Utc>,
    ) -> Option<Change<KnownGrant>> {
        let round = self.round;
        // What a list names is so, whatever was seen before it began: in a cluster that was restored, versions may be
        // lower than those that were seen.
        if let Some((newer, seen)) = self.by_name.get(&known.name)
            && *seen == round
            && !super::is_newer(known.version, newer.version)
        {
            return None;
        }
        self.strip(&mut known);
        self.shared.share(&mut known);
        let before = self.remove(&known.name.clone());
        self.insert(known.clone(), round, now);
        Some(Change { before, after: Some(known) })
    }

    pub(super) fn delete(&mut self, name: &str) -> Change<KnownGrant> {
        self.meanwhile.note(name);
        Change { before: self.remove(name), after: None }
    }

    fn insert(&mut self, known: KnownGrant, round: u64, now: DateTime<Utc>) {
        let name = known.name.clone();
        if known.is_open() {
            self.open.insert(name.clone());
        }
        match &known.summary {
            Err(_) => drop(self.undecodable.insert(name.clone())),
            Ok(grant) => self.insert_summary(&name, grant, now),
        }
        self.by_name.insert(name, (known, round));
    }

    fn insert_summary(&mut self, name: &Arc<str>, grant: &GrantSummary, now: DateTime<Utc>) {
        let is_recent = ended_at(grant) > now - RECENT;
        if grant.live.is_some() || grant.review_by.is_some() || is_recent {
            let of_person = self.by_person.entry(grant.subject.clone()).or_default();
            if grant.live.is_some() {
                of_person.live.insert(name.clone());
            } else if is_recent {
                of_person.recent.insert((ended_at(grant), name.clone()));
            }
            if grant.review_by.is_some() {
                of_person.owing.insert(name.clone());
            }
            // What was recent when it came need not be for ever.
            while let Some((at, _)) = of_person.recent.first()
                && *at <= now - RECENT
            {
                of_person.recent.pop_first();
            }
        }
        if grant.is_emergency {
            let place = (grant.request.namespace.clone(), grant.request.name.clone());
            self.emergencies.entry(place).or_default().insert(name.clone());
        }
        if grant.live.is_some() {
            self.live.insert(name.clone());
            let of_policy = self.live_by_policy.entry(grant.policy.clone()).or_default();
            of_policy.insert(name.clone());
        }
        if let Some(endpoint) = endpoint_of(grant) {
            self.live_on.entry(endpoint.into()).or_default().insert(name.clone());
        }
        if let Some(endpoint) = &grant.comparing_on {
            self.comparing_on.entry(endpoint.clone()).or_default().insert(name.clone());
        }
    }

    fn remove(&mut self, name: &str) -> Option<KnownGrant> {
        let (known, _) = self.by_name.remove(name)?;
        self.open.remove(name);
        self.live.remove(name);
        self.undecodable.remove(name);
        let Ok(grant) = &known.summary else { return Some(known) };
        if let Some(of_person) = self.by_person.get_mut(&grant.subject) {
            of_person.live.remove(name);
            of_person.owing.remove(name);
            of_person.recent.remove(&(ended_at(grant), known.name.clone()));
            if of_person.is_empty() {
                self.by_person.remove(&grant.subject);
            }
        }
        if let Some(of_policy) = self.live_by_policy.get_mut(&*grant.policy) {
            of_policy.remove(name);
            if of_policy.is_empty() {
                self.live_by_policy.remove(&*grant.policy);
            }
        }
        for (all, endpoint) in [
            (&mut self.live_on, endpoint_of(grant)),
            (&mut self.comparing_on, grant.comparing_on.as_deref()),
        ] {
            if let Some(endpoint) = endpoint
                && let Some(on_endpoint) = all.get_mut(endpoint)
            {
                on_endpoint.remove(name);
                if on_endpoint.is_empty() {
                    all.remove(endpoint);
                }
            }
        }
        self.orphans.remove(&known.name, grant);
        let place = (grant.request.namespace.clone(), grant.request.name.clone());
        if let Some(of_place) = self.emergencies.get_mut(&place) {
            of_place.remove(name);
            if of_place.is_empty() {
                self.emergencies.remove(&place);
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
    pub(super) fn done(&mut self) -> Vec<Change<KnownGrant>> {
        self.remove_unnamed(|known| !known.is_over())
    }

    /// Removes what the last list did not name.
    fn remove_unnamed(
        &mut self,
        is_meant: impl Fn(&KnownGrant) -> bool,
    ) -> Vec<Change<KnownGrant>> {
        let round = self.round;
        let unnamed =
            self.by_name.iter().filter(|(_, (known, seen))| *seen < round && is_meant(known));
        let unnamed: Vec<Arc<str>> = unnamed.map(|(name, _)| name.clone()).collect();
        let gone = unnamed.iter().map(|name| self.remove(name));
        gone.map(|before| Change { before, after: None }).collect()
    }

    pub(super) fn get(&self, name: &str) -> Option<KnownGrant> {
        self.by_name.get(name).map(|(known, _)| known.clone())
    }

    fn summary(&self, name: &str) -> Option<&Arc<GrantSummary>> {
        self.by_name.get(name).and_then(|(known, _)| known.summary.as_ref().ok())
    }

    fn all<'a>(
        &'a self,
        names: impl IntoIterator<Item = &'a Arc<str>>,
    ) -> impl Iterator<Item = &'a Arc<GrantSummary>> {
        names.into_iter().filter_map(|name| self.summary(name))
    }

    /// The Grant of a request.
    pub(super) fn of_request(&self, request: &RequestSummary) -> Option<Arc<GrantSummary>> {
        self.by_request(&request.namespace, &request.name, &request.uid)
    }

    /// The Grant of the request of this UID.
    pub(super) fn by_request(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
    ) -> Option<Arc<GrantSummary>> {
        let grant = self.summary(&grant_name(namespace, name, uid))?;
        (grant.request.uid == uid).then(|| grant.clone())
    }

    /// What a person holds, held since then, or owes a review for.
    pub(super) fn of_person(&self, who: &Subject, since: DateTime<Utc>) -> Vec<Arc<GrantSummary>> {
        let Some(of_person) = self.by_person.get(who) else { return Vec::new() };
        let recent = of_person.recent.iter().rev().take_while(|(at, _)| *at > since);
        let recent = recent.map(|(_, name)| name);
        let names: BTreeSet<&Arc<str>> =
            of_person.live.iter().chain(&of_person.owing).chain(recent).collect();
        self.all(names).cloned().collect()
    }

    pub(super) fn live_of(&self, who: &Subject) -> Vec<Arc<GrantSummary>> {
        let live = self.by_person.get(who).map(|of_person| &of_person.live);
        self.all(live.into_iter().flatten()).cloned().collect()
    }

    pub(super) fn live(&self) -> Vec<Arc<GrantSummary>> {
        self.all(&self.live).cloned().collect()
    }

    pub(super) fn live_by(
        &self,
        policies: &BTreeSet<String>,
    ) -> Result<Vec<Arc<GrantSummary>>, String> {
        if let Some(name) = self.undecodable.first() {
            return Err(format!(
                "Grant {name} cannot be decoded: nobody knows by which policy it is"
            ));
        }
        let names =
            policies.iter().filter_map(|policy| self.live_by_policy.get(&**policy)).flatten();
        Ok(self.all(names).cloned().collect())
    }

    pub(super) fn live_on(&self, endpoint: &str) -> Vec<Arc<str>> {
        self.live_on.get(endpoint).into_iter().flatten().cloned().collect()
    }

    pub(super) fn comparing_on(&self, endpoint: &str) -> Vec<Arc<str>> {
        self.comparing_on.get(endpoint).into_iter().flatten().cloned().collect()
    }

    pub(super) fn open(&self) -> Vec<String> {
        self.open.iter().map(ToString::to_string).collect()
    }

    /// The Grants of emergencies of the requests that have, or had, this name.
    pub(super) fn emergencies_of(&self, namespace: &str, name: &str) -> Vec<Arc<GrantSummary>> {
        let place = (namespace.to_owned(), name.to_owned());
        let names = self.emergencies.get(&place).into_iter().flatten();
        self.all(names).cloned().collect()
    }
}
