//! `lapse status`: what somebody holds on this host, and what they have requested there.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Args, ValueEnum};
use lapse_crds::GrantDuration;

use super::ask::{Standing, standing};
use super::wait::words;
use super::watch::watch;
use crate::local::protocol::{Agent, Held};
use crate::places::Places;
use crate::requests::book::Requested;
use crate::text::plain;

/// How long the agent may take.
const WITHIN: Duration = Duration::from_secs(10);

/// How it is shown.
#[derive(Clone, Debug, Args)]
pub struct Status {
    /// Go on: on a terminal it is drawn anew each second, elsewhere each change is a line.
    #[arg(long)]
    pub watch: bool,
    /// The form.
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// A form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Shows it.
///
/// # Errors
/// If the agent does not say.
pub fn status(places: &Places, options: &Status) -> anyhow::Result<ExitCode> {
    if options.watch {
        watch(places, options.output)?;
        return Ok(ExitCode::SUCCESS);
    }
    let standing = standing(places, WITHIN)?;
    let text = match options.output {
        Output::Text => table(&standing),
        Output::Json => format!("{}\n", serde_json::to_string_pretty(&standing)?),
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// A time, to the second.
pub(super) fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// How long something still lasts.
pub(super) fn left(seconds: u32) -> String {
    GrantDuration::from_seconds(seconds).map_or_else(|| "0s".to_owned(), |left| left.to_string())
}

/// How the agent is connected.
pub(super) fn connection(agent: &Agent) -> String {
    let Some(connection) = &agent.connection else {
        return "The agent is not connected yet: what you hold ends on time.".to_owned();
    };
    let since = time(connection.since);
    if connection.is_connected {
        format!("The agent is connected since {since}.")
    } else {
        format!(
            "The agent is not connected since {since}: what you hold ends on time, and can be ended here."
        )
    }
}

/// All of it, for people.
pub(super) fn table(Standing { agent, held, requested }: &Standing) -> String {
    let mut text = format!("This host is Endpoint {}. {}\n", agent.endpoint, connection(agent));
    if held.is_empty() {
        text.push_str("You hold nothing here.\n");
    } else {
        let rows = held.iter().map(|held| {
            let Held { state, user, seconds_left, expires_at, grant, what, .. } = held;
            let (state, left, until) = (state.to_string(), left(*seconds_left), time(*expires_at));
            ([state, user.clone(), left, until, grant.clone(), what.clone()], details(held))
        });
        let titles = ["STATE", "USER", "LEFT", "UNTIL", "GRANT", "ACCESS"];
        text.push_str(&lines(titles, rows.collect()));
    }
    if !requested.is_empty() {
        let rows = requested.iter().map(|requested| {
            let Requested { phase, user, since, name, what, .. } = requested;
            let phase = phase.map_or_else(|| "Sent".to_owned(), |phase| phase.to_string());
            let details = format!("  {}\n", plain(&words(requested), 2048));
            ([phase, user.clone(), time(*since), name.clone(), what.clone()], details)
        });
        let titles = ["PHASE", "USER", "SINCE", "REQUEST", "REQUESTED"];
        text.push_str(&lines(titles, rows.collect()));
    }
    text
}

/// A table, and below each of its lines what there is to say of that.
fn lines<const N: usize>(titles: [&str; N], rows: Vec<([String; N], String)>) -> String {
    let titles = (titles.map(str::to_owned), String::new());
    let rows: Vec<_> = std::iter::once(titles).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|(row, _)| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..N).map(|column| width(column).unwrap_or_default()).collect();
    let mut text = String::new();
    for (row, details) in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
        text.push_str(details);
    }
    text
}

fn details(held: &Held) -> String {
    let mut text = String::new();
    let mut say = |line: &str| {
        // What cannot be written to memory is written nowhere.
        let _ = writeln!(text, "  {}", plain(line, 1024));
    };
    if let Some(origin) = origin(held) {
        say(&origin);
    }
    if let Some(message) = &held.message {
        say(message);
    }
    for process in &held.processes {
        say(&format!("running: {} {}", process.pid, process.command));
    }
    if held.more_processes {
        say("running: and more");
    }
    text
}

/// How it came to be.
pub(super) fn origin(Held { request, ticket, approved_by, .. }: &Held) -> Option<String> {
    let request = request.as_ref().map(|request| format!("request {request}"))?;
    let ticket = ticket.as_ref().map(|ticket| format!("ticket {ticket}"));
    let approved = if approved_by.is_empty() {
        "no approval was needed".to_owned()
    } else {
        format!("approved by {}", approved_by.join(", "))
    };
    Some(
        [Some(request), ticket, Some(approved)]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(", "),
    )
}

#[cfg(test)]
pub(super) mod tests {
    use lapse_crds::{OrderState, RequestPhase};

