//! Live reads of everything that bears on a decision, each bounded, in parallel, and none of them
//! able to hide that it failed.

mod duties;
mod held;
mod peers;
mod ready;
mod roles;

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::join_all;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ListParams, ObjectMeta, VersionMatch};
use kube::{Api, Client, Resource, ResourceExt};
use lapse_crds::{AccessDecision, AccessRequest, Grant, JitPolicy, RoleKind, RoleRef};
use lapse_engine::attest::{Attested, KeySet};
use lapse_engine::policy::{BannedRoles, PolicyState, banned_roles};
use lapse_engine::retention::Retentions;
use lapse_engine::role::RoleRules;
use lapse_engine::target::{Namespace as Labelled, Namespaces, Privilege, ResolvedTarget};
use lapse_engine::{Read, Settings};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tracing::warn;

use crate::accounts::Known;
use crate::compiled::Compiled;
use crate::{CallError, Stored, bounded};

/// Reads from the API server, never from a cache of this process.
#[derive(Clone)]
pub struct Reader {
    client: Client,
    settings: Settings,
    keys: watch::Receiver<KeySet>,
    seen: Revisions,
    compiled: Compiled,
    pub(crate) accounts: Known,
}

/// What this process has seen of each kind, which has a cache of its own in the API server that is as new
/// as its own events.
#[derive(Clone, Debug, Default)]
struct Revisions {
    decisions: Seen,
    policies: Seen,
    requests: Seen,
    grants: Seen,
}

/// The highest revision of a kind that a watch of this process has shown, or that it wrote.
#[derive(Clone, Debug, Default)]
struct Seen(Arc<AtomicU64>);

impl Seen {
    fn note(&self, metadata: &ObjectMeta) {
        // One that is no number cannot be compared; lists are then read as of now.
        if let Some(revision) = metadata.resource_version.as_ref().and_then(|v| v.parse().ok()) {
            self.0.fetch_max(revision, Ordering::Relaxed);
        }
    }

    /// The parameters of a list that is new enough.
    fn bound(&self, list: ListParams, freshness: Freshness) -> ListParams {
        let seen = self.0.load(Ordering::Relaxed);
        match freshness {
            Freshness::AtHand => list.match_any(),
            Freshness::Seen if seen > 0 => {
                list.at(&seen.to_string()).matching(VersionMatch::NotOlderThan)
            }
            Freshness::Seen | Freshness::Now => list,
        }
    }
}

/// How new a list must be. A single object is always read as it is now; a list that must be as new as
/// now makes the API server wait for its own cache, up to 100 ms (docs/decisions/0011).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// As it is now.
    Now,
    /// At least as new as everything that this process has seen.
    Seen,
    /// What the API server has at hand, most often milliseconds old. Good enough for what decides nothing,
    /// or where somebody looks again.
    AtHand,
}

/// The outcome of a call that looks something up.
pub fn read<T>(result: Result<T, CallError>) -> Read<T> {
    match result {
        Ok(value) => Read::Found(value),
        Err(error) if error.is_not_found() => Read::Missing,
        Err(error) => Read::Failed(error.to_string()),
    }
}

impl Reader {
    /// A reader that verifies attestations with these keys.
    #[must_use]
    pub fn new(client: Client, settings: Settings, keys: watch::Receiver<KeySet>) -> Self {
        let (seen, compiled) = (Revisions::default(), Compiled::default());
        Self { client, settings, keys, seen, compiled, accounts: Known::default() }
    }

