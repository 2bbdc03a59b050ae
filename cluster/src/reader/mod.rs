//! Live reads of the single objects that bear on a decision, each bounded, in parallel, and none of them able to
//! hide that it failed. Everything else comes from the index.

mod accounts;
mod batch;
mod past;
mod policies;
mod restored;
mod roles;
mod undebugged;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{join_all, join3};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::api::ObjectMeta;
use kube::{Api, Client, Resource};
use lapse_crds::{AccessRequest, Endpoint, Grant, Identity, Origin, RoleKind, RoleRef};
use lapse_engine::attest::{Attested, KeySet};
use lapse_engine::endpoint::EndpointFacts;
use lapse_engine::policy::{BannedRoles, Policies, PolicyState};
use lapse_engine::role::RoleRules;
use lapse_engine::surroundings::Surroundings;
use lapse_engine::target::{Namespace as Labelled, Namespaces, Privilege, ResolvedTarget};
use lapse_engine::{Read, Settings};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use self::batch::Batched;
use self::policies::Versions;
use self::undebugged::Undebugged;
use crate::accounts::{Bindings, Known};
use crate::index::{Index, version};
use crate::watch::Revision;
use crate::{CALL_LIMIT, CallError, Stored, bounded_read};

/// Reads single objects from the API server, and looks everything else up in the index.
#[derive(Clone)]
pub struct Reader {
    client: Client,
    index: Index,
    keys: watch::Receiver<KeySet>,
    policies: Batched<PolicyState>,
    versions: Batched<Arc<Versions>>,
    rules: Batched<Vec<PolicyRule>>,
    namespaces: Batched<Labelled>,
    past: Batched<()>,
    bindings: Batched<Bindings>,
    accounts: Known,
    undebugged: Undebugged,
    revision: Option<Arc<Revision>>,
    limit: Duration,
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
    pub fn new(client: Client, index: Index, keys: watch::Receiver<KeySet>) -> Self {
        Self {
            client,
            index,
            keys,
            policies: Batched::default(),
            versions: Batched::default(),
            rules: Batched::default(),
            namespaces: Batched::default(),
            past: Batched::default(),
            bindings: Batched::default(),
            accounts: Known::default(),
            undebugged: Undebugged::default(),
            revision: None,
            limit: CALL_LIMIT,
        }
    }

    /// One that waits at most so long for a single object.
    #[must_use]
    pub fn waiting_for(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// One that tells when what it reads is older than what the index has seen.
    #[must_use]
    pub fn noticing(self, revision: Arc<Revision>) -> Self {
        Self { revision: Some(revision), ..self }
    }

    /// The index.
    #[must_use]
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// What the installation allows.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        self.index.settings()
    }

    /// Where no pod with an ephemeral container is left to be stopped.
    pub(crate) fn undebugged(&self) -> &Undebugged {
        &self.undebugged
    }

