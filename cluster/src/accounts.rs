//! The service accounts of namespaces, and what they hold: whoever can run workloads beside them can act
//! as they do.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::ServiceAccount as Account;
use k8s_openapi::api::rbac::v1::{
    ClusterRoleBinding, PolicyRule, RoleBinding, RoleRef as Reference, Subject,
};
use kube::api::{ListParams, VersionMatch};
use kube::{Api, Resource, ResourceExt as _};
use lapse_crds::{RoleKind, RoleRef};
use lapse_engine::Read;
use lapse_engine::risk::{BoundRole, Reach, ServiceAccount, acts_as_accounts, assess, is_bound};
use lapse_engine::role::RoleRules;
use lapse_engine::target::{ResolvedTarget, Scope};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::reader::read;
use crate::{Reader, bounded};

/// What was found in sets of namespaces: the bindings of a whole cluster are much to read. It is used for some
/// seconds, or, by a process that watches what bears on it, until that changes.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    fresh: Duration,
    found: Arc<Mutex<Findings>>,
}

#[derive(Debug, Default)]
struct Findings {
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
    fn findings(&self) -> MutexGuard<'_, Findings> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was found in these namespaces, or the version that what is read from now on has.
    fn of(&self, namespaces: &BTreeSet<String>) -> Result<Vec<ServiceAccount>, u64> {
        let findings = self.findings();
        let found = findings.by_namespaces.get(namespaces);
        match found.filter(|found| found.at.elapsed() < self.fresh) {
            Some(found) => Ok(found.accounts.clone()),
            None => Err(findings.version),
        }
    }

    fn keep(&self, namespaces: &BTreeSet<String>, accounts: &[ServiceAccount], version: u64) {
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
            let found = Found { at: Instant::now(), accounts: accounts.to_vec() };
            findings.by_namespaces.insert(namespaces.clone(), found);
        }
    }

    fn forget(&self) {
        let mut findings = self.findings();
        findings.by_namespaces.clear();
        findings.version += 1;
    }
}

/// A role that a binding names: its kind, its namespace if it is a `Role`, and its name.
type Named = (RoleKind, Option<String>, String);

/// One binding, wherever it stands.
struct Binding {
    /// The namespace of a RoleBinding.
    namespace: Option<String>,
    role: Named,
    subjects: Vec<Subject>,
}

impl Binding {
    fn of(namespace: Option<String>, role: Reference, subjects: Option<Vec<Subject>>) -> Self {
        let kind = if role.kind == "Role" { RoleKind::Role } else { RoleKind::ClusterRole };
        let of_role = namespace.clone().filter(|_| kind == RoleKind::Role);
        let role = (kind, of_role, role.name);
        Self { namespace, role, subjects: subjects.unwrap_or_default() }
    }

    fn holds_for(&self, account: (&str, &str)) -> bool {
        self.subjects.iter().any(|subject| is_bound(subject, self.namespace.as_deref(), account))
    }
}

impl Reader {
    /// The same, for a process that watches service accounts, bindings and roles: what is known of service
    /// accounts is used until [`Reader::forget_accounts`].
    #[must_use]
    pub fn watching_accounts(mut self) -> Self {
        self.accounts = Known { fresh: FRESH_WHEN_WATCHED, ..Known::default() };
        self
    }

    /// Something changed that bears on what service accounts hold.
    pub fn forget_accounts(&self) {
        self.accounts.forget();
    }

    /// The service accounts in the namespaces of a target, if the role lets its holder act as any of them.
    /// A role in the whole cluster that can do so is refused, or accepted, without asking which.
    pub async fn accounts(
        &self,
        target: &ResolvedTarget,
        role: &Read<RoleRules>,
    ) -> Read<Vec<ServiceAccount>> {
        let reach = Reach::of(&target.scope, self.settings());
        let matters = |role: &RoleRules| acts_as_accounts(&assess(role.lists(), &reach));
        let Scope::Namespaces(namespaces) = &target.scope else { return Read::Found(Vec::new()) };
        if !role.found().is_some_and(matters) {
            return Read::Found(Vec::new());
        }
        let version = match self.accounts.of(namespaces) {
            Ok(known) => return Read::Found(known),
            Err(version) => version,
        };
        match self.read_accounts(namespaces).await {
            Ok(accounts) => {
                self.accounts.keep(namespaces, &accounts, version);
                Read::Found(accounts)
            }
            Err(why) => Read::Failed(why),
        }
    }

