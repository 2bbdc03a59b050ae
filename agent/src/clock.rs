//! The clocks of a Linux host. When a right is over by them is the same on all platforms.

use std::fs;

use chrono::Utc;
pub use lapse_platforms::clock::{Clock, ClockError, Deadline, MaxSeen, Reading};

/// The clocks of this host.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostClock;

impl Clock for HostClock {
    fn read(&self) -> Result<Reading, ClockError> {
        let text = |path: &str| {
            let from = format!("{path} (is /proc mounted?)");
            fs::read_to_string(path).map_err(|why| ClockError::Read { from, why })
        };
        let boottime_ms = milliseconds(&text("/proc/uptime")?)
            .ok_or_else(|| ClockError::Malformed("/proc/uptime".into()))?;
        let boot_id = text("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
        let wall = Utc::now();
        Ok(Reading { wall, boottime_ms, boot_id })
    }
}

/// Reads `/proc/uptime`: seconds with two digits after the point. It counts like `CLOCK_BOOTTIME`.
fn milliseconds(uptime: &str) -> Option<u64> {
    let (seconds, hundredths) = uptime.split_whitespace().next()?.split_once('.')?;
    let hundredths = Some(hundredths).filter(|digits| digits.len() == 2)?;
    seconds
        .parse::<u64>()
        .ok()?
        .checked_mul(1000)?
        .checked_add(hundredths.parse::<u64>().ok()? * 10)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("12.34 9.00\n", Some(12_340))]
    #[case("0.05 0.00\n", Some(50))]
    #[case("12.3 9", None)]
    #[case("12", None)]
    #[case("", None)]
    #[case("99999999999999999999.00 1.00", None)]
    fn uptime_is_read(#[case] text: &str, #[case] expected: Option<u64>) {
        assert_eq!(milliseconds(text), expected);
    }

    #[test]
    fn the_clock_of_this_host_goes_forward() {
        let (first, second) = (HostClock.read().unwrap(), HostClock.read().unwrap());
        assert_eq!(first.boot_id, second.boot_id);
        assert!(first.boottime_ms <= second.boottime_ms && first.boottime_ms > 0);
    }
}