    /// The client.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn namespaced<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// One object by its name. A read that gets no answer is asked for again after a second, beside the first: an end waits
    /// for it, perhaps.
    pub async fn get<K>(&self, api: Api<K>, name: &str) -> Read<K>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        let what = format!("reading {} {name}", K::kind(&()));
        read(bounded_read(self.limit, what, || api.get(name)).await)
    }

    /// One object by its name, of which the index has seen this version.
    pub(crate) async fn get_known<K>(&self, api: Api<K>, name: &str, seen: Option<u64>) -> Read<K>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        let read = self.get(api, name).await;
        if let (Read::Found(now), Some(seen)) = (&read, seen) {
            self.ran_backwards(version(now.meta()), seen);
        }
        read
    }

    /// The same, of its metadata alone: what an object says need not be told when it never changes.
    pub(crate) async fn get_known_metadata<K>(
        &self,
        api: Api<K>,
        name: &str,
        seen: u64,
    ) -> Read<ObjectMeta>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        let what = format!("reading {} {name}", K::kind(&()));
        let found = read(bounded_read(self.limit, what, || api.get_metadata(name)).await);
        let found = found.map(|object| object.metadata);
        if let Read::Found(now) = &found {
            self.ran_backwards(version(now), seen);
        }
        found
    }

    /// Compares the version of what was just read or written with one that was seen before that was asked for. Whether it
    /// is older: the store is another than the one that was seen then, and all that the index knows is in doubt from here on.
    #[expect(clippy::must_use_candidate, reason = "whoever reads what stands goes by that")]
    pub fn ran_backwards(&self, now: u64, seen: u64) -> bool {
        let Some(revision) = &self.revision else { return false };
        // What is in doubt is not doubted again before it was listed.
        self.index.is_in_doubt() || revision.compare(now, seen)
    }

    /// A request, its attestation verified.
    pub async fn request(&self, namespace: &str, name: &str) -> Read<Attested<AccessRequest>> {
        let api = self.namespaced::<Stored<AccessRequest>>(namespace);
        let seen = self.index.request_named(namespace, name).map(|known| known.version);
        match self.get_known(api, name, seen).await {
            Read::Found(stored) => match stored.attest(&self.keys.borrow()) {
                Ok(request) => Read::Found(request),
                Err(why) => Read::Failed(format!("AccessRequest {name} cannot be decoded: {why}")),
            },
            Read::Missing => Read::Missing,
            Read::Failed(why) => Read::Failed(why),
        }
    }

    /// The Grant of this name.
    pub async fn grant(&self, name: &str) -> Read<Grant> {
        let api: Api<Stored<Grant>> = Api::all(self.client.clone());
        let seen = self.index.grant(name).map(|known| known.version);
        match self.get_known(api, name, seen).await {
            Read::Found(stored) => match stored.object() {
                Ok(grant) => Read::Found(grant),
                Err(why) => Read::Failed(format!("Grant {name} cannot be decoded: {why}")),
            },
            Read::Missing => Read::Missing,
            Read::Failed(why) => Read::Failed(why),
        }
    }

    /// The rules of the role of a target. A `Role` must exist in each of its namespaces.
    pub async fn role(&self, target: &ResolvedTarget) -> Read<RoleRules> {
        let RoleRef { kind, name } = match &target.privilege {
            Privilege::Role(role) => role,
            Privilege::Rules(_) => {
                return RoleRules::spelled_out(target).map_or(Read::Missing, Read::Found);
            }
            // What is held on a host allows nothing in the cluster.
            Privilege::Elevation(_) => return Read::Found(RoleRules::default()),
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

    /// The rules of the roles that Deny policies for this person name, if the target spells out rules. A `Role` that
    /// stands in some of the namespaces alone is known by those.
    pub async fn banned_roles(
        &self,
        policies: &Policies,
        who: &Identity,
        target: &ResolvedTarget,
    ) -> BannedRoles {
        let reads = policies.banned_roles(who, target).into_iter().map(async |role| {
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

    /// What is known of where a target holds, and of where it was asked for.
    pub async fn surroundings(
        &self,
        target: &ResolvedTarget,
        origin: Option<&Origin>,
    ) -> Surroundings {
        // Most people ask on a host for something on that host.
        let place = target.scope.endpoint();
        let is_there = |origin: &&Origin| place.is_some_and(|place| place.name == origin.endpoint);
        let origin_elsewhere = async {
            match origin.filter(|origin| !is_there(origin)) {
                Some(origin) => Some(self.endpoint(&origin.endpoint).await),
                None => None,
            }
        };
        // Each on the heap: whoever looks at a request holds them as long as that takes.
        let (namespaces, endpoint, elsewhere) = join3(
            Box::pin(self.namespaces_of(target.namespaces())),
            Box::pin(self.endpoint_of(target)),
            Box::pin(origin_elsewhere),
        )
        .await;
        let there = endpoint.clone().filter(|_| origin.is_some());
        Surroundings { namespaces, endpoint, origin: elsewhere.or(there) }
    }

    /// What is known of the Endpoint of a target, if it is on one.
    pub async fn endpoint_of(&self, target: &ResolvedTarget) -> Option<Read<EndpointFacts>> {
        let place = target.scope.endpoint()?;
        Some(self.endpoint(&place.name).await)
    }

    /// What is known of an Endpoint.
    pub async fn endpoint(&self, name: &str) -> Read<EndpointFacts> {
        let api: Api<Stored<Endpoint>> = Api::all(self.client.clone());
        match self.get(api, name).await {
            Read::Found(stored) => match stored.object() {
                Ok(endpoint) => Read::Found(EndpointFacts::of(&endpoint)),
                Err(why) => Read::Failed(format!("Endpoint {name} cannot be decoded: {why}")),
            },
            Read::Missing => Read::Missing,
            Read::Failed(why) => Read::Failed(why),
        }
    }

    /// The namespaces of these names.
    pub async fn namespaces_of<'a>(&self, names: impl Iterator<Item = &'a str>) -> Namespaces {
        let reads = names.map(|name| async move {
            (name.to_owned(), self.namespaces.get(name, || self.namespace(name)).await)
        });
        join_all(reads).await.into_iter().collect()
    }

    fn namespace(&self, name: &str) -> futures::future::BoxFuture<'static, Read<Labelled>> {
        let (reader, name) = (self.clone(), name.to_owned());
        async move {
            let api: Api<Namespace> = Api::all(reader.client.clone());
            reader.get(api, &name).await.map(|namespace| Labelled {
                is_going: namespace.metadata.deletion_timestamp.is_some(),
                labels: namespace.metadata.labels.unwrap_or_default(),
            })
        }
        .boxed()
    }
}
