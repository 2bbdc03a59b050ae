//! The service accounts of namespaces, and what they hold: whoever can run workloads beside them can act
//! as they do.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

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

use super::{Reader, read};
use crate::accounts::Known;
use crate::bounded;

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
        self.accounts = Known::watched();
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
    pub(super) async fn list<K>(&self, api: Api<K>, what: String) -> Result<Vec<K>, String>
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
