//! What one connection says of the record of what is done on its host.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use lapse_cluster::clock;
use lapse_engine::activity::{Batch, Line, STREAM, exported, verify_batch};
use lapse_wire::{Activity, Noted};
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::warn;

use crate::activity::{Seen, hold, seen};
use crate::identity::Identity;
use crate::metrics::BatchOutcome;
use crate::shared::Shared;

/// How often what is shown on an Endpoint is written, at the most.
const SHOWN: Duration = Duration::from_secs(10);
/// How long it is waited when a batch cannot be written.
const AGAIN: Duration = Duration::from_secs(5);

/// Something that is to be done.
pub(crate) enum Step {
    /// The agent is told that a batch is noted.
    Noted(Noted),
    /// This is shown on its Endpoint.
    Show(Vec<Seen>),
}

/// A batch that was taken.
struct Taken {
    noted: Noted,
    seen: Vec<Seen>,
}

/// What one connection says of the record. It says one batch at a time.
pub(crate) struct Intake {
    shared: Arc<Shared>,
    identity: Arc<Identity>,
    /// Boxed, as most connections say nothing.
    under_way: Option<Pin<Box<dyn Future<Output = Taken> + Send>>>,
    held: Vec<Seen>,
    /// When what is held may be written.
    due: Instant,
}

impl Intake {
    pub(crate) fn new(shared: Arc<Shared>, identity: Arc<Identity>) -> Self {
        let (under_way, held, due) = (None, Vec::new(), Instant::now());
        Self { shared, identity, under_way, held, due }
    }

    /// Takes a batch, if it is the agent's own, and it has waited until the one before was noted.
    pub(crate) fn take(&mut self, activity: Activity) -> bool {
        let Activity { series, first, last, lines, signature } = activity;
        let batch = Batch { series, first, last, lines };
        let Identity { public_key, uid, name, .. } = &*self.identity;
        let verified = verify_batch(public_key, uid, &batch, &signature);
        let refusal = match &verified {
            _ if self.under_way.is_some() => {
                Some("it came before the one ahead of it was noted".to_owned())
            }
            Ok(_) => None,
            Err(error) => Some(error.to_string()),
        };
        if let Some(why) = refusal {
            warn!(endpoint = name, why, "a part of the record is not taken");
            self.shared.metrics.batch(BatchOutcome::refused);
            return false;
        }
        let (shared, identity) = (self.shared.clone(), self.identity.clone());
        let entries = verified.unwrap_or_default();
        let noted = Noted { series: batch.series, last: batch.last };
        self.under_way = Some(Box::pin(write(shared, identity, entries, noted, signature)));
        true
    }

    /// What is to be done next. Nothing is lost if it is not waited for.
    pub(crate) async fn next(&mut self) -> Step {
        let is_held = !self.held.is_empty();
        tokio::select! {
            taken = wait(&mut self.under_way) => {
                self.under_way = None;
                hold(&mut self.held, taken.seen);
                Step::Noted(taken.noted)
            }
            () = sleep_until(self.due), if is_held => {
                self.due = Instant::now() + SHOWN;
                Step::Show(std::mem::take(&mut self.held))
            }
        }
    }

    /// What is still to be shown.
    pub(crate) fn rest(self) -> Vec<Seen> {
        self.held
    }
}

async fn wait(under_way: &mut Option<Pin<Box<dyn Future<Output = Taken> + Send>>>) -> Taken {
    match under_way {
        Some(under_way) => under_way.await,
        None => std::future::pending().await,
    }
}

/// Writes a batch when its turn comes.
async fn write(
    shared: Arc<Shared>,
    identity: Arc<Identity>,
    entries: Vec<Map<String, Value>>,
    noted: Noted,
    signature: Vec<u8>,
) -> Taken {
    let uid = identity.uid.as_str();
    // One that is noted already takes nobody's time.
    while !shared.export.takings().is_noted(uid, &signature) {
        let pause = shared.export.takings().wait(uid, Instant::now());
        if pause == Duration::ZERO {
            break;
        }
        sleep(pause).await;
    }
    let line = Line {
        stream: STREAM.to_owned(),
        heard_at: clock::now().into(),
        endpoint: identity.name.clone(),
        endpoint_uid: uid.to_owned(),
        series: noted.series.clone(),
    };
    // What was read as JSON can be written as such.
    let lines = entries.iter().filter_map(|entry| exported(&line, entry).ok());
    let lines: String = lines.flat_map(|line| [line, "\n".to_owned()]).collect();
    while !shared.export.write(uid, signature.clone(), lines.clone()).await {
        shared.metrics.batch(BatchOutcome::failed);
        sleep(AGAIN).await;
    }
    shared.metrics.batch(BatchOutcome::noted);
    Taken { noted, seen: seen(&entries) }
}
