//! What a Deny or an End is judged from: the request; for a Deny its one policy, too, and one question to the API server.
//! Saying no must be possible whatever else cannot be read, or hangs: roles, namespaces, other policies, keys.

use std::time::Duration;

use k8s_openapi::api::authentication::v1::UserInfo;
use lapse_cluster::Reader;
use lapse_crds::{AccessRequest, Verdict};
use lapse_engine::Read;
use lapse_engine::policy::{Policy, PolicyState};
use tokio::time::timeout;

use super::around::{denied_by, may, policy_name};
use crate::admission::Admission;

/// How long the policy and the question may take. What the policy said when it was last seen is good enough then.
const LIMIT: Duration = Duration::from_secs(2);

/// The policy of a request that somebody says no to, and what they may do to it.
pub(super) struct Alone {
    name: Option<String>,
    /// The policy, or why there is none.
    pub(super) policy: Result<Policy, String>,
    /// Whether the caller holds the verb that the verdict needs, or why that cannot be told.
    pub(super) may: Result<bool, String>,
}

impl Alone {
    pub(super) async fn read(
        admission: &Admission,
        request: &AccessRequest,
        verdict: Verdict,
        decider: &UserInfo,
    ) -> Self {
        let reader = admission.reader();
        let Some(name) = name_of(reader, request, verdict) else {
            let policy = Err("no policy is known to decide about it".to_owned());
            return Self {
                name: None,
                policy,
                may: asked(admission, decider, verdict, None).await,
            };
        };
        // A request is ended by who made it, whatever its policy says.
        if verdict == Verdict::End {
            return Self { policy: seen(reader, &name), may: Ok(false), name: Some(name) };
        }
        let now = timeout(LIMIT, reader.policy(&name));
        let (now, may) = tokio::join!(now, asked(admission, decider, verdict, Some(&name)));
        let policy = match now {
            Ok(Read::Found(state)) => usable(&state),
            Ok(Read::Missing) => Err(format!("JitPolicy {name} was deleted")),
            Ok(Read::Failed(_)) | Err(_) => seen(reader, &name),
        };
        Self { name: Some(name), policy, may }
    }

    /// Whether it is the policy of this request that was read.
    pub(super) fn is_of(
        &self,
        admission: &Admission,
        request: &AccessRequest,
        verdict: Verdict,
    ) -> bool {
        self.name == name_of(admission.reader(), request, verdict)
    }
}

/// The policy that gave the right, or else the one that the request names, or was last decided by.
fn name_of(reader: &Reader, request: &AccessRequest, verdict: Verdict) -> Option<String> {
    let uid = request.metadata.uid.as_deref().unwrap_or_default();
    let known = || reader.index().request(uid)?.summary.ok()?.policy.clone();
    let named = policy_name(verdict, request).map(ToOwned::to_owned).or_else(known);
    denied_by(verdict, request, named.as_deref())
}

/// What was last seen of a policy.
fn seen(reader: &Reader, name: &str) -> Result<Policy, String> {
    match reader.index().policy(name) {
        Some(known) => usable(&known.state),
        None => Err(format!("JitPolicy {name} is not known")),
    }
}

fn usable(state: &PolicyState) -> Result<Policy, String> {
    state.policy().cloned().ok_or_else(|| format!("JitPolicy {} says nothing of it", state.name))
}

async fn asked(
    admission: &Admission,
    decider: &UserInfo,
    verdict: Verdict,
    policy: Option<&str>,
) -> Result<bool, String> {
    let late = |_| Err("the API server did not say in time what the caller may".to_owned());
    timeout(LIMIT, may(admission, decider, verdict, policy)).await.unwrap_or_else(late)
}

#[cfg(test)]
mod tests;
