//! One program as root, which the agent starts when its holder asks for it. On the host there is nothing of it but the
//! record: [`crate::application`] starts it, and looks whether it may.

use super::{Bench, Driver};
use crate::places::Id;
use crate::processes::kill_slice;
use crate::program::verify;
use crate::record::Undo;

pub(super) struct Application<'a> {
    pub(super) id: &'a Id,
    pub(super) program: &'a lapse_crds::Program,
}

impl<'bench> Driver<Bench<'bench>, Undo> for Application<'_> {
    fn prepare(&self, bench: &Bench<'bench>) -> Result<Undo, String> {
        verify(bench.system, bench.places, self.program)?;
        Ok(Undo::default())
    }

    fn apply(&self, _: &Bench<'bench>, _: &Undo) -> Result<(), String> {
        Ok(())
    }

    fn observe(&self, bench: &Bench<'bench>, _: &Undo) -> Result<bool, String> {
        Ok(!bench.places.closed(self.id).exists())
    }

    /// What starts looks at this once it is where it can be killed, so it is seen here, or sees this.
    fn revert(&self, bench: &Bench<'bench>, _: Option<&Undo>) -> Result<(), String> {
        let mark = bench.places.closed(self.id);
        let written = bench.system.replace(&mark, b"", 0o600);
        written.map_err(|error| format!("writing {}: {error}", mark.display()))
    }

    fn stop(&self, bench: &Bench<'bench>, _: Option<&Undo>) -> Result<(), String> {
        kill_slice(bench.system, bench.places, self.id)
    }
}
