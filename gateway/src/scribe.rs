//! Writes on one Endpoint what its agent says, a little together, and tells the agent what is stored.

use std::hash::{BuildHasher as _, RandomState};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use lapse_cluster::clock;
use lapse_crds::{Endpoint, OrderState};
use lapse_wire::{Recorded, ToAgent, to_agent};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tracing::warn;

use crate::endpoints::{self, is_of};
use crate::identity::Identity;
use crate::metrics::ReceiptOutcome;
use crate::pens::{Pen, Pens};
use crate::shared::{Answers, Shared};
use crate::status::{Change, Heard, change};

/// How long it is waited for more to write.
const TOGETHER: Duration = Duration::from_millis(3);
/// How long after a failure it is tried again, at the most.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How old what is over must be until it may be taken off.
const OVER: chrono::TimeDelta = chrono::TimeDelta::minutes(1);

/// Writes until nobody says anything more, and then that the agent is gone, if it is. What the Endpoint was when its agent
/// connected saves reading it once.
pub(crate) async fn scribe(
    shared: Arc<Shared>,
    identity: Arc<Identity>,
    connection: Arc<str>,
    live: Box<Endpoint>,
    mut heard: mpsc::Receiver<Box<Heard>>,
    answers: Answers,
) {
    let (mut over, mut live) = (Vec::new(), Some(live));
    while let Some(mut all) = heard.recv().await {
        sleep(TOGETHER).await;
        all.over.append(&mut over);
        // Boxed, as what is to be kept in memory for a write would otherwise be kept for each agent that says nothing.
        let of = (&*shared, &*identity);
        let written = Box::pin(write(of, live.take(), &mut all, &mut heard)).await;
        let is_opened = all.opened.is_some();
        drop(all);
        let Some(written) = written else { return };
        if is_opened {
            shared.attached().stored(&identity.uid, &connection);
        }
        for (grant, sequence) in &written.change.recorded {
            shared.metrics.receipt(ReceiptOutcome::recorded);
            let recorded = Recorded { grant: grant.clone(), sequence: *sequence };
            let message = to_agent::Message::Recorded(recorded);
            // One that is gone sends it again when it is back.
            let _ = answers.send(Box::new(Ok(ToAgent { message: Some(message) }))).await;
        }
        for (grant, since) in &written.change.ended {
            let late = shared.book().expires_at(grant).map(|expires_at| *since - expires_at);
            // What ended before its time was taken back.
            if let Some(late) = late.filter(|late| *late >= chrono::TimeDelta::zero()) {
                shared.metrics.lateness.observe(late.as_seconds_f64());
            }
        }
        for grant in &written.change.refused {
            shared.metrics.receipt(ReceiptOutcome::full);
            warn!(endpoint = %identity.name, grant, "there is no place for a receipt: too many grants on this host at once");
        }
        // Looked for when something happens on the host, and not whenever its agent connects: ten thousand may at once.
        if !written.change.recorded.is_empty() {
            over = Box::pin(finished(&shared, &written.endpoint)).await;
        }
    }
}

/// The receipts that nobody needs any more: taken off with the next write, for which they are no reason.
async fn finished(shared: &Shared, endpoint: &Endpoint) -> Vec<String> {
    let before = clock::now() - OVER;
    let orders = endpoint.status.iter().flat_map(|status| &status.orders);
    let is_old = |state: OrderState| matches!(state, OrderState::Ended | OrderState::Failed);
    let old = orders.filter(|order| is_old(order.state) && order.since.time() < before);
    let old: Vec<String> = old.map(|order| order.grant.clone()).take(8).collect();
    let mut over = Vec::new();
    for grant in old {
        // What the watch shows may be behind what another replica was told.
        if !shared.book().knows(&grant) && endpoints::is_over(&shared.client, &grant).await {
            over.push(grant);
        }
    }
    over
}

struct Written {
    endpoint: Endpoint,
    change: Change,
}

