//! Policies as they are now, beside those that the index has.

use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all};
use kube::Api;
use kube::api::{ListParams, ObjectMeta};
use lapse_crds::JitPolicy;
use lapse_engine::Read;
use lapse_engine::policy::{Policies, PolicyState};

use super::{Reader, read};
use crate::{Occasion, Stored, bounded};

/// Deny policies alone.
const DENYING: &str = "spec.effect=Deny";

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
        let bans = async {
            if occasion.needs_bans_as_of_now() { self.denying().await } else { Ok(Vec::new()) }
        };
        let (of_name, bans) = tokio::join!(of_name, bans);
        let mut policies = match self.index().policies() {
            Read::Found(policies) => policies,
            other => return other,
        };
        let bans = match bans {
            Ok(bans) => bans,
            Err(why) => return Read::Failed(why),
        };
        // What is as of now comes after what was seen.
        let changed = bans.into_iter().chain(of_name.map(|(name, now)| (name.to_owned(), now)));
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

    /// The Deny policies that are now others than the index has seen, or are Deny policies no more. It makes the API
    /// server wait for its own cache, up to 100 ms (docs/decisions/0011), and costs what there are of them.
    async fn denying(&self) -> Result<Vec<(String, Read<PolicyState>)>, String> {
        let api: Api<JitPolicy> = Api::all(self.client().clone());
        let denying = ListParams::default().fields(DENYING);
        let list = bounded("listing what is denied", api.list_metadata(&denying)).await;
        let list = match read(list) {
            Read::Found(list) => list,
            Read::Missing => return Ok(Vec::new()),
            Read::Failed(why) => return Err(why),
        };
        let now: Vec<&ObjectMeta> = list.items.iter().map(|item| &item.metadata).collect();
        let is_seen = |metadata: &ObjectMeta| {
            let name = metadata.name.as_deref().unwrap_or_default();
            self.index().policy(name).is_some_and(|known| {
                known.generation == metadata.generation
                    && Some(&known.state.uid) == metadata.uid.as_ref()
            })
        };
        let unseen = now.iter().filter(|metadata| !is_seen(metadata));
        let unseen = unseen.filter_map(|metadata| metadata.name.clone());
        let seen = self.index().policies().found().cloned().unwrap_or_default();
        let is_listed =
            |name: &str| now.iter().any(|metadata| metadata.name.as_deref() == Some(name));
        let gone = seen.denying().filter(|state| !is_listed(&state.name));
        let gone = gone.map(|state| state.name.clone());
        let names: Vec<String> = unseen.chain(gone).collect();
        let reads = names.into_iter().map(async |name| {
            let now = self.policy(&name).await;
            (name, now)
        });
        Ok(join_all(reads).await)
    }

    /// A policy as it is stored.
    pub async fn stored_policy(&self, name: &str) -> Read<Stored<JitPolicy>> {
        let api: Api<Stored<JitPolicy>> = Api::all(self.client().clone());
        self.get(api, name).await
    }
}
