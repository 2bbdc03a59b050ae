//! What is done about what is not as it was, and what came of it.

use lapse_crds::{DriftKind, Guard};
use tracing::{error, warn};

use super::super::deviation::Deviation;
use super::super::findings::Noted;

/// What is done about what is not as it was.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// What the guard does.
    pub(super) guard: Guard,
    /// Whether all of it is undone.
    pub(super) reverts: bool,
}

impl Terms {
    /// Whether a change is undone.
    pub(super) fn undo(self, deviation: &Deviation) -> bool {
        self.reverts || (deviation.is_guarded && self.guard == Guard::Enforce)
    }
}

/// What came of a look.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// What was undone, and may come back.
    pub(super) undone: Vec<Deviation>,
    /// What is left as it is.
    pub(super) left: Vec<Deviation>,
    /// What was undone a moment ago, and is there again.
    pub(super) back: Vec<Deviation>,
}

impl Outcome {
    /// Whether something that is to be undone was there, and may come back.
    pub(super) fn is_restless(&self) -> bool {
        !(self.undone.is_empty() && self.back.is_empty())
    }

    /// Whether a unit of systemd was put back or removed.
    pub(super) fn has_units(&self) -> bool {
        let is_unit = |of: &Deviation| matches!(of.kind, DriftKind::Unit | DriftKind::Agent);
        self.undone.iter().any(is_unit)
    }
}

/// Says in the log what is new.
pub(super) fn log(
    noted: Noted,
    of: &Deviation,
    undone: Option<&Result<(), String>>,
    grants: &[String],
) {
    if !matches!(noted, Noted::New | Noted::Other { .. }) {
        return;
    }
    let Deviation { kind, path, change, .. } = of;
    let grants = grants.join(", ");
    match undone {
        Some(Ok(())) => warn!(%kind, path, change, grants, "undone: it would outlast access"),
        Some(Err(why)) => {
            error!(%kind, path, change, grants, why, "not undone: it outlasts access");
        }
        None => warn!(%kind, path, change, grants, "it outlasts access"),
    }
}