/// Writes until it is written; `None` if the Endpoint is not this agent's any more.
async fn write(
    (shared, identity): (&Shared, &Identity),
    mut live: Option<Box<Endpoint>>,
    all: &mut Heard,
    heard: &mut mpsc::Receiver<Box<Heard>>,
) -> Option<Box<Written>> {
    let mut pause = Duration::from_millis(100);
    loop {
        let pen = pen(&shared.pens, all, heard).await;
        match try_write(shared, identity, live.take(), all).await {
            Ok(written) => return written.map(Box::new),
            Err(error) => {
                warn!(endpoint = %identity.name, error, "what an agent says is not written yet");
            }
        }
        drop(pen);
        sleep(spread(pause)).await;
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

/// Waits for a turn to write. What is heard meanwhile is written with it, and what somebody waits for does not wait for the turn
/// of what nobody does.
async fn pen<'a>(
    pens: &'a Pens,
    all: &mut Heard,
    heard: &mut mpsc::Receiver<Box<Heard>>,
) -> Pen<'a> {
    let mut is_open = true;
    {
        let mut routine = pin!(pens.routine());
        loop {
            take_over(all, heard);
            if all.is_urgent() {
                break;
            }
            tokio::select! {
                biased;
                more = heard.recv(), if is_open && all.has_room() => match more {
                    Some(more) => all.join(*more),
                    None => is_open = false,
                },
                pen = &mut routine => return pen,
            }
        }
    }
    let pen = pens.urgent().await;
    take_over(all, heard);
    pen
}

/// Takes over what waits.
fn take_over(all: &mut Heard, heard: &mut mpsc::Receiver<Box<Heard>>) {
    while all.has_room()
        && let Ok(more) = heard.try_recv()
    {
        all.join(*more);
    }
}

/// Between half of a pause and all of it, so that what failed together is not tried again together.
fn spread(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(()) % 1024;
    pause.mul_f64(0.5 + f64::from(u32::try_from(random).unwrap_or_default()) / 2048.0)
}

async fn try_write(
    shared: &Shared,
    identity: &Identity,
    mut known: Option<Box<Endpoint>>,
    heard: &Heard,
) -> Result<Option<Written>, String> {
    loop {
        let began = tokio::time::Instant::now();
        let live = match known.take() {
            Some(known) => Some(*known),
            None => endpoints::read(&shared.client, &identity.name)
                .await
                .map_err(|error| error.to_string())?,
        };
        let Some(live) = live.filter(|live| is_of(live, identity)) else { return Ok(None) };
        let change = change(&live, heard, clock::now()).map_err(|error| error.to_string())?;
        if change.status.is_empty() {
            return Ok(Some(Written { endpoint: live, change }));
        }
        match endpoints::write(&shared.client, &live, &change.status).await {
            Ok(endpoint) => {
                shared.metrics.writes.observe(began.elapsed().as_secs_f64());
                return Ok(Some(Written { endpoint, change }));
            }
            // Somebody else wrote in between.
            Err(error) if error.is_conflict() => {}
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use lapse_crds::OrderStatus;

    use super::*;
    use crate::status::Presence;

    fn receipt() -> OrderStatus {
        serde_json::from_value(serde_json::json!({
            "grant": "g", "requestUid": "u", "state": "Active", "since": "2026-12-01T00:00:00Z",
            "sequence": 1, "signature": "s",
        }))
        .unwrap()
    }

    /// All turns for what nobody waits for are taken: a receipt takes another, and what waited goes along.
    #[tokio::test]
    async fn a_receipt_does_not_wait_for_the_turn_of_what_only_tells_that_an_agent_is_there() {
        let pens = Pens::new((2, 1));
        let _others = pens.routine().await;
        let (says, mut heard) = mpsc::channel(4);
        let presence = Some(Presence::Connected);
        let mut all = Heard { presence: presence.clone(), ..Heard::default() };
        assert!(pen(&pens, &mut all, &mut heard).now_or_never().is_none());
        let receipts = vec![receipt()];
        says.send(Box::new(Heard { receipts, ..Heard::default() })).await.unwrap();
        assert!(pen(&pens, &mut all, &mut heard).now_or_never().is_some());
        assert_eq!((all.presence, all.receipts.len()), (presence, 1));
    }

    /// Who says something again and again fills no memory with it while it is not written.
    #[tokio::test]
    async fn what_is_heard_meanwhile_is_taken_over_as_long_as_there_is_room() {
        let pens = Pens::new((1, 1));
        let (says, mut heard) = mpsc::channel(600);
        for _ in 0..600 {
            let receipts = vec![receipt()];
            says.send(Box::new(Heard { receipts, ..Heard::default() })).await.unwrap();
        }
        drop(says);
        let mut all = Heard::default();
        assert!(pen(&pens, &mut all, &mut heard).now_or_never().is_some());
        assert_eq!((all.receipts.len(), heard.len()), (256, 344));
    }
}
