//! Reconciles a grant: observe, decide, apply, report.

mod apply;
mod begin;
mod left;
mod report;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt as _;
use lapse_cluster::Occasion;
use lapse_cluster::index::KnownGrant;
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
            let next = left::take_due(context, name).await?;
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
                }
                if gives && made.is_all {
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

/// Says why something could not be taken. Whatever becomes of that, it is tried again to take it, and not later for it.
async fn say_in_time(context: &Context, grant: &Grant, status: Option<GrantStatus>) {
    match timeout(SAID_WITHIN, report::report(context, grant, status).boxed()).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => warn!(%error, "why a right stands is not written"),
        Err(_) => warn!("why a right stands is not written yet"),
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
mod tests {
    use std::sync::{Arc, Mutex};

    use http::Method;
    use serde_json::json;

    use super::*;
    use crate::fake::{api_server, context, gone, held, refusal};
    use crate::lease::Leadership;

    /// What becomes of a right that is to be given, looked at in this lane by who leads, and whether anything is written.
    async fn looked_at(lane: Lane, is_emergency: bool) -> (Done, bool) {
        let mut grant = held("fix", "2999-01-01T00:00:00Z");
        grant.spec.emergency = is_emergency;
        grant.status.as_mut().unwrap().phase = GrantPhase::Pending;
        let (written, stored) = (Arc::new(Mutex::new(false)), json!(grant));
        let writes = written.clone();
        let client = api_server(move |request| {
            *writes.lock().unwrap() |= *request.method() != Method::GET;
            let is_asked_for = request.uri().path().contains("/grants/fix");
            let answer =
                if is_asked_for { (200, stored.clone()) } else { refusal(500, "Internal") };
            async move { answer }
        });
        let context = Context { leadership: Leadership::of_the_leader(), ..context(client) };
        drop(context.touched.index.wrote_grant(&grant));
        let done = reconcile(&context, "fix", lane).await.unwrap();
        let is_written = *written.lock().unwrap();
        (done, is_written)
    }

    /// It cannot be deleted, and who stores status hangs.
    #[tokio::test(start_paused = true)]
    async fn what_could_not_be_taken_is_tried_again_whether_or_not_that_can_be_said() {
        let grant = held("fix", "2026-01-02T00:00:00Z");
        let stored = json!(grant);
        let client = api_server(move |request| {
            let stored = stored.clone();
            async move {
                let path = request.uri().path().to_owned();
                match *request.method() {
                    Method::DELETE => refusal(500, "Internal"),
                    Method::PUT => std::future::pending().await,
                    _ if path.ends_with("/grants/fix") => (200, stored),
                    _ if path.ends_with("/rolebindings/lapse:fix") => {
                        (200, json!({"metadata": {"name": "lapse:fix", "uid": "b"}}))
                    }
                    _ => refusal(404, "NotFound"),
                }
            }
        });
        let context = context(client);
        drop(context.touched.index.wrote_grant(&grant));
        let begun = tokio::time::Instant::now();
        let failure = reconcile(&context, "fix", Lane::Follow).await.unwrap_err();
        assert!(failure.keeps_a_right(), "{failure}");
        assert!(begun.elapsed() < 2 * SAID_WITHIN, "it took {:?}", begun.elapsed());
    }

    /// Whoever gives it waits for an answer that was swallowed, and somebody denies it.
    #[tokio::test(start_paused = true)]
    async fn what_ends_a_right_waits_a_second_at_the_most_for_who_gives_it() {
        let grant = held("fix", "2026-01-02T00:00:00Z");
        let (stored, deleted) = (json!(grant), Arc::new(Mutex::new(false)));
        let done = deleted.clone();
        let client = api_server(move |request| {
            let (stored, path) = (stored.clone(), request.uri().path().to_owned());
            let mut done = done.lock().unwrap();
            *done |= *request.method() == Method::DELETE;
            let answer = match *request.method() {
                Method::DELETE => gone(),
                Method::PUT => refusal(500, "Internal"),
                _ if path.ends_with("/grants/fix") => (200, stored),
                _ if path.ends_with("/rolebindings/lapse:fix") && !*done => {
                    (200, json!({"metadata": {"name": "lapse:fix", "uid": "b"}}))
                }
                _ => refusal(404, "NotFound"),
            };
            async move { answer }
        });
        let context = context(client);
        drop(context.touched.index.wrote_grant(&grant));
        let given = context.touched.in_hand.take("fix");
        for lane in [Lane::Give, Lane::Follow] {
            let waits = reconcile(&context, "fix", lane).await;
            assert!(matches!(waits, Ok(Done::Until(None))), "{waits:?}");
        }
        let waits = reconcile(&context, "fix", Lane::End).await;
        assert!(matches!(waits, Ok(Done::HeldUntil(_))), "{waits:?}");
        assert!(!*deleted.lock().unwrap());
        tokio::time::advance(Duration::from_secs(1)).await;
        drop(reconcile(&context, "fix", Lane::End).await);
        assert!(*deleted.lock().unwrap());
        let waits = reconcile(&context, "fix", Lane::Give).await;
        assert!(matches!(waits, Ok(Done::Until(None))), "it is given by one alone: {waits:?}");
        drop(given);
    }

    /// An outage: what else may end it is not looked up.
    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_told_of_a_right_is_looked_for_again_beside_what_ends() {
        for (phase, lane) in [(GrantPhase::Active, Lane::Follow), (GrantPhase::Ending, Lane::End)] {
            let mut grant = held("fix", "2999-01-01T00:00:00Z");
            grant.status.as_mut().unwrap().phase = phase;
            let stored = json!(grant);
            let client = api_server(move |request| {
                let is_asked_for = request.uri().path().contains("/grants/fix");
                let answer =
                    if is_asked_for { (200, stored.clone()) } else { refusal(500, "Internal") };
                async move { answer }
            });
            let context = context(client);
            drop(context.touched.index.wrote_grant(&grant));
            let done = reconcile(&context, "fix", lane).await;
            assert!(matches!(done, Ok(Done::UnsureUntil(_))), "{phase}: {done:?}");
        }
    }

    /// Somebody denied it, say, and the decision counts for nothing.
    #[tokio::test(start_paused = true)]
    async fn what_is_to_be_given_is_given_in_no_place_of_what_ends() {
        for (is_emergency, to_give) in [(false, Lane::Give), (true, Lane::Emergency)] {
            for lane in [Lane::End, Lane::Held, Lane::Again, Lane::Give, Lane::Follow] {
                let (done, is_written) = looked_at(lane, is_emergency).await;
                assert!(matches!(done, Done::ToGive(lane, _) if lane == to_give), "{done:?}");
                assert_eq!(is_written, !lane.may_end(), "in {lane:?}");
            }
        }
    }
}
