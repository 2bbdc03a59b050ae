//! Reports on policies: whether they can decide, and how many grants they hold.

use chrono::TimeDelta;
use kube::Api;
use lapse_cluster::replace_status;
use lapse_crds::{JitPolicy, PolicyEffect, PolicyMode};
use lapse_engine::Read;
use lapse_engine::policy::{NamedRole, report, told};

use crate::context::Context;
use crate::error::ReconcileError;
use crate::poison;
use crate::queue::{Done, Reconciled};

/// How soon roles that could not be looked up are looked up again.
const RETRY: TimeDelta = TimeDelta::seconds(5);

/// Reports on a policy.
pub(crate) async fn reconcile(context: &Context, name: &str) -> Reconciled {
    if !context.leadership.is_held() {
        // Whoever gains the lease looks at everything.
        return Ok(Done::Until(None));
    }
    if let Some(known) = context.reader.index().policy(name)
        && let Some(why) = &known.unreadable
    {
        return poison::report::<JitPolicy>(context, None, name, why, "Ready").await;
    }
    let stored = match context.reader.stored_policy(name).await {
        Read::Found(stored) => stored,
        Read::Missing => return Ok(Done::Until(None)),
        Read::Failed(why) => return Err(ReconcileError::Unknown(why)),
    };
    let state = context.reader.index().compile(&stored);
    // A policy that cannot be decoded cannot be written back either; its requests say why.
    let Ok(policy) = stored.object() else {
        return Ok(Done::Until(None));
    };
    let active = context.reader.index().count_active(&state.name, &state.uid);
    let active = i64::try_from(active).unwrap_or(i64::MAX);
    let is_looked_for =
        policy.spec.effect == PolicyEffect::Allow && policy.spec.mode != PolicyMode::Disabled;
    let roles = if is_looked_for { context.reader.named_roles(&policy.spec).await } else { vec![] };
    let now = context.clock.now();
    if let Some(status) = report(&policy, &state, &roles, active, now) {
        let notice = told(&policy, &status);
        let updated = JitPolicy { status: Some(status), ..policy };
        let api: Api<JitPolicy> = Api::all(context.client());
        replace_status(&api, &updated).await?;
        if let Some(notice) = notice {
            context.notifier.tell(&updated, &notice, now);
        }
    }
    // Whether a role comes or goes is told by its watch.
    Ok(Done::Until(roles.iter().any(NamedRole::is_unknown).then(|| now + RETRY)))
}
