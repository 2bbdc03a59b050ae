//! What every reconciler works with.

use std::sync::Arc;

use chrono::TimeDelta;
use kube::Client;
use lapse_cluster::Reader;
use lapse_cluster::clock::Clock;

use crate::lease::Leadership;
use crate::metrics::Metrics;
use crate::notify::Notifier;
use crate::touched::Touched;

/// How soon a process that may not give looks again whether it may.
pub(crate) const STAND_BY: TimeDelta = TimeDelta::seconds(2);

/// What every reconciler works with.
pub(crate) struct Context {
    pub(crate) reader: Reader,
    pub(crate) clock: Clock,
    pub(crate) leadership: Leadership,
    pub(crate) notifier: Notifier,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) touched: Touched,
}

impl Context {
    pub(crate) fn client(&self) -> Client {
        self.reader.client().clone()
    }

    /// Whether this process may give rights now. Taking them back needs none of this.
    pub(crate) fn may_give(&self) -> bool {
        self.leadership.is_held() && self.clock.is_sane()
    }
}