    async fn read_accounts(
        &self,
        namespaces: &BTreeSet<String>,
    ) -> Result<Vec<ServiceAccount>, String> {
        let of_namespaces = join_all(namespaces.iter().map(|namespace| {
            let api: Api<Account> = Api::namespaced(self.client().clone(), namespace);
            self.list(api, format!("listing the service accounts of {namespace}"))
        }));
        let (accounts, bindings) = tokio::join!(of_namespaces, self.bindings());
        let bindings = bindings?;
        let mut found: Vec<(String, String)> = Vec::new();
        for accounts in accounts {
            let name =
                |account: Account| (account.namespace().unwrap_or_default(), account.name_any());
            found.extend(accounts?.into_iter().map(name));
        }
        let of_any = |binding: &&Binding| {
            found.iter().any(|(namespace, name)| binding.holds_for((namespace, name)))
        };
        let bindings: Vec<&Binding> = bindings.iter().filter(of_any).collect();
        let named: BTreeSet<&Named> = bindings.iter().map(|binding| &binding.role).collect();
        let rules = self.rules_of(named).await?;
        let bound: Vec<(&Binding, Arc<BoundRole>)> = bindings
            .into_iter()
            .filter_map(|binding| Some((binding, self.bound(binding, rules.get(&binding.role)?))))
            .collect();
        let account = |(namespace, name): (String, String)| {
            let holds = |(binding, _): &&(&Binding, _)| binding.holds_for((&namespace, &name));
            let held = bound.iter().filter(holds).map(|(_, role)| Arc::clone(role));
            ServiceAccount { roles: held.collect(), namespace, name }
        };
        Ok(found.into_iter().map(account).collect())
    }

    fn bound(&self, binding: &Binding, rules: &[PolicyRule]) -> Arc<BoundRole> {
        let scope = match &binding.namespace {
            Some(namespace) => Scope::Namespaces(BTreeSet::from([namespace.clone()])),
            None => Scope::Cluster,
        };
        let (kind, _, name) = binding.role.clone();
        let reach = Reach::of(&scope, self.settings());
        Arc::new(BoundRole::new(RoleRef { kind, name }, rules, &reach))
    }

    /// Every binding of the cluster: one in any namespace may name an account of another.
    async fn bindings(&self) -> Result<Vec<Binding>, String> {
        let roles: Api<RoleBinding> = Api::all(self.client().clone());
        let clusters: Api<ClusterRoleBinding> = Api::all(self.client().clone());
        let (roles, clusters) = tokio::join!(
            self.list(roles, "listing the RoleBindings".to_owned()),
            self.list(clusters, "listing the ClusterRoleBindings".to_owned()),
        );
        let of_role = |b: RoleBinding| Binding::of(b.metadata.namespace, b.role_ref, b.subjects);
        let of_cluster = |b: ClusterRoleBinding| Binding::of(None, b.role_ref, b.subjects);
        Ok(roles?.into_iter().map(of_role).chain(clusters?.into_iter().map(of_cluster)).collect())
    }

    /// The rules of roles. One that does not exist gives nothing.
    async fn rules_of<'a>(
        &self,
        named: BTreeSet<&'a Named>,
    ) -> Result<BTreeMap<&'a Named, Vec<PolicyRule>>, String> {
        let reads = named.into_iter().map(async |named| {
            let (_, namespace, name) = named;
            (named, self.rules(namespace.as_deref(), name).await)
        });
        let mut known = BTreeMap::new();
        for (named, read) in join_all(reads).await {
            match read {
                Read::Found(rules) => drop(known.insert(named, rules)),
                Read::Missing => {}
                Read::Failed(why) => return Err(why),
            }
        }
        Ok(known)
    }

    /// A list out of the API server's cache, whatever its age: these lists are long.
    async fn list<K>(&self, api: Api<K>, what: String) -> Result<Vec<K>, String>
    where
        K: Resource + Clone + DeserializeOwned + Debug,
    {
        let any = ListParams::default().at("0").matching(VersionMatch::NotOlderThan);
        match read(bounded(what, api.list(&any)).await) {
            Read::Found(list) => Ok(list.items),
            Read::Missing => Ok(Vec::new()),
            Read::Failed(why) => Err(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shop() -> BTreeSet<String> {
        BTreeSet::from(["shop".to_owned()])
    }

    #[test]
    fn what_changed_while_it_was_read_is_read_again() {
        let known = Known::default();
        let version = known.of(&shop()).unwrap_err();
        known.forget();
        known.keep(&shop(), &[], version);
        let version = known.of(&shop()).unwrap_err();
        known.keep(&shop(), &[], version);
        assert_eq!(known.of(&shop()), Ok(vec![]));
        known.forget();
        assert!(known.of(&shop()).is_err());
    }

    #[test]
    fn what_is_not_watched_is_soon_read_again() {
        let known = Known { fresh: Duration::ZERO, ..Known::default() };
        let version = known.of(&shop()).unwrap_err();
        known.keep(&shop(), &[], version);
        assert!(known.of(&shop()).is_err());
    }
}