    /// What the installation allows.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The client.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    fn namespaced<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// One object by its name.
    pub async fn get<K>(&self, api: Api<K>, name: &str) -> Read<K>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        read(bounded(format!("reading {} {name}", K::kind(&())), api.get(name)).await)
    }

    /// A request, its attestation verified.
    pub async fn request(&self, namespace: &str, name: &str) -> Read<Attested<AccessRequest>> {
        let api = self.namespaced::<Stored<AccessRequest>>(namespace);
        match self.get(api, name).await {
            Read::Found(stored) => match stored.attest(&self.keys.borrow()) {
                Ok(request) => Read::Found(request),
                Err(why) => Read::Failed(format!("AccessRequest {name} cannot be decoded: {why}")),
            },
            Read::Missing => Read::Missing,
            Read::Failed(why) => Read::Failed(why),
        }
    }

    /// Takes note of the revision of a decision that a watch shows.
    pub fn saw_decision(&self, decision: &ObjectMeta) {
        self.seen.decisions.note(decision);
    }

    /// Takes note of the revision of a request that a watch shows or that was written.
    pub fn saw_request(&self, request: &ObjectMeta) {
        self.seen.requests.note(request);
    }

    /// Takes note of the revision of a Grant that a watch shows or that was written.
    pub fn saw_grant(&self, grant: &ObjectMeta) {
        self.seen.grants.note(grant);
    }

    /// Takes note of the revision of a policy that a watch shows.
    pub fn saw_policy(&self, policy: &ObjectMeta) {
        self.seen.policies.note(policy);
    }

    /// The decisions about a request, their attestations verified. One that cannot be decoded is left
    /// out: it cannot have passed admission.
    pub async fn decisions(
        &self,
        namespace: &str,
        request: &str,
        freshness: Freshness,
    ) -> Read<Vec<Attested<AccessDecision>>> {
        let api = self.namespaced::<Stored<AccessDecision>>(namespace);
        let about = ListParams::default().fields(&format!("spec.request.name={request}"));
        let about = self.seen.decisions.bound(about, freshness);
        let what = format!("listing the decisions about AccessRequest {namespace}/{request}");
        let keys = self.keys.clone();
        read(bounded(what, api.list(&about)).await).map(|list| {
            let keys = keys.borrow();
            list.items.into_iter().filter_map(|stored| attested(stored, &keys)).collect()
        })
    }

    /// All policies: any of them may deny. The one that is named is read as it is now, however old the
    /// list may be.
    pub async fn policies(
        &self,
        named: Option<&str>,
        freshness: Freshness,
    ) -> Read<Vec<PolicyState>> {
        let api: Api<Stored<JitPolicy>> = Api::all(self.client.clone());
        let params = self.seen.policies.bound(ListParams::default(), freshness);
        let list = async { read(bounded("listing the JitPolicies", api.list(&params)).await) };
        let named = async {
            match named {
                Some(name) => Some((name, self.get(api.clone(), name).await)),
                None => None,
            }
        };
        let (list, named) = tokio::join!(list, named);
        let mut policies: Vec<PolicyState> = match list {
            Read::Found(list) => list.items.iter().map(|stored| self.compile(stored)).collect(),
            Read::Missing => Vec::new(),
            Read::Failed(why) => return Read::Failed(why),
        };
        if let Some((name, now)) = named {
            policies.retain(|policy| policy.name != name);
            match now {
                Read::Found(stored) => policies.push(self.compile(&stored)),
                Read::Missing => {}
                Read::Failed(why) => return Read::Failed(why),
            }
        }
        Read::Found(policies)
    }

    /// A policy as it was stored, compiled.
    #[must_use]
    pub fn compile(&self, stored: &Stored<JitPolicy>) -> PolicyState {
        match stored.object() {
            Ok(policy) => self.compiled.of(policy, &self.settings),
            Err(why) => {
                let uid = stored.uid().unwrap_or_default();
                PolicyState::unreadable(stored.name_any(), uid, why)
            }
        }
    }

    /// How long each policy keeps what is over, as the API server has the policies at hand.
    pub async fn retentions(&self) -> Read<Retentions> {
        let api: Api<Stored<JitPolicy>> = Api::all(self.client.clone());
        let params = self.seen.policies.bound(ListParams::default(), Freshness::AtHand);
        let list = read(bounded("listing the JitPolicies", api.list(&params)).await);
        list.map(|list| {
            let stored = list.items.iter();
            Retentions::of(stored.map(|stored| stored.object().map_err(|_| stored.meta())))
        })
    }

    /// The Grant of this name.
    pub async fn grant(&self, name: &str) -> Read<Grant> {
        let api: Api<Stored<Grant>> = Api::all(self.client.clone());
        match self.get(api, name).await {
            Read::Found(stored) => match stored.into_object() {
                Ok(grant) => Read::Found(grant),
                Err(why) => Read::Failed(format!("Grant {name} cannot be decoded: {why}")),
            },
            Read::Missing => Read::Missing,
            Read::Failed(why) => Read::Failed(why),
        }
    }

    /// The Grants of the requests that have, or had, this name: one at most for each UID. Those that
    /// cannot be decoded are left out.
    pub async fn grants_of(&self, namespace: &str, request: &str) -> Read<Vec<Grant>> {
        let api: Api<Stored<Grant>> = Api::all(self.client.clone());
        let list = bounded("listing the Grants", api.list(&ListParams::default())).await;
        let is_of = |grant: &Grant| {
            let of = &grant.spec.request;
            of.namespace == namespace && of.name == request
        };
        read(list).map(|list| {
            let decoded = list.items.into_iter().filter_map(|stored| stored.into_object().ok());
            decoded.filter(is_of).collect()
        })
    }

    /// The rules of the role of a target. A `Role` must exist in each of its namespaces.
    pub async fn role(&self, target: &ResolvedTarget) -> Read<RoleRules> {
        let RoleRef { kind, name } = match &target.privilege {
            Privilege::Role(role) => role,
            Privilege::Rules(_) => {
                return RoleRules::spelled_out(target).map_or(Read::Missing, Read::Found);
            }
        };
        match kind {
            RoleKind::ClusterRole => self.rules(None, name).await.map(RoleRules::of_cluster_role),
            RoleKind::Role => {
                let reads = target.namespaces().map(async |namespace| {
                    (namespace.to_owned(), self.rules(Some(namespace), name).await)
                });
                let mut rules = Vec::new();
                for (namespace, read) in join_all(reads).await {
                    match read {
                        Read::Found(found) => rules.push((namespace, found)),
                        Read::Missing => return Read::Missing,
                        Read::Failed(why) => return Read::Failed(why),
                    }
                }
                Read::Found(RoleRules::of_roles(rules))
            }
        }
    }

    /// The rules of the roles that Deny policies name, if the target spells out rules. A `Role` that stands
    /// in some of the namespaces alone is known by those.
    pub async fn banned_roles(
        &self,
        policies: &[PolicyState],
        target: &ResolvedTarget,
    ) -> BannedRoles {
        let reads = banned_roles(policies, target).into_iter().map(async |role| {
            let of_places = target.each_with(role);
            let mut known = RoleRules::default();
            for read in join_all(of_places.iter().map(|place| self.role(place))).await {
                match read {
                    Read::Found(rules) => known.join(rules),
                    Read::Missing => {}
                    Read::Failed(why) => return (role.clone(), Read::Failed(why)),
                }
            }
            (role.clone(), Read::Found(known))
        });
        join_all(reads).await.into_iter().collect()
    }

    /// The namespaces of a target. One that is being deleted takes no new objects: it counts as
    /// missing.
    pub async fn namespaces(&self, target: &ResolvedTarget) -> Namespaces {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let reads = target.namespaces().map(|name| {
            let api = api.clone();
            async move {
                let found = match self.get(api, name).await {
                    Read::Found(namespace) if namespace.metadata.deletion_timestamp.is_some() => {
                        Read::Missing
                    }
                    other => other.map(|namespace| Labelled {
                        labels: namespace.metadata.labels.unwrap_or_default(),
                    }),
                };
                (name.to_owned(), found)
            }
        });
        join_all(reads).await.into_iter().collect()
    }
}

/// A value in a field selector (`k8s.io/apimachinery/pkg/fields`, `EscapeValue`).
fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=")
}

fn attested(stored: Stored<AccessDecision>, keys: &KeySet) -> Option<Attested<AccessDecision>> {
    let name = stored.name_any();
    stored
        .attest(keys)
        .inspect_err(|error| warn!(decision = %name, %error, "a decision cannot be decoded"))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn a_name_cannot_end_a_selector() {
        assert_eq!(escape("alice"), "alice");
        assert_eq!(escape(r"a,spec.x=b\c"), r"a\,spec.x\=b\\c");
    }
}
