//! The service accounts of namespaces, and what they hold: whoever can run workloads beside them can act
//! as they do.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::join_all;
use k8s_openapi::api::core::v1::ServiceAccount as Account;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, PolicyRule, RoleBinding};
use kube::api::{ListParams, VersionMatch};
use kube::{Api, Resource, ResourceExt as _};
use lapse_crds::RoleRef;
use lapse_engine::Read;
use lapse_engine::risk::{BoundRole, Reach, ServiceAccount, acts_as_accounts, assess};
use lapse_engine::role::RoleRules;
use lapse_engine::target::{ResolvedTarget, Scope};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::{Reader, read};
use crate::accounts::{Binding, Bindings, Known, Named};
use crate::bounded;

/// Bindings of others. What Lapse itself makes bears this label, and nobody else may put it on a binding: an admission policy
/// of the chart sees to that.
const OF_OTHERS: &str = "app.kubernetes.io/managed-by!=lapse";

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
            Ok((accounts, at)) => {
                self.accounts.keep(namespaces, &accounts, version, at);
                Read::Found(accounts)
            }
            Err(why) => Read::Failed(why),
        }
    }

    /// The service accounts of namespaces, and since when what they hold is known.
    async fn read_accounts(
        &self,
        namespaces: &BTreeSet<String>,
    ) -> Result<(Vec<ServiceAccount>, Instant), String> {
        let of_namespaces = join_all(namespaces.iter().map(|namespace| {
            let api: Api<Account> = Api::namespaced(self.client().clone(), namespace);
            self.list(
                api,
                ListParams::default(),
                format!("listing the service accounts of {namespace}"),
            )
        }));
        let reader = self.clone();
        let listing = || async move { reader.list_bindings().await }.boxed();
        let (accounts, bindings) = tokio::join!(of_namespaces, self.bindings.get("", listing));
        let Bindings { at, all: bindings } = match bindings {
            Read::Found(bindings) => bindings,
            Read::Missing => return Err("the bindings are not known".to_owned()),
            Read::Failed(why) => return Err(why),
        };
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
        Ok((found.into_iter().map(account).collect(), at))
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

    /// Every binding of the cluster: one in any namespace may name an account of another. Of the many that Lapse makes for
    /// people none does, so they are left out unless a service account holds a right.
    async fn list_bindings(&self) -> Read<Bindings> {
        let version = match self.accounts.bindings() {
            Ok(known) => return Read::Found(known),
            Err(version) => version,
        };
        let at = Instant::now();
        let params = if self.index.may_account_hold() {
            ListParams::default()
        } else {
            ListParams::default().labels(OF_OTHERS)
        };
        let roles: Api<RoleBinding> = Api::all(self.client().clone());
        let clusters: Api<ClusterRoleBinding> = Api::all(self.client().clone());
        let listed = tokio::try_join!(
            self.list(roles, params.clone(), "listing the RoleBindings".to_owned()),
            self.list(clusters, params, "listing the ClusterRoleBindings".to_owned()),
        );
        let (roles, clusters) = match listed {
            Ok(both) => both,
            Err(why) => return Read::Failed(why),
        };
        let of_role = |b: RoleBinding| Binding::of(b.metadata.namespace, b.role_ref, b.subjects);
        let of_cluster = |b: ClusterRoleBinding| Binding::of(None, b.role_ref, b.subjects);
        let roles = roles.into_iter().filter_map(of_role);
        let all = roles.chain(clusters.into_iter().filter_map(of_cluster)).collect();
        let bindings = Bindings { at, all: Arc::new(all) };
        self.accounts.keep_bindings(&bindings, version);
        Read::Found(bindings)
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
    pub(super) async fn list<K>(
        &self,
        api: Api<K>,
        params: ListParams,
        what: String,
    ) -> Result<Vec<K>, String>
    where
        K: Resource + Clone + DeserializeOwned + Debug,
    {
        let any = params.at("0").matching(VersionMatch::NotOlderThan);
        match read(bounded(what, api.list(&any)).await) {
            Read::Found(list) => Ok(list.items),
            Read::Missing => Ok(Vec::new()),
            Read::Failed(why) => Err(why),
        }
    }
}

#[cfg(test)]
mod tests;
