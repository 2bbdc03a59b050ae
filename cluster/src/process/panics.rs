//! Panics that end nothing. Each is a mistake in the program: it is counted, and the log has where.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;

use futures::FutureExt as _;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct In {
    kind: &'static str,
}

static PANICS: LazyLock<Family<In, Counter>> = LazyLock::new(Family::default);

/// Registers `lapse_panics_total`, which is of the whole program.
pub(super) fn register(registry: &mut Registry) {
    let help =
        "Panics that ended nothing, by the kind of object or by the task: a mistake in the program";
    registry.register("lapse_panics", help, PANICS.clone());
}

/// Says in what a panic is counted, so that the first of each is an increase.
pub fn count_panics_in(kinds: impl IntoIterator<Item = &'static str>) {
    for kind in kinds {
        PANICS.get_or_create(&In { kind }).inc_by(0);
    }
}

/// Counts a panic.
pub fn panicked(kind: &'static str) {
    PANICS.get_or_create(&In { kind }).inc();
}

/// Does something; `None` if it panicked, which is counted. Whatever it changed must be whole in spite of that.
pub fn caught<T>(kind: &'static str, does: impl FnOnce() -> T) -> Option<T> {
    counted(kind, catch_unwind(AssertUnwindSafe(does)))
}

/// The same of what takes its time.
pub async fn caught_in<T>(kind: &'static str, does: impl Future<Output = T>) -> Option<T> {
    counted(kind, AssertUnwindSafe(does).catch_unwind().await)
}

fn counted<T, E>(kind: &'static str, outcome: Result<T, E>) -> Option<T> {
    if outcome.is_err() {
        panicked(kind);
    }
    outcome.ok()
}

/// How many panics were counted, for tests.
#[cfg(test)]
pub(crate) fn panics_in(kind: &'static str) -> u64 {
    PANICS.get_or_create(&In { kind }).get()
}
