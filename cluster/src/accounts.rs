//! What is known of the service accounts of namespaces, and for how long it is.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::rbac::v1::{RoleRef as Reference, Subject};
use lapse_crds::RoleKind;
use lapse_engine::risk::{ServiceAccount, is_bound, may_be_bound};
use tokio::time::Instant;

/// A role that a binding names: its kind, its namespace if it is a `Role`, and its name.
pub(crate) type Named = (RoleKind, Option<String>, String);

/// One binding, wherever it stands, as far as it may hold for service accounts.
#[derive(Debug)]
pub(crate) struct Binding {
    /// The namespace of a RoleBinding.
    pub(crate) namespace: Option<String>,
    pub(crate) role: Named,
    subjects: Vec<Subject>,
}

impl Binding {
    /// `None` if it holds for no service account.
    pub(crate) fn of(
        namespace: Option<String>,
        role: Reference,
        subjects: Option<Vec<Subject>>,
    ) -> Option<Self> {
        let mut subjects = subjects?;
        subjects.retain(may_be_bound);
        let kind = if role.kind == "Role" { RoleKind::Role } else { RoleKind::ClusterRole };
        let of_role = namespace.clone().filter(|_| kind == RoleKind::Role);
        let role = (kind, of_role, role.name);
        (!subjects.is_empty()).then_some(Self { namespace, role, subjects })
    }

    pub(crate) fn holds_for(&self, account: (&str, &str)) -> bool {
        self.subjects.iter().any(|subject| is_bound(subject, self.namespace.as_deref(), account))
    }
}

/// The bindings of the cluster that may hold for service accounts, and since when they are known.
#[derive(Clone, Debug)]
pub(crate) struct Bindings {
    pub(crate) at: Instant,
    pub(crate) all: Arc<Vec<Binding>>,
}

/// What was found in sets of namespaces, and the bindings that it was found by: those of a whole cluster are much to read.
/// Both are used for some seconds after that was read, or, by a process that watches what bears on it, until that changes.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    fresh: Duration,
    found: Arc<Mutex<Findings>>,
}

#[derive(Debug, Default)]
struct Findings {
    bindings: Option<Bindings>,
    by_namespaces: HashMap<BTreeSet<String>, Found>,
    /// Grows when something changes: what was being read then is not kept.
    version: u64,
}

#[derive(Debug)]
struct Found {
    at: Instant,
    accounts: Vec<ServiceAccount>,
}

/// How long what was found is used, unless it is watched.
const FRESH: Duration = Duration::from_secs(5);
/// How long at most when it is.
const FRESH_WHEN_WATCHED: Duration = Duration::from_mins(10);
/// How many sets of namespaces are kept.
const MOST: usize = 256;

impl Default for Known {
    fn default() -> Self {
        Self { fresh: FRESH, found: Arc::default() }
    }
}

impl Known {
    /// For a process that watches what bears on it, and says when that changes.
    pub(crate) fn watched() -> Self {
        Self { fresh: FRESH_WHEN_WATCHED, ..Self::default() }
    }

    fn findings(&self) -> MutexGuard<'_, Findings> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was found in these namespaces, or the version that what is read from now on has.
    pub(crate) fn of(&self, namespaces: &BTreeSet<String>) -> Result<Vec<ServiceAccount>, u64> {
        let findings = self.findings();
        let found = findings.by_namespaces.get(namespaces);
        match found.filter(|found| found.at.elapsed() < self.fresh) {
            Some(found) => Ok(found.accounts.clone()),
            None => Err(findings.version),
        }
    }

    /// The bindings, or the version that what is read from now on has.
    pub(crate) fn bindings(&self) -> Result<Bindings, u64> {
        let findings = self.findings();
        let known = findings.bindings.clone();
        known.filter(|known| known.at.elapsed() < self.fresh).ok_or(findings.version)
    }

    pub(crate) fn keep_bindings(&self, bindings: &Bindings, version: u64) {
        let mut findings = self.findings();
        if findings.version == version {
            findings.bindings = Some(bindings.clone());
        }
    }

    /// Keeps what was found by bindings that are known since then.
    pub(crate) fn keep(
        &self,
        namespaces: &BTreeSet<String>,
        accounts: &[ServiceAccount],
        version: u64,
        at: Instant,
    ) {
        let mut findings = self.findings();
        findings.by_namespaces.retain(|_, found| found.at.elapsed() < self.fresh);
        if findings.version == version {
            // Whoever asks for ever other namespaces takes no place from others for long.
            if findings.by_namespaces.len() >= MOST {
                let oldest = findings.by_namespaces.iter().min_by_key(|(_, found)| found.at);
                if let Some(oldest) = oldest.map(|(namespaces, _)| namespaces.clone()) {
                    findings.by_namespaces.remove(&oldest);
                }
            }
            let found = Found { at, accounts: accounts.to_vec() };
            findings.by_namespaces.insert(namespaces.clone(), found);
        }
    }

    pub(crate) fn forget(&self) {
        let mut findings = self.findings();
        findings.by_namespaces.clear();
        findings.bindings = None;
        findings.version += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shop() -> BTreeSet<String> {
        BTreeSet::from(["shop".to_owned()])
    }

    fn none() -> Bindings {
        Bindings { at: Instant::now(), all: Arc::default() }
    }

    #[test]
    fn what_changed_while_it_was_read_is_read_again() {
        let known = Known::default();
        let version = known.of(&shop()).unwrap_err();
        assert_eq!(known.bindings().unwrap_err(), version);
        known.forget();
        known.keep_bindings(&none(), version);
        known.keep(&shop(), &[], version, Instant::now());
        let version = known.of(&shop()).unwrap_err();
        assert!(known.bindings().is_err());
        known.keep_bindings(&none(), version);
        known.keep(&shop(), &[], version, Instant::now());
        assert_eq!(known.of(&shop()), Ok(vec![]));
        assert!(known.bindings().is_ok());
        known.forget();
        assert!(known.of(&shop()).is_err() && known.bindings().is_err());
    }

    /// What was found is as old as what it was found by.
    #[tokio::test(start_paused = true)]
    async fn what_is_not_watched_is_soon_read_again() {
        let known = Known::default();
        let version = known.bindings().unwrap_err();
        known.keep_bindings(&none(), version);
        tokio::time::advance(FRESH / 2).await;
        let at = known.bindings().unwrap().at;
        known.keep(&shop(), &[], version, at);
        assert!(known.of(&shop()).is_ok());
        tokio::time::advance(FRESH / 2).await;
        assert!(known.bindings().is_err() && known.of(&shop()).is_err());
    }

    #[test]
    fn a_binding_is_kept_for_service_accounts_alone() {
        let subject = |kind: &str, name: &str| Subject {
            kind: kind.into(),
            name: name.into(),
            ..Subject::default()
        };
        let binding = |subjects: Vec<Subject>| {
            let role =
                Reference { kind: "Role".into(), name: "deploy".into(), ..Reference::default() };
            Binding::of(Some("shop".into()), role, Some(subjects))
        };
        assert!(binding(vec![subject("User", "alice"), subject("Group", "devs")]).is_none());
        let kept =
            binding(vec![subject("User", "alice"), subject("ServiceAccount", "bot")]).unwrap();
        assert_eq!(kept.subjects.len(), 1);
        assert!(kept.holds_for(("shop", "bot")) && !kept.holds_for(("bank", "bot")));
        assert_eq!(kept.role, (RoleKind::Role, Some("shop".into()), "deploy".into()));
    }
}