    use super::*;
    use crate::client::wait::tests::requested;
    use crate::local::protocol::Process;
    use crate::standing;

    pub(in crate::client) fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    pub(in crate::client) fn held(grant: &str) -> Held {
        Held {
            grant: grant.into(),
            request: Some("shop/fix".into()),
            ticket: Some("INC0012345".into()),
            approved_by: vec!["bob".into(), "olga".into()],
            user: "al".into(),
            what: "sudo".into(),
            is_sudo: true,
            application: None,
            state: OrderState::Active,
            since: at(0),
            starts_at: at(0),
            expires_at: at(3600),
            seconds_left: 3_509,
            message: None,
            processes: vec![],
            more_processes: false,
        }
    }

    pub(in crate::client) fn standing_of(held: Vec<Held>) -> Standing {
        let connection = Some(standing::Standing::connected(None, at(0)));
        let agent = Agent { version: 1, endpoint: "web-1".into(), connection };
        Standing { agent, held, requested: vec![] }
    }

    #[test]
    fn what_is_held_is_a_table() {
        let running = Held {
            processes: vec![Process { pid: 4242, command: "sleep 300".into() }],
            more_processes: true,
            ..held("shop-fix-5d8f1c2a3b")
        };
        let ending = Held {
            request: None,
            what: "group ops".into(),
            state: OrderState::Ending,
            seconds_left: 0,
            message: Some("changing the group ops: it cannot be locked".into()),
            ..held("b")
        };
        let alone = Held { ticket: None, approved_by: vec![], ..held("c") };
        insta::assert_snapshot!(table(&standing_of(vec![running, ending, alone])), @r"
        This host is Endpoint web-1. The agent is connected since 2027-01-15T08:00:00Z.
        STATE   USER  LEFT    UNTIL                 GRANT                ACCESS
        Active  al    58m29s  2027-01-15T09:00:00Z  shop-fix-5d8f1c2a3b  sudo
          request shop/fix, ticket INC0012345, approved by bob, olga
          running: 4242 sleep 300
          running: and more
        Ending  al    0s      2027-01-15T09:00:00Z  b                    group ops
          changing the group ops: it cannot be locked
        Active  al    58m29s  2027-01-15T09:00:00Z  c                    sudo
          request shop/fix, no approval was needed
        ");
    }

    #[test]
    fn what_is_requested_is_shown_with_who_must_approve_it() {
        let waiting = Requested {
            waiting_for: Some("1 of olga, pete".into()),
            ..requested("web-1-al-0", Some(RequestPhase::Pending))
        };
        let sent = Requested { what: "group adm".into(), ..requested("web-1-al-1", None) };
        let denied = Requested {
            why: Some("Denied by olga: not today".into()),
            ..requested("web-1-al-2", Some(RequestPhase::Denied))
        };
        let mut standing = standing_of(vec![]);
        standing.requested = vec![waiting, sent, denied];
        insta::assert_snapshot!(table(&standing), @r"
        This host is Endpoint web-1. The agent is connected since 2027-01-15T08:00:00Z.
        You hold nothing here.
        PHASE    USER  SINCE                 REQUEST     REQUESTED
        Pending  al    2027-01-15T08:00:00Z  web-1-al-0  sudo
          it waits for 1 of olga, pete
        Sent     al    2027-01-15T08:00:00Z  web-1-al-1  group adm
          it waits for the answer of the cluster
        Denied   al    2027-01-15T08:00:00Z  web-1-al-2  sudo
          it is denied (Denied by olga: not today)
        ");
    }

    #[test]
    fn who_holds_nothing_is_told_so() {
        let mut standing = standing_of(vec![]);
        let mut said = table(&standing);
        let lost = standing::Standing::failed(standing.agent.connection, "x".into(), at(60));
        standing.agent.connection = Some(lost);
        said.push_str(&table(&standing));
        standing.agent.connection = None;
        said.push_str(&table(&standing));
        insta::assert_snapshot!(said, @r"
        This host is Endpoint web-1. The agent is connected since 2027-01-15T08:00:00Z.
        You hold nothing here.
        This host is Endpoint web-1. The agent is not connected since 2027-01-15T08:01:00Z: what you hold ends on time, and can be ended here.
        You hold nothing here.
        This host is Endpoint web-1. The agent is not connected yet: what you hold ends on time.
        You hold nothing here.
        ");
    }

    #[test]
    fn nothing_that_is_shown_steers_the_terminal() {
        let hostile = Held { message: Some("a\x1b[2Jb".into()), ..held("g") };
        assert!(details(&hostile).contains("a?[2Jb"));
    }
}
