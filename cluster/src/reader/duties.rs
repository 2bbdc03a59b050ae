//! Who takes part in what is kept apart from what a request asks for.

use futures::future::join_all;
use kube::Api;
use kube::api::ListParams;
use lapse_crds::Grant;
use lapse_engine::Read;
use lapse_engine::duties::bearing_on;
use lapse_engine::policy::PolicyState;

use super::{Freshness, Reader, read};
use crate::{Stored, bounded};

impl Reader {
    /// The live Grants by the policies that bear on a request under the policy that it names, or under
    /// any. Mostly there are no such policies, and nothing is read.
    ///
    /// One that cannot be decoded is a failure: nobody knows who holds it.
    pub async fn engaging(
        &self,
        policies: &[PolicyState],
        named: Option<&str>,
        freshness: Freshness,
    ) -> Read<Vec<Grant>> {
        let bearing = bearing_on(policies, named);
        let lists = bearing.iter().map(|policy| self.live_by(policy, freshness));
        let mut grants = Vec::new();
        for list in join_all(lists).await {
            match list {
                Read::Found(found) => grants.extend(found),
                other => return other,
            }
        }
        Read::Found(grants)
    }

    async fn live_by(&self, policy: &str, freshness: Freshness) -> Read<Vec<Grant>> {
        let api: Api<Stored<Grant>> = Api::all(self.client.clone());
        let live = format!("spec.policy.name={},status.phase!=Ended", super::escape(policy));
        let live = self.seen.grants.bound(ListParams::default().fields(&live), freshness);
        let what = format!("listing the live Grants by JitPolicy {policy}");
        let list = match read(bounded(what, api.list(&live)).await) {
            Read::Found(list) => list,
            Read::Missing => return Read::Missing,
            Read::Failed(why) => return Read::Failed(why),
        };
        let decoded: Result<Vec<Grant>, String> =
            list.items.into_iter().map(Stored::into_object).collect();
        match decoded {
            Ok(grants) => Read::Found(grants),
            Err(why) => {
                Read::Failed(format!("a Grant by JitPolicy {policy} cannot be decoded: {why}"))
            }
        }
    }
}
