//! Reports on policies: whether they can decide, and how many grants they hold.

use std::sync::Arc;

use chrono::TimeDelta;
use futures::FutureExt as _;
use kube::core::DeserializeGuard;
use kube::{Api, ResourceExt as _};
use lapse_cluster::{Stored, replace_status};
use lapse_crds::{GrantPhase, JitPolicy, PolicyEffect, PolicyMode};
use lapse_engine::Read;
use lapse_engine::policy::{NamedRole, report};

use crate::context::Context;
use crate::error::ReconcileError;
use crate::poison;
use crate::queue::{Outcome, Reconciliation};
use crate::watch::Guarded;

pub(crate) fn reconcile(cached: Arc<Guarded<JitPolicy>>, context: Arc<Context>) -> Reconciliation {
    async move {
        if !context.leadership.is_held() {
            return Ok(None);
        }
        match &*cached {
            DeserializeGuard(Ok(policy)) => converge(&context, &policy.name_any()).await,
            DeserializeGuard(Err(error)) => {
                poison::report::<JitPolicy>(&context, error, "Ready").await
            }
        }
    }
    .boxed()
}

/// How soon roles that could not be looked up are looked up again.
const RETRY: TimeDelta = TimeDelta::seconds(5);

async fn converge(context: &Context, name: &str) -> Outcome {
    let api: Api<Stored<JitPolicy>> = Api::all(context.client());
    let stored = match context.reader.get(api, name).await {
        Read::Found(stored) => stored,
        Read::Missing => return Ok(None),
        Read::Failed(why) => return Err(ReconcileError::Unknown(why)),
    };
    let state = context.reader.compile(&stored);
    // A policy that cannot be decoded cannot be written back either; its requests say why.
    let Ok(policy) = stored.into_object() else {
        return Ok(None);
    };
    let active = active_grants(context, &policy);
    let is_looked_for =
        policy.spec.effect == PolicyEffect::Allow && policy.spec.mode != PolicyMode::Disabled;
    let roles = if is_looked_for { context.reader.named_roles(&policy.spec).await } else { vec![] };
    let now = context.clock.now();
    if let Some(status) = report(&policy, &state, &roles, active, now) {
        let updated = JitPolicy { status: Some(status), ..policy };
        let api: Api<JitPolicy> = Api::all(context.client());
        replace_status(&api, &updated).await?;
    }
    // Whether a role comes or goes is told by its watch.
    Ok(roles.iter().any(NamedRole::is_unknown).then(|| now + RETRY))
}

fn active_grants(context: &Context, policy: &JitPolicy) -> i64 {
    let is_active = |grant: &Guarded<_>| match grant {
        DeserializeGuard(Ok(grant)) => {
            let grant: &lapse_crds::Grant = grant;
            let phase = grant.status.as_ref().map(|status| status.phase);
            Some(&grant.spec.policy.uid) == policy.metadata.uid.as_ref()
                && matches!(phase, Some(GrantPhase::Active | GrantPhase::Ending))
        }
        DeserializeGuard(Err(_)) => false,
    };
    let count = context.caches.grants.state().iter().filter(|grant| is_active(grant)).count();
    i64::try_from(count).unwrap_or(i64::MAX)
}
