//! Whether a process is ready, and whether it is alive.
//!
//! Ready is who can do its work: every gate of it is open. Alive is who goes on: a restart helps nobody who cannot reach
//! the API server, so nothing that waits for others may fail here, but only what does not come back from its own doing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

/// The health of a process. A copy is of the same process.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    gates: Mutex<Vec<(&'static str, bool)>>,
    is_stopping: AtomicBool,
    pulses: Mutex<Vec<(&'static str, Duration, Pulse)>>,
    gauge: Gauge,
}

/// How something shows that it goes on.
#[derive(Clone, Debug)]
enum Pulse {
    Heartbeat(Heartbeat),
    Work(Work),
}

/// What a process waits for before it is ready.
#[derive(Clone, Debug)]
pub struct ReadinessGate {
    name: &'static str,
    health: Health,
}

/// What goes round for ever, and says so each time.
#[derive(Clone, Debug)]
pub struct Heartbeat(Arc<Mutex<Instant>>);

/// What is done now and then, and comes to an end each time.
#[derive(Clone, Debug, Default)]
pub struct Work(Arc<Mutex<Running>>);

#[derive(Debug, Default)]
struct Running {
    next: u64,
    since: BTreeMap<u64, Instant>,
}

/// Something that is being done; it is done when this is dropped.
#[derive(Debug)]
pub struct Doing {
    number: u64,
    work: Work,
}

/// What was looked at, and what is wrong with it, if anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checks(Vec<(&'static str, Option<String>)>);

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change leaves it whole, so what panicked elsewhere is no reason to stop.
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Health {
    /// Of a process that is not ready and has nothing to show yet; `metric` says whether it is ready.
    pub fn register(registry: &mut Registry, metric: &'static str) -> Self {
        let health = Self::default();
        registry.register(metric, "Whether this process is ready", health.0.gauge.clone());
        health
    }

    /// Something else to wait for.
    #[must_use]
    pub fn gate(&self, name: &'static str) -> ReadinessGate {
        lock(&self.0.gates).push((name, false));
        self.told();
        ReadinessGate { name, health: self.clone() }
    }

    /// Something else that goes round: it hangs if it says nothing for so long.
    #[must_use]
    pub fn heartbeat(&self, name: &'static str, limit: Duration) -> Heartbeat {
        let heartbeat = Heartbeat::new();
        lock(&self.0.pulses).push((name, limit, Pulse::Heartbeat(heartbeat.clone())));
        heartbeat
    }

    /// Something else that is done now and then: it hangs if it takes so long.
    #[must_use]
    pub fn work(&self, name: &'static str, limit: Duration) -> Work {
        let work = Work::default();
        lock(&self.0.pulses).push((name, limit, Pulse::Work(work.clone())));
        work
    }

    /// The process is stopping: it is no longer ready.
    pub fn stop(&self) {
        self.0.is_stopping.store(true, Ordering::Relaxed);
        self.told();
    }

    /// Whether it can do its work.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.readiness().are_passed()
    }

    /// What it waits for.
    #[must_use]
    pub fn readiness(&self) -> Checks {
        let stopping = self.0.is_stopping.load(Ordering::Relaxed);
        let stopping = stopping.then(|| ("running", Some("stopping".to_owned())));
        let gates = lock(&self.0.gates);
        let gates = gates.iter().map(|(name, open)| (*name, (!open).then(|| "not yet".to_owned())));
        Checks(gates.chain(stopping).collect())
    }

    /// What hangs.
    #[must_use]
    pub fn liveness(&self) -> Checks {
        let now = Instant::now();
        let pulses = lock(&self.0.pulses);
        let checks = pulses.iter().map(|(name, limit, pulse)| {
            let since = match pulse {
                Pulse::Heartbeat(Heartbeat(last)) => Some(*lock(last)),
                Pulse::Work(Work(running)) => lock(running).since.values().min().copied(),
            };
            let silent = since.map(|since| now.duration_since(since)).unwrap_or_default();
            let why = || format!("nothing for {} s, at most {}", silent.as_secs(), limit.as_secs());
            (*name, (silent > *limit).then(why))
        });
        Checks(checks.collect())
    }

    fn told(&self) {
        self.0.gauge.set(i64::from(self.is_ready()));
    }
}

impl ReadinessGate {
    /// Opens or closes it.
    pub fn set(&self, open: bool) {
        for (name, is_open) in &mut *lock(&self.health.0.gates) {
            if *name == self.name {
                *is_open = open;
            }
        }
        self.health.told();
    }
}

impl Heartbeat {
    /// One that nobody looks at.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    /// It goes on.
    pub fn beat(&self) {
        *lock(&self.0) = Instant::now();
    }
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self::new()
    }
}

impl Work {
    /// It is done from now until what is returned is dropped.
    #[must_use]
    pub fn begin(&self) -> Doing {
        let mut running = lock(&self.0);
        let number = running.next;
        running.next += 1;
        running.since.insert(number, Instant::now());
        Doing { number, work: self.clone() }
    }
}

impl Drop for Doing {
    fn drop(&mut self) {
        lock(&self.work.0).since.remove(&self.number);
    }
}

impl Checks {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn are_passed(&self) -> bool {
        self.0.iter().all(|(_, wrong)| wrong.is_none())
    }

    /// A line for each, as the API server writes them. `of`: what they are of, such as `livez`.
    #[must_use]
    pub fn verbose(&self, of: &str) -> String {
        let mut text = String::new();
        for (name, wrong) in &self.0 {
            // Writing to a string does not fail.
            let _ = match wrong {
                None => writeln!(text, "[+]{name} ok"),
                Some(why) => writeln!(text, "[-]{name} failed: {why}"),
            };
        }
        let end = if self.are_passed() { "passed" } else { "failed" };
        text + &format!("{of} check {end}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_mins(1);

    #[test]
    fn ready_is_who_has_all_gates_open_and_does_not_stop() {
        let mut registry = Registry::default();
        let health = Health::register(&mut registry, "lapse_ready");
        let (keys, lists) = (health.gate("keys"), health.gate("lists"));
        keys.set(true);
        insta::assert_snapshot!(health.readiness().verbose("readyz"), @r"
        [+]keys ok
        [-]lists failed: not yet
        readyz check failed
        ");
        assert_eq!(health.0.gauge.get(), 0);
        lists.set(true);
        assert!(health.is_ready());
        assert_eq!(health.0.gauge.get(), 1);
        health.stop();
        assert!(!health.is_ready());
        assert_eq!(health.0.gauge.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_goes_round_hangs_when_it_is_silent() {
        let health = Health::default();
        let (sweep, timers) =
            (health.heartbeat("sweep", 5 * LIMIT), health.heartbeat("timers", LIMIT));
        tokio::time::advance(LIMIT).await;
        assert!(health.liveness().are_passed());
        sweep.beat();
        tokio::time::advance(Duration::from_secs(1)).await;
        insta::assert_snapshot!(health.liveness().verbose("livez"), @r"
        [+]sweep ok
        [-]timers failed: nothing for 61 s, at most 60
        livez check failed
        ");
        timers.beat();
        assert!(health.liveness().are_passed());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_done_now_and_then_hangs_when_one_of_it_does_not_end() {
        let health = Health::default();
        let work = health.work("reconciliations", LIMIT);
        tokio::time::advance(2 * LIMIT).await;
        assert!(health.liveness().are_passed(), "there was nothing to do");
        let hangs = work.begin();
        tokio::time::advance(LIMIT).await;
        drop(work.begin());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!health.liveness().are_passed());
        drop(hangs);
        assert!(health.liveness().are_passed());
    }
}
