//! Whether the agent runs and is connected, for `lapse-agent status`, which is another process.

use std::fs::{self, File, TryLockError};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use crate::durable;
use crate::journal::{JournalError, read};
use crate::places::Places;

/// How the connection to the gateway stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// Whether there is one.
    pub is_connected: bool,
    /// Since when that is so.
    pub since: DateTime<Utc>,
    /// When and why the last one ended, or could not be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<(DateTime<Utc>, String)>,
}

impl Standing {
    /// What it is when a connection was made.
    #[must_use]
    pub fn connected(before: Option<Self>, now: DateTime<Utc>) -> Self {
        let last_error = before.and_then(|before| before.last_error);
        Self { is_connected: true, since: now, last_error }
    }

    /// What it is when one has ended, or was not made.
    #[must_use]
    pub fn failed(before: Option<Self>, error: String, now: DateTime<Utc>) -> Self {
        let since = before.filter(|before| !before.is_connected).map_or(now, |before| before.since);
        Self { is_connected: false, since, last_error: Some((now, error)) }
    }

    /// Writes it, as far as that is possible: nothing depends on it. In memory, as the process is that it speaks of.
    pub fn write(&self, places: &Places) {
        if let Ok(bytes) = serde_json::to_vec(self) {
            let _ = durable::replace(&places.standing(), &bytes, 0o600);
        }
    }
}

/// That the agent runs, for as long as this lives.
#[derive(Debug)]
pub struct Running {
    _lock: File,
}

impl Running {
    /// Says so. `None` if another agent runs on this host.
    ///
    /// # Errors
    /// If it cannot be said.
    pub fn begin(places: &Places) -> Result<Option<Self>, JournalError> {
        let path = places.running();
        let wrong = |why| JournalError::Write { path: path.clone(), why };
        let file = File::create(&path).map_err(wrong)?;
        match file.try_lock() {
            Ok(()) => {
                // What another process has left says nothing of this one.
                let _ = fs::remove_file(places.standing());
                Ok(Some(Self { _lock: file }))
            }
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(why)) => Err(wrong(why)),
        }
    }
}

/// Whether an agent runs on this host.
#[must_use]
pub fn is_running(places: &Places) -> bool {
    let is_locked = |file: File| matches!(file.try_lock(), Err(TryLockError::WouldBlock));
    File::open(places.running()).is_ok_and(is_locked)
}

/// How the agent stands, in words.
#[must_use]
pub fn describe(places: &Places) -> String {
    if !is_running(places) {
        return "The agent does not run (systemctl status lapse-agent): access ends on time, and none begins.".to_owned();
    }
    let known: Option<Standing> = read(places.standing()).unwrap_or_default();
    words(known.as_ref())
}

fn words(known: Option<&Standing>) -> String {
    let time = |time: &DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
    let Some(Standing { is_connected, since, last_error }) = known else {
        return "The agent runs, and is not connected yet.".to_owned();
    };
    let since = time(since);
    let (state, of) = if *is_connected {
        (format!("Connected since {since}."), "The connection before ended")
    } else {
        (
            format!("Not connected since {since}: access ends on time, and none begins."),
            "Last tried",
        )
    };
    match last_error {
        Some((at, error)) => format!("{state} {of} at {}: {error}.", time(at)),
        None => state,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn since_when_and_why_is_told() {
        let mut said = vec![words(None)];
        let connected = Standing::connected(None, at(0));
        said.push(words(Some(&connected)));
        let lost = Standing::failed(Some(connected), "the gateway has hung up".into(), at(60));
        let still = Standing::failed(Some(lost), "no route to host".into(), at(65));
        said.push(words(Some(&still)));
        said.push(words(Some(&Standing::connected(Some(still), at(70)))));
        insta::assert_snapshot!(said.join("\n"));
    }

    #[test]
    fn an_agent_that_died_is_not_taken_for_one_that_runs() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::under(folder.path());
        fs::create_dir_all(places.private()).unwrap();
        assert!(describe(&places).starts_with("The agent does not run"));
        let running = Running::begin(&places).unwrap().unwrap();
        assert!(Running::begin(&places).unwrap().is_none(), "there is one");
        Standing::connected(None, at(0)).write(&places);
        assert_eq!(describe(&places), "Connected since 2027-01-15T08:00:00Z.");
        drop(running);
        assert!(describe(&places).starts_with("The agent does not run"));
        let _again = Running::begin(&places).unwrap().unwrap();
        assert_eq!(describe(&places), "The agent runs, and is not connected yet.");
    }
}
