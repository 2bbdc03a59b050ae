//! The macOS that this runs on.

use std::path::Path;

use chrono::Utc;
use rustix::time::{ClockId, clock_gettime};

use crate::clock::{Clock, ClockError, Reading};
use crate::tools::{HostTools, Tools as _};

/// What says which start of the host this is. It is another one after each.
const BOOT: &str = "kern.bootsessionuuid";

/// The clocks of this Mac.
#[derive(Clone, Copy, Debug, Default)]
pub struct MacClock;

impl Clock for MacClock {
    fn read(&self) -> Result<Reading, ClockError> {
        // It goes on while the host sleeps, and nobody can set it (clock_gettime(3)).
        let since = clock_gettime(ClockId::Monotonic);
        let milliseconds = since.tv_sec.checked_mul(1000).map(|ms| ms + since.tv_nsec / 1_000_000);
        let boottime_ms = milliseconds.and_then(|ms| u64::try_from(ms).ok());
        let boottime_ms =
            boottime_ms.ok_or_else(|| ClockError::Malformed("CLOCK_MONOTONIC".to_owned()))?;
        let said = HostTools.run(Path::new("/usr/sbin/sysctl"), &["-n", BOOT], "");
        let said = said.map_err(|why| ClockError::Read { from: BOOT.to_owned(), why })?;
        let boot_id = said.output.trim().to_owned();
        if !said.is_ok() || boot_id.is_empty() {
            return Err(ClockError::Malformed(BOOT.to_owned()));
        }
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
        let wall = Utc::now();
        Ok(Reading { wall, boottime_ms, boot_id })
    }
}
