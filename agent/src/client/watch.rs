//! `lapse status --watch`: what changes.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::thread::sleep;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::ask::{AskError, BRIEF, Standing, standing};
use super::status::{Output, connection, left, table, time};
use super::wait::words;
use crate::clock::{Clock as _, HostClock};
use crate::local::protocol::Held;
use crate::places::Places;
use crate::requests::book::Requested;

/// How often it is looked.
const PACE: Duration = Duration::from_secs(1);
/// Goes to the upper left, and clears what is there.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Shows what changes until somebody ends the program.
pub(super) fn watch(places: &Places, output: Output) -> anyhow::Result<()> {
    let is_drawn = output == Output::Text && io::stdout().is_terminal();
    let mut before = None;
    loop {
        let now = standing(places, BRIEF.saturating_mul(5));
        let text = match output {
            Output::Text if is_drawn => drawn(&now),
            Output::Text => lines(before.as_ref(), &now, HostClock.read()?.wall),
            Output::Json if is_other(before.as_ref(), &now) => match &now {
                Ok(now) => format!("{}\n", serde_json::to_string(now)?),
                Err(_) => String::new(),
            },
            Output::Json => String::new(),
        };
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()?;
        drop(out);
        before = Some(now);
        sleep(PACE);
    }
}

type Looked = Result<Standing, AskError>;

fn drawn(now: &Looked) -> String {
    match now {
        Ok(now) => format!("{CLEAR}{}", table(now)),
        Err(error) => format!("{CLEAR}{error}\n"),
    }
}

/// What of something is no change: that time passes, and what comes and goes under it.
fn steady(held: &Held) -> Held {
    Held { seconds_left: 0, processes: vec![], more_processes: false, ..held.clone() }
}

fn is_other(before: Option<&Looked>, now: &Looked) -> bool {
    match (before, now) {
        (Some(Ok(before)), Ok(now)) => {
            let steadily = |held: &[Held]| held.iter().map(steady).collect::<Vec<_>>();
            before.agent != now.agent
                || steadily(&before.held) != steadily(&now.held)
                || before.requested != now.requested
        }
        (Some(Err(_)), Err(_)) => false,
        _ => true,
    }
}

/// What has changed, on a line each.
fn lines(before: Option<&Looked>, now: &Looked, at: DateTime<Utc>) -> String {
    if !is_other(before, now) {
        return String::new();
    }
    let mut said = Vec::new();
    match now {
        Err(error) => said.push(error.to_string()),
        Ok(now) => {
            let before = before.and_then(|before| before.as_ref().ok());
            let known: &[Held] = before.map(|before| before.held.as_slice()).unwrap_or_default();
            if before.is_none_or(|before| before.agent != now.agent) {
                said.push(connection(&now.agent));
            }
            let is_known = |held: &&Held| known.iter().any(|known| steady(known) == steady(held));
            said.extend(now.held.iter().filter(|held| !is_known(held)).map(line));
            let is_gone = |known: &&Held| now.held.iter().all(|held| held.grant != known.grant);
            said.extend(known.iter().filter(is_gone).map(|held| format!("{} is gone", held.grant)));
            let known = before.map(|before| before.requested.as_slice()).unwrap_or_default();
            let is_news = |requested: &&Requested| !known.contains(requested);
            said.extend(now.requested.iter().filter(is_news).map(line_of_request));
        }
    }
    let mut text = String::new();
    for line in said {
        // What cannot be written to memory is written nowhere.
        let _ = writeln!(text, "{} {line}", time(at));
    }
    text
}

fn line(held: &Held) -> String {
    let Held { grant, state, what, user, expires_at, seconds_left, message, .. } = held;
    let why = message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
    let (until, left) = (time(*expires_at), left(*seconds_left));
    format!("{grant} is {state}, {what} as {user}, until {until} ({left} left){why}")
}

fn line_of_request(requested: &Requested) -> String {
    let Requested { name, what, user, .. } = requested;
    format!("{name} is requested, {what} as {user}: {}", words(requested))
}

#[cfg(test)]
mod tests {
    use lapse_crds::{OrderState, RequestPhase};

    use super::*;
    use crate::client::status::tests::{at, held, standing_of};
    use crate::client::wait::tests::requested;

    #[test]
    fn each_change_is_a_line_once() {
        let later = Held { seconds_left: 3_000, ..held("a") };
        let ending =
            Held { state: OrderState::Ending, message: Some("it is locked".into()), ..held("a") };
        let all = [
            Ok(standing_of(vec![])),
            Ok(standing_of(vec![held("a")])),
            Ok(standing_of(vec![later])),
            Ok(standing_of(vec![ending, held("b")])),
            Ok(standing_of(vec![held("b")])),
            Err(AskError::Absent),
            Err(AskError::Absent),
            Ok(standing_of(vec![])),
        ];
        let mut said = String::new();
        let mut before = None;
        for (second, now) in (0..).zip(all) {
            said.push_str(&lines(before.as_ref(), &now, at(second)));
            before = Some(now);
        }
        insta::assert_snapshot!(said, @r"
        2027-01-15T08:00:00Z The agent is connected since 2027-01-15T08:00:00Z.
        2027-01-15T08:00:01Z a is Active, sudo as al, until 2027-01-15T09:00:00Z (58m29s left)
        2027-01-15T08:00:03Z a is Ending, sudo as al, until 2027-01-15T09:00:00Z (58m29s left): it is locked
        2027-01-15T08:00:03Z b is Active, sudo as al, until 2027-01-15T09:00:00Z (58m29s left)
        2027-01-15T08:00:04Z a is gone
        2027-01-15T08:00:05Z the agent of this host does not run (systemctl status lapse-agent): access ends on time all the same
        2027-01-15T08:00:07Z The agent is connected since 2027-01-15T08:00:00Z.
        ");
    }

    #[test]
    fn each_step_of_a_request_is_a_line_once() {
        let of = |phase, waiting_for: Option<&str>| {
            let waiting_for = waiting_for.map(str::to_owned);
            let mut standing = standing_of(vec![]);
            standing.requested = vec![Requested { waiting_for, ..requested("fix", phase) }];
            Ok(standing)
        };
        let all = [
            of(None, None),
            of(None, None),
            of(Some(RequestPhase::Pending), Some("1 of olga")),
            of(Some(RequestPhase::Active), None),
            Ok(standing_of(vec![held("a")])),
        ];
        let mut said = String::new();
        let mut before = None;
        for (second, now) in (0..).zip(all) {
            said.push_str(&lines(before.as_ref(), &now, at(second)));
            before = Some(now);
        }
        insta::assert_snapshot!(said, @r"
        2027-01-15T08:00:00Z The agent is connected since 2027-01-15T08:00:00Z.
        2027-01-15T08:00:00Z fix is requested, sudo as al: it waits for the answer of the cluster
        2027-01-15T08:00:02Z fix is requested, sudo as al: it waits for 1 of olga
        2027-01-15T08:00:03Z fix is requested, sudo as al: it is granted, and on its way to this host
        2027-01-15T08:00:04Z a is Active, sudo as al, until 2027-01-15T09:00:00Z (58m29s left)
        ");
    }

    #[test]
    fn on_a_terminal_all_of_it_is_drawn() {
        let drawn = drawn(&Ok(standing_of(vec![held("a")])));
        assert!(drawn.starts_with(CLEAR) && drawn.contains("58m29s"), "{drawn}");
    }
}
