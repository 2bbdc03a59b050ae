//! Reconciles a grant: observe, decide, apply, report.

mod apply;
mod begin;
mod left;
mod report;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt as _;
use lapse_cluster::Occasion;
use lapse_cluster::index::{KnownGrant, version};
use lapse_crds::{Grant, GrantPhase, GrantStatus};
use lapse_engine::Read;
use lapse_engine::grant::{Action, Observed, Obstacle, decide};
use lapse_engine::summary::GrantSummary;
use tokio::time::timeout;
use tracing::warn;

pub(crate) use self::apply::remove_finalizer;
pub(crate) use self::begin::begin;
use crate::context::{Context, STAND_BY};
use crate::error::ReconcileError;
use crate::poison;
use crate::queue::{Done, Lane, Reconciled};
use crate::touched::lane_to_give;

/// How long after the timer of its end a grant is looked at in any case.
const AFTER_TIMER: TimeDelta = TimeDelta::seconds(1);
/// How long saying why something could not be taken keeps it from being tried again.
const SAID_WITHIN: Duration = Duration::from_millis(500);
/// How many times a grant is looked at in one reconciliation: create, record, delete, verify, and one
/// to spare.
const ROUNDS: usize = 5;

/// Brings a grant to where it must be.
pub(crate) async fn reconcile(context: &Context, name: &str, lane: Lane) -> Reconciled {
    let known = context.reader.index().grant(name);
    let is_over = known.as_ref().is_none_or(KnownGrant::is_over);
    if is_over {
        left::take(context, name).await?;
    }
    let Some(known) = known else { return Ok(Done::Until(None)) };
    match &known.summary {
        // A binding that comes back under its name is an orphan, and removed as one.
        Ok(grant) if grant.is_settled() => Ok(Done::Until(None)),
        // Whoever writes it begins it.
        Ok(grant) => match context.touched.in_hand.defers(name, lane) {
            Some(wait) if lane.may_end() => Ok(Done::HeldUntil(context.clock.now() + wait)),
            Some(_) => Ok(Done::Until(None)),
            None => {
                let converged = converge(context, grant, None, lane).boxed().await?;
                Ok(converged.done())
            }
        },
        // Its bindings carry their own end.
        Err(why) => {
            let next = left::take_due(context, name, why).await?;
            poison::report::<Grant>(context, None, name, why, "Active").await?;
            Ok(next.map_or(Done::Until(None), Done::HeldUntil))
        }
    }
}

/// What a grant was brought to.
#[derive(Default)]
struct Converged {
    /// When to look again, if nothing happens before.
    wake_at: Option<DateTime<Utc>>,
    /// For what it is looked at then.
    next: Next,
    /// The Grant as it was written at last, if it was.
    written: Option<Grant>,
}

/// For what a grant is looked at next.
#[derive(Clone, Copy, Default)]
enum Next {
    /// For what it is looked at now.
    #[default]
    Same,
    /// Its right is held, or is being taken back.
    MayEnd,
    /// The same, and it could not be told whether it ends, or has ended.
    Unsure,
    /// Its right is still to be given, in this lane.
    ToGive(Lane),
}

impl Next {
    /// Of what was observed, when it was brought to this phase.
    fn of(
        known: &GrantSummary,
        observed: &Observed,
        phase: GrantPhase,
        now: DateTime<Utc>,
    ) -> Self {
        match phase {
            GrantPhase::Pending => Self::ToGive(lane_to_give(known)),
            _ if observed.is_unsure(phase, now) => Self::Unsure,
            GrantPhase::Active | GrantPhase::Ending => Self::MayEnd,
            GrantPhase::Ended => Self::Same,
        }
    }
}

impl Converged {
    fn done(&self) -> Done {
        match (self.next, self.wake_at) {
            (Next::MayEnd, Some(at)) => Done::HeldUntil(at),
            (Next::Unsure, Some(at)) => Done::UnsureUntil(at),
            (Next::ToGive(lane), Some(at)) => Done::ToGive(lane, at),
            (_, wake_at) => Done::Until(wake_at),
        }
    }
}

