//! Has systemd start the unit of an application, and waits for its end.
//!
//! systemd knows the end of the right, and ends the unit at that time whoever else lives. What the program is, the unit does
//! not say: systemd reads some characters of arguments in its own ways.

use std::io::Read as _;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, ExitStatus};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{Builder, scope, sleep};
use std::time::Duration;

use chrono::TimeDelta;
use tracing::{info, warn};

use super::held::{HeldError, in_force};
use super::room::Place;
use crate::clock::{Clock, HostClock};
use crate::places::{Id, Places};
use crate::system::{self, HostSystem, System as _};

/// The program that runs in the unit, and how it is told to.
const INSIDE: [&str; 2] = ["/usr/bin/lapse-agent", "application"];
/// How long what runs is asked to end before it is killed.
const GRACE: &str = "TimeoutStopSec=5s";
/// How often it is tried to stop what somebody has hung up on: it may not have started yet.
const PACE: Duration = Duration::from_millis(200);
/// How much memory the thread that waits for that may use for its calls, in bytes.
const STACK: usize = 128 * 1024;
/// What ends by a signal that nobody can catch, as shells say it.
const KILLED: u8 = 137;

/// How many this process has started.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// An application that was started.
#[derive(Debug)]
pub struct Started {
    child: Child,
    unit: String,
    id: Id,
    places: Places,
    _place: Place,
}

/// How an application ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// By itself, or because its holder hung up: its exit code, as a shell says it.
    Exited(u8),
    /// With the right.
    Over(u8),
    /// Nobody can say.
    Unknown,
}

/// Starts the application of a right that is still in force for this long, with these for its standard input, output and
/// error.
///
/// # Errors
/// If systemd cannot be asked.
pub fn start(
    places: &Places,
    (grant, rest): (&str, TimeDelta),
    handed: [OwnedFd; 3],
    place: Place,
) -> std::io::Result<Started> {
    let id = Id::of(grant);
    let (count, process) = (COUNT.fetch_add(1, Ordering::Relaxed), std::process::id());
    // The number of a process is used again.
    let uptime = HostClock.read().map(|now| now.boottime_ms).unwrap_or_default();
    let unit = format!("lapse-{id}-app-{process}-{uptime}-{count}.service");
    let child = system::start("systemd-run", &arguments(&id, grant, &unit, rest), handed)?;
    Ok(Started { child, unit, id, places: places.clone(), _place: place })
}

fn arguments(id: &Id, grant: &str, unit: &str, rest: TimeDelta) -> Vec<String> {
    let rest = rest.num_microseconds().unwrap_or(i64::MAX).max(1);
    let own = [
        format!("--unit={unit}"),
        format!("--slice={}", id.slice()),
        format!("--description=An application by the Grant {grant}"),
        format!("--property=RuntimeMaxSec={rest}us"),
    ];
    let always = ["--quiet", "--no-ask-password", "--collect", "--wait", "--pipe"];
    let how = [
        "--service-type=exec",
        "--working-directory=/",
        "--property=KillMode=control-group",
        "--property=SendSIGKILL=yes",
    ];
    let texts = always.into_iter().chain(how).map(str::to_owned).chain(own);
    let program = INSIDE.map(str::to_owned).into_iter().chain([id.to_string()]);
    texts.chain([format!("--property={GRACE}"), "--".to_owned()]).chain(program).collect()
}

impl Started {
    /// Waits for its end. Whoever has asked for it ends it by hanging up, or by saying anything more: its processes are asked
    /// to end, and killed a little later.
    #[must_use]
    pub fn wait(mut self, stream: &UnixStream) -> Outcome {
        // Whoever asked had a limited time for that.
        let _ = stream.set_read_timeout(None);
        let is_over = AtomicBool::new(false);
        let status = scope(|scope| {
            let watch = || {
                let _ = hang_up(stream);
                while !is_over.load(Ordering::Acquire) {
                    stop(&self.unit);
                    sleep(PACE);
                }
            };
            let watching = Builder::new().name("application".to_owned()).stack_size(STACK);
            if let Err(error) = watching.spawn_scoped(scope, watch) {
                // Nobody would see them hang up.
                warn!(unit = self.unit, %error, "an application cannot be looked after");
                stop(&self.unit);
            }
            let status = self.child.wait();
            is_over.store(true, Ordering::Release);
            let _ = stream.shutdown(Shutdown::Read);
            status
        });
        let outcome = self.outcome(status);
        info!(unit = self.unit, ?outcome, "an application has ended");
        outcome
    }

    fn outcome(&self, status: std::io::Result<ExitStatus>) -> Outcome {
        if in_force(&HostClock, &self.places, &self.id).err() == Some(HeldError::Over) {
            return Outcome::Over(KILLED);
        }
        let code = status.ok().and_then(|status| status.code());
        let code = code.and_then(|code| u8::try_from(code).ok());
        code.map_or(Outcome::Unknown, Outcome::Exited)
    }
}

/// Waits until somebody hangs up or says something.
fn hang_up(mut stream: &UnixStream) -> std::io::Result<()> {
    loop {
        match stream.read(&mut [0]) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            read => return read.map(drop),
        }
    }
}

fn stop(unit: &str) {
    // One that has not started yet, or has ended, is not there.
    let _ = HostSystem.run("systemctl", &["stop", unit]);
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::Command;
    use std::time::Instant;

    use super::*;
    use crate::application::room::Room;

    #[test]
    fn systemd_is_told_where_and_how_long_and_not_what() {
        let id = Id::of("g");
        let told = arguments(&id, "g", "lapse-x-app-1.service", TimeDelta::milliseconds(1_500));
        let told = told.join("\n").replace(&id.to_string(), "ID");
        insta::assert_snapshot!(told, @r"
        --quiet
        --no-ask-password
        --collect
        --wait
        --pipe
        --service-type=exec
        --working-directory=/
        --property=KillMode=control-group
        --property=SendSIGKILL=yes
        --unit=lapse-x-app-1.service
        --slice=lapse-ID.slice
        --description=An application by the Grant g
        --property=RuntimeMaxSec=1500000us
        --property=TimeoutStopSec=5s
        --
        /usr/bin/lapse-agent
        application
        ID
        ");
    }

    /// Something else that ends, in the place of systemd-run.
    fn started(script: &str, folder: &std::path::Path) -> Started {
        let child = Command::new("sh").args(["-c", script]).spawn().unwrap();
        let (unit, id) = ("lapse-none.service".to_owned(), Id::of("g"));
        let place = Room::default().take(1).unwrap();
        Started { child, unit, id, places: Places::under(folder), _place: place }
    }

    #[test]
    fn whoever_waits_is_told_how_it_ended() {
        let folder = tempfile::tempdir().unwrap();
        let (own, _other) = UnixStream::pair().unwrap();
        // Nothing is known of the right, so it is over.
        let began = Instant::now();
        assert_eq!(started("exit 3", folder.path()).wait(&own), Outcome::Over(137));
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }

    #[test]
    fn whoever_hangs_up_or_says_more_is_heard() {
        let (own, other) = UnixStream::pair().unwrap();
        drop(other);
        hang_up(&own).unwrap();
        let (own, mut other) = UnixStream::pair().unwrap();
        other.write_all(b"x").unwrap();
        hang_up(&own).unwrap();
    }
}
