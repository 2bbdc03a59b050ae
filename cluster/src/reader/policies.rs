//! Policies as they are now, beside those that the index has.

use std::collections::HashMap;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all};
use kube::Api;
use kube::api::{ListParams, ObjectMeta};
use lapse_crds::JitPolicy;
use lapse_engine::Read;
use lapse_engine::policy::{Policies, PolicyState};

use super::{Reader, read};
use crate::index::KnownPolicy;
use crate::occasion::AsOfNow;
use crate::{Occasion, Stored, bounded};

/// Deny policies alone.
const DENYING: &str = "spec.effect=Deny";

/// The policies that a list names, by name.
pub(super) type Versions = HashMap<String, Version>;

/// Which policy of a name it is, and which of its specs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    uid: Option<String>,
    generation: Option<i64>,
}

impl From<ObjectMeta> for Version {
    fn from(metadata: ObjectMeta) -> Self {
        Self { uid: metadata.uid, generation: metadata.generation }
    }
}

impl Version {
    fn of(known: &KnownPolicy) -> Self {
        Self { uid: Some(known.state.uid.clone()), generation: known.generation }
    }
}

impl Reader {
    /// A policy as it is now, compiled.
    pub async fn policy(&self, name: &str) -> Read<PolicyState> {
        self.policies.get(name, || self.read_policy(name)).await
    }

    fn read_policy(&self, name: &str) -> BoxFuture<'static, Read<PolicyState>> {
        let (reader, name) = (self.clone(), name.to_owned());
        async move {
            let api: Api<Stored<JitPolicy>> = Api::all(reader.client().clone());
            reader.get(api, &name).await.map(|stored| reader.index().compile(&stored))
        }
        .boxed()
    }

    /// All policies, as new as the occasion asks. The one that is named is as it is now.
    pub async fn policies(&self, named: Option<&str>, occasion: Occasion) -> Read<Policies> {
        let of_name = async {
            match named {
                Some(name) => Some((name, self.policy(name).await)),
                None => None,
            }
        };
        let unseen = async {
            match occasion.policies_as_of_now() {
                Some(which) => self.unseen(which).await,
                None => Ok(Vec::new()),
            }
        };
        let (of_name, unseen) = tokio::join!(of_name, unseen);
        let mut policies = match self.index().policies() {
            Read::Found(policies) => policies,
            other => return other,
        };
        let unseen = match unseen {
            Ok(unseen) => unseen,
            Err(why) => return Read::Failed(why),
        };
        // What is as of now comes after what was seen.
        let changed = unseen.into_iter().chain(of_name.map(|(name, now)| (name.to_owned(), now)));
        for (name, now) in changed {
            match now {
                Read::Found(state) => {
                    if policies.get(&name) != Some(&state) {
                        policies.insert(state);
                    }
                }
                Read::Missing => policies.remove(&name),
                Read::Failed(why) => return Read::Failed(why),
            }
        }
        Read::Found(policies)
    }

    /// The policies that are now others than the index has seen, or are not listed any more.
    async fn unseen(&self, which: AsOfNow) -> Result<Vec<(String, Read<PolicyState>)>, String> {
        let reads = self.names_of_unseen(which).await?.into_iter().map(async |name| {
            let now = self.policy(&name).await;
            (name, now)
        });
        Ok(join_all(reads).await)
    }

    /// The names of the policies that are now others than the index has seen, or are not listed any more.
    ///
    /// # Errors
    /// If they cannot be listed, in words.
    pub async fn policies_not_seen(&self) -> Result<Vec<String>, String> {
        self.names_of_unseen(AsOfNow::All).await
    }

    /// It makes the API server wait for its own cache, up to 100 ms (docs/decisions/0011). What it costs follows from how
    /// many are listed, and who asks meanwhile shares the answer.
    async fn names_of_unseen(&self, which: AsOfNow) -> Result<Vec<String>, String> {
        let selector = match which {
            AsOfNow::Denying => DENYING,
            AsOfNow::All => "",
        };
        let list = match self.versions.get(selector, || self.versions_of(selector)).await {
            Read::Found(list) => list,
            Read::Missing => return Ok(Vec::new()),
            Read::Failed(why) => return Err(why),
        };
        let unseen = list.iter().filter(|(name, version)| {
            let known = self.index().policy(name);
            known.is_none_or(|known| Version::of(&known) != **version)
        });
        let unseen = unseen.map(|(name, _)| name.clone());
        let seen = self.index().policies().found().cloned().unwrap_or_default();
        let gone = seen.iter().filter(|state| match which {
            AsOfNow::Denying => state.denies(),
            AsOfNow::All => true,
        });
        let gone = gone.map(|state| state.name.clone()).filter(|name| !list.contains_key(name));
        Ok(unseen.chain(gone).collect())
    }

    fn versions_of(&self, selector: &'static str) -> BoxFuture<'static, Read<Arc<Versions>>> {
        let api: Api<JitPolicy> = Api::all(self.client().clone());
        async move {
            let params = ListParams::default().fields(selector);
            let list = read(bounded("listing policies", api.list_metadata(&params)).await);
            list.map(|list| {
                let items = list.items.into_iter().map(|item| item.metadata);
                Arc::new(
                    items
                        .map(|item| (item.name.clone().unwrap_or_default(), item.into()))
                        .collect(),
                )
            })
        }
        .boxed()
    }

    /// A policy as it is stored.
    pub async fn stored_policy(&self, name: &str) -> Read<Stored<JitPolicy>> {
        let api: Api<Stored<JitPolicy>> = Api::all(self.client().clone());
        self.get(api, name).await
    }
}
