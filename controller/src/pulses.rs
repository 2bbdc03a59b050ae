//! What shows that the controller goes on, and after how long it hangs, so that a restart would help.
//!
//! An API server that does not answer is no reason to restart: each call ends after ten seconds, and what makes many
//! calls beats at each.

use std::time::Duration;

use lapse_cluster::process::{Health, Heartbeat, Work};

/// The timers go round once a second.
const TIMERS: Duration = Duration::from_mins(1);
/// The lease is renewed every 1.5 s, in up to three calls.
const LEASE: Duration = Duration::from_mins(2);
/// The sweep rests for 20 s, and beats at each call.
const SWEEP: Duration = Duration::from_mins(3);
/// A reconciliation looks at hundreds of objects at the most, several at a time.
const RECONCILIATION: Duration = Duration::from_mins(15);

/// What shows that the controller goes on.
pub(crate) struct Pulses {
    pub(crate) deadlines: Heartbeat,
    pub(crate) queue: Heartbeat,
    pub(crate) sweep: Heartbeat,
    pub(crate) reconciliations: Work,
}

impl Pulses {
    pub(crate) fn of(health: &Health) -> Self {
        Self {
            deadlines: health.heartbeat("deadlines", TIMERS),
            queue: health.heartbeat("queue", TIMERS),
            sweep: health.heartbeat("sweep", SWEEP),
            reconciliations: health.work("reconciliations", RECONCILIATION),
        }
    }
}

/// What shows that somebody sees to the lease, once that can come to anything.
pub(crate) fn lease(health: &Health) -> Heartbeat {
    health.heartbeat("lease", LEASE)
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::Arc;

    use lapse_cluster::clock::Clock;
    use prometheus_client::registry::Registry;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::deadlines::Deadlines;
    use crate::metrics::Metrics;
    use crate::queue::{Done, Item, Lane, Queue};

    /// What is wrong, each line.
    fn wrong(health: &Health) -> Vec<String> {
        let text = health.liveness().verbose("livez");
        let lines = text.lines().filter(|line| line.starts_with("[-]"));
        lines.map(ToOwned::to_owned).collect()
    }

    async fn wait(time: Duration) {
        // As a whole it would be one step, in which nothing beats.
        for _ in 0..time.as_secs() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn timers_with_nothing_to_do_are_alive_and_one_that_is_gone_is_not() {
        let health = Health::default();
        let clock = Clock::default();
        let deadlines = health.heartbeat("deadlines", TIMERS);
        let queue = health.heartbeat("queue", TIMERS);
        let deadlines = tokio::spawn(Deadlines::default().run(clock.clone(), deadlines, |_| {}));
        let queue = tokio::spawn(Queue::new(clock).keep_time(queue));
        wait(5 * TIMERS).await;
        assert_eq!(wrong(&health), [""; 0]);
        deadlines.abort();
        wait(TIMERS + Duration::from_secs(2)).await;
        assert_eq!(wrong(&health).len(), 1, "{:?}", wrong(&health));
        assert!(wrong(&health)[0].starts_with("[-]deadlines failed"), "{:?}", wrong(&health));
        queue.abort();
        wait(TIMERS + Duration::from_secs(2)).await;
        assert_eq!(wrong(&health).len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reconciliation_that_does_not_end_is_noticed_and_one_that_ends_is_not() {
        let health = Health::default();
        let work = health.work("reconciliations", RECONCILIATION);
        let metrics = Arc::new(Metrics::register(&mut Registry::default()));
        let (queue, stop) = (Queue::new(Clock::default()), CancellationToken::new());
        let workers = queue.work(&metrics, &work, &stop, async |job| match job.item {
            Item::Policy(name) if name == "hangs" => pending().await,
            _ => ready(Ok(Done::Until(None))).await,
        });
        queue.now(Item::Policy("ends".to_owned()), Lane::Follow);
        wait(2 * RECONCILIATION).await;
        assert_eq!(wrong(&health), [""; 0]);
        queue.now(Item::Policy("hangs".to_owned()), Lane::Follow);
        wait(RECONCILIATION / 2).await;
        assert_eq!(wrong(&health), [""; 0]);
        wait(RECONCILIATION).await;
        assert!(wrong(&health)[0].starts_with("[-]reconciliations failed"), "{:?}", wrong(&health));
        drop(workers);
    }
}