/// Looks, decides and acts until nothing is left to do. What was just seen saves the first look. In a lane of what may end,
/// nothing is given: that has places of its own.
async fn converge(
    context: &Context,
    known: &GrantSummary,
    mut seen: Option<Box<Observed>>,
    lane: Lane,
) -> Result<Converged, ReconcileError> {
    let mut obstacle: Option<Obstacle> = None;
    let mut known = known.clone();
    let mut unsaid = None;
    for _ in 0..ROUNDS {
        let mut observed = match seen.take() {
            Some(observed) => observed,
            None => match observe(context, &known, obstacle.take()).await? {
                Some(observed) => Box::new(observed),
                None => return Ok(Converged::default()),
            },
        };
        known = GrantSummary::of(&observed.grant);
        let now = time_of(context, &known);
        let plan = decide(&observed, now);
        if plan.gives() && !context.may_give() {
            // The lease and the clocks can change without an event; the end is due whoever holds it.
            let soon = context.clock.now() + STAND_BY;
            let wake_at = Some(plan.wake_at.map_or(soon, |wake_at| wake_at.min(soon)));
            let next = Next::of(&known, &observed, known.phase(), now);
            return Ok(Converged { wake_at, next, written: None });
        }
        if plan.gives() && known.phase() == GrantPhase::Pending && lane.may_end() {
            // Nothing ends. What giving waits for, however long, is to take no place from what does.
            let wake_at = Some(context.clock.now());
            let next = Next::of(&known, &observed, known.phase(), now);
            return Ok(Converged { wake_at, next, written: None });
        }
        if plan.actions.is_empty() {
            let phase = plan.status.as_ref().map_or(known.phase(), |status| status.phase);
            let next = Next::of(&known, &observed, phase, now);
            let written = report::report(context, &observed.grant, plan.status).await?;
            report::tell(context, &observed.grant, plan.warning);
            let wake_at = plan.wake_at.map(|at| beside_timer(at, known.expires_at.time()));
            return Ok(Converged { wake_at, next, written });
        }
        let gives = plan.gives();
        let failure = match apply::apply(context, &observed.grant, &plan.actions).await {
            Ok(made) => {
                if plan.report_always {
                    report::report(context, &observed.grant, plan.status).await?;
                } else if !gives {
                    unsaid = Some((observed.grant.clone(), plan.status));
                    seen = with_what_stands(context, &known, observed).await;
                } else if made.is_all {
                    // What was made is recorded as it was stored: the rest was seen a moment ago.
                    for (object, live) in made.objects {
                        let mut places = observed.objects.iter_mut();
                        let place = places.find(|(known, _)| *known == object);
                        if let Some((_, stands)) = place {
                            *stands = Read::Found(live);
                        }
                    }
                    seen = Some(observed);
                }
                continue;
            }
            Err(failure) => failure,
        };
        // What cannot be given will not be. What cannot be taken is tried again for ever, and said.
        if failure.is_lasting() && gives {
            let (message, now) = (failure.to_string(), context.clock.now());
            let refused = Obstacle::refused(&observed.grant, message, failure.may_pass(), now);
            if refused.lasting {
                obstacle = Some(refused);
                continue;
            }
        }
        // What will be tried again is said, so that whoever waits knows for what. No end is concluded from
        // what was seen before some of it was made.
        let status = if gives {
            observed.obstacle = Some(Obstacle { message: failure.to_string(), lasting: false });
            let status = decide(&observed, time_of(context, &known)).status;
            status.filter(|status| status.phase == GrantPhase::Pending)
        } else {
            plan.status
        };
        if plan.actions.iter().any(|action| matches!(action, Action::Delete { .. })) {
            say_in_time(context, &observed.grant, status).await;
            return Err(ReconcileError::NotTaken(failure));
        }
        report::report(context, &observed.grant, status).await?;
        return Err(failure.into());
    }
    // What was taken stands nevertheless: somebody's finalizer keeps it, say.
    if let Some((grant, status)) = unsaid {
        report::report(context, &grant, status).await?;
    }
    Err(ReconcileError::Unstable(ROUNDS))
}

/// What was observed of a right that is being taken back, with what stands of its objects now: nothing else bears on whether
/// it is gone. `None` if its Grant has changed since, as far as is known, so that it is to be read again.
async fn with_what_stands(
    context: &Context,
    known: &GrantSummary,
    mut observed: Box<Observed>,
) -> Option<Box<Observed>> {
    // One that is over has no objects by its summary.
    known.live.as_ref()?;
    observed.objects = context.reader.objects(known).boxed().await;
    let shown = context.reader.index().grant(&known.name)?.version;
    (shown <= version(&observed.grant.metadata)).then_some(observed)
}

/// Says why something could not be taken. Whatever becomes of that, it is tried again to take it, and not later for it.
async fn say_in_time(context: &Context, grant: &Grant, status: Option<GrantStatus>) {
    match timeout(SAID_WITHIN, report::report(context, grant, status).boxed()).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => warn!(%error, "why access is not revoked yet could not be written"),
        Err(_) => warn!("why access is not revoked yet was not written in time"),
    }
}

/// At its end a grant is taken by a timer of its own. That it is looked at then, too, would do the work twice, so
/// that look comes a little later, in case that the timer failed.
fn beside_timer(at: DateTime<Utc>, end: DateTime<Utc>) -> DateTime<Utc> {
    if at == end { at + AFTER_TIMER } else { at }
}

fn time_of(context: &Context, known: &GrantSummary) -> DateTime<Utc> {
    context.touched.deadlines.time_of(known, context.clock.now())
}

async fn observe(
    context: &Context,
    known: &GrantSummary,
    obstacle: Option<Obstacle>,
) -> Result<Option<Observed>, ReconcileError> {
    let now = time_of(context, known);
    let observed = context.reader.observe_grant(known, Occasion::Follow, now).boxed().await?;
    if observed.is_none() {
        context.touched.gone(&known.name);
    }
    Ok(observed.map(|observed| Observed { obstacle, ..observed }))
}

#[cfg(test)]
mod tests;
