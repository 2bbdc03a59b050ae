//! What is said on the socket: a request on one line, then answers on a line each, all in JSON. Pure.

use chrono::{DateTime, Utc};
use lapse_crds::{OrderState, Origin};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::origin::COMMAND;
use crate::requests::book::Requested;
use crate::requests::wish::{self, Wish};
use crate::standing::Standing;

/// The version of the protocol.
pub const VERSION: u32 = 1;
/// The longest line, in bytes.
pub const LONGEST: usize = 64 * 1024;

/// What somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// What they hold; root sees what everybody holds.
    Status,
    /// An end before its time.
    End(End),
    /// A statement that it is they who ask for something, and here.
    Prove(Prove),
    /// Something that they ask for, by the agent itself.
    Ask(Wish),
    /// One program as root, whose standard input, output and error are handed over with the request.
    Run(Run),
}

/// An end before its time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// The Grant, or the request. Absent: the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
}

/// What somebody asks for in the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prove {
    /// The digest of their request: `sha256:` and 64 hexadecimal digits.
    pub digest: String,
}

/// An application that somebody holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Its name. What it is, and with which arguments, was approved: nobody says that here.
    pub application: String,
}

/// A command that takes nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Why a request is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// It is no JSON object.
    #[error("the request is not a JSON object on one line: {0}")]
    Malformed(String),
    /// It is of another version.
    #[error(
        "the request is of version {0} of the protocol, and this agent speaks version {VERSION}: use the program `lapse` of \
         the agent's own package"
    )]
    Version(String),
    /// There is no such command.
    #[error(
        "there is no command {0}: this agent knows `end`, `prove`, `request`, `run` and `status`. Is it older than the program that asks?"
    )]
    Command(String),
    /// It says something that the command does not know.
    #[error("the command `{command}` cannot be read: {why}")]
    Fields {
        /// Which.
        command: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

impl Request {
    /// Reads a line.
    ///
    /// # Errors
    /// If it is no request that this release knows, whole.
    pub fn read(line: &[u8]) -> Result<Self, RequestError> {
        let mut fields: Map<String, Value> = serde_json::from_slice(line)
            .map_err(|error| RequestError::Malformed(error.to_string()))?;
        let version = fields.remove("version").unwrap_or_default();
        if version != json!(VERSION) {
            return Err(RequestError::Version(brief(&version)));
        }
        let command = fields.remove("command").unwrap_or_default();
        let fields = Value::Object(fields);
        match command.as_str() {
            Some("status") => read_fields("status", fields).map(|Nothing {}| Self::Status),
            Some("end") => read_fields("end", fields).map(Self::End),
            Some(COMMAND) => read_fields(COMMAND, fields).map(Self::Prove),
            Some(wish::COMMAND) => read_fields(wish::COMMAND, fields).map(Self::Ask),
            Some("run") => read_fields("run", fields).map(Self::Run),
            _ => Err(RequestError::Command(brief(&command))),
        }
    }

    /// The line that says it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn line(&self) -> Result<String, serde_json::Error> {
        let (command, fields) = match self {
            Self::Status => ("status", json!({})),
            Self::End(end) => ("end", serde_json::to_value(end)?),
            Self::Prove(prove) => (COMMAND, serde_json::to_value(prove)?),
            Self::Ask(wish) => (wish::COMMAND, serde_json::to_value(wish)?),
            Self::Run(run) => ("run", serde_json::to_value(run)?),
        };
        let mut request = json!({"version": VERSION, "command": command});
        if let (Value::Object(request), Value::Object(fields)) = (&mut request, fields) {
            request.extend(fields);
        }
        Ok(format!("{request}\n"))
    }
}

/// A value in few characters.
fn brief(value: &Value) -> String {
    value.to_string().chars().take(64).collect()
}

fn read_fields<T: DeserializeOwned>(
    command: &'static str,
    fields: Value,
) -> Result<T, RequestError> {
    serde_json::from_value(fields)
        .map_err(|error| RequestError::Fields { command, why: error.to_string() })
}

/// What is answered. The last line is `Done`, `Refused` or `Busy`: without one the answer is not whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "camelCase")]
pub enum Answer {
    /// How the agent stands, first of a status.
    Agent(Agent),
    /// Something that is held on this host.
    Held(Box<Held>),
    /// Something that is requested on this host.
    Requested(Box<Requested>),
    /// The statement.
    Origin(Proven),
    /// An application is being started: the next answer comes when it has ended.
    Started(Message),
    /// An application has ended.
    Exited(Exited),
    /// That was all, or it is done.
    Done(Message),
    /// It is not done.
    Refused(Message),
    /// There is no place for it now, and nothing of it was read: it may be asked again in a moment.
    Busy(Message),
}

/// That it is somebody who asks for something, on this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proven {
    /// The statement, as a request carries it.
    pub origin: Origin,
}

/// How an application ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exited {
    /// Its exit code, as a shell says it: one that a signal ended has 128 and its number.
    pub code: u8,
}

/// Something in words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

impl Answer {
    /// That it is done.
    #[must_use]
    pub fn done(message: impl Into<String>) -> Self {
        Self::Done(Message { message: message.into() })
    }

    /// That it is not.
    #[must_use]
    pub fn refused(message: impl Into<String>) -> Self {
        Self::Refused(Message { message: message.into() })
    }
}

/// How the agent stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Agent {
    /// The version of the protocol that it speaks.
    pub version: u32,
    /// The Endpoint that this host is.
    pub endpoint: String,
    /// How its connection to the gateway stands. Absent: it has not connected yet. Errors are for root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<Standing>,
}

/// Something that is held on this host. What people wrote in it is made such that it can be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// The Grant.
    pub grant: String,
    /// The request: its namespace and its name. Absent where an earlier release took the order over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// The ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// Whose approval counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approved_by: Vec<String>,
    /// The local user who holds it.
    pub user: String,
    /// What it is, in words.
    pub what: String,
    /// Whether it is one of sudo.
    pub is_sudo: bool,
    /// The application that it is, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<Application>,
    /// How far it is.
    pub state: OrderState,
    /// Since when, by the clock of the host.
    pub since: DateTime<Utc>,
    /// From when on.
    pub starts_at: DateTime<Utc>,
    /// Until when, by the clock of the host.
    pub expires_at: DateTime<Utc>,
    /// How long that is, by the first of all clocks that says so.
    pub seconds_left: u32,
    /// What keeps it from its end, or why it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What runs under it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<Process>,
    /// Whether more runs than is listed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more_processes: bool,
}

/// An application, which is run by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Application {
    /// The name.
    pub name: String,
    /// The program with its arguments and its environment, as a shell would be told to run it.
    pub runs: String,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// What it runs.
    pub command: String,
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::status(Request::Status, r#"{"command":"status","version":1}"#)]
    #[case::the_only_one(Request::End(End { grant: None }), r#"{"command":"end","version":1}"#)]
    #[case::one(Request::End(End { grant: Some("g".into()) }), r#"{"command":"end","grant":"g","version":1}"#)]
    #[case::a_statement(Request::Prove(Prove { digest: "sha256:0".into() }), r#"{"command":"prove","digest":"sha256:0","version":1}"#)]
    #[case::an_application(Request::Run(Run { application: "dump".into() }), r#"{"application":"dump","command":"run","version":1}"#)]
    #[case::something(
        Request::Ask(Wish { commands: vec!["/bin/id -u".into()], reason: Some("x".into()), ..Wish::default() }),
        r#"{"command":"request","commands":["/bin/id -u"],"reason":"x","version":1}"#
    )]
    fn a_request_is_read_as_it_is_written(#[case] request: Request, #[case] line: &str) {
        assert_eq!(request.line().unwrap(), format!("{line}\n"));
        assert_eq!(Request::read(line.as_bytes()), Ok(request));
    }

    #[rstest]
    #[case::nothing(
        "",
        "the request is not a JSON object on one line: EOF while parsing a value at line 1 column 0"
    )]
    #[case::a_list(
        "[1]",
        "the request is not a JSON object on one line: invalid type: sequence, expected a map at line 1 column 0"
    )]
    #[case::without_a_version(
        r#"{"command":"status"}"#,
        "the request is of version null of the protocol, and this agent speaks version 1: use the program `lapse` of the agent's own package"
    )]
    #[case::a_newer_one(
        r#"{"command":"status","version":2}"#,
        "the request is of version 2 of the protocol, and this agent speaks version 1: use the program `lapse` of the agent's own package"
    )]
    #[case::no_command(
        r#"{"version":1}"#,
        "there is no command null: this agent knows `end`, `prove`, `request`, `run` and `status`. Is it older than the program that asks?"
    )]
    #[case::another_command(
        r#"{"version":1,"command":"grant"}"#,
        "there is no command \"grant\": this agent knows `end`, `prove`, `request`, `run` and `status`. Is it older than the program that asks?"
    )]
    #[case::who_somebody_is(
        r#"{"version":1,"command":"status","uid":0}"#,
        "the command `status` cannot be read: unknown field `uid`, there are no fields"
    )]
    #[case::another_field(
        r#"{"version":1,"command":"end","grants":["g"]}"#,
        "the command `end` cannot be read: unknown field `grants`, expected `grant`"
    )]
    #[case::another_type(
        r#"{"version":1,"command":"end","grant":1}"#,
        "the command `end` cannot be read: invalid type: integer `1`, expected a string"
    )]
    #[case::other_arguments(
        r#"{"version":1,"command":"run","application":"dump","args":["-f","/etc/shadow"]}"#,
        "the command `run` cannot be read: unknown field `args`, expected `application`"
    )]
    #[case::another_environment(
        r#"{"version":1,"command":"run","application":"dump","env":{"LD_PRELOAD":"/tmp/x"}}"#,
        "the command `run` cannot be read: unknown field `env`, expected `application`"
    )]
    #[case::as_somebody_else(
        r#"{"version":1,"command":"request","admin":true,"localUser":"bob"}"#,
        "the command `request` cannot be read: unknown field `localUser`, expected one of `admin`, `commands`, `groups`, `application`, `account`, `duration`, `reason`, `ticket`, `policy`"
    )]
    #[case::nothing_to_run(
        r#"{"version":1,"command":"run"}"#,
        "the command `run` cannot be read: missing field `application`"
    )]
    fn what_is_not_known_is_refused(#[case] line: &str, #[case] expected: &str) {
        assert_eq!(Request::read(line.as_bytes()).unwrap_err().to_string(), expected);
    }

    #[test]
    fn nothing_is_read_to_any_depth() {
        let deep = format!("{{\"version\":{}", "[".repeat(60_000));
        assert!(matches!(Request::read(deep.as_bytes()), Err(RequestError::Malformed(_))));
    }

    #[test]
    fn answers_are_lines() {
        let line = serde_json::to_string(&Answer::refused("no")).unwrap();
        assert_eq!(line, r#"{"answer":"refused","message":"no"}"#);
        assert_eq!(serde_json::to_string(&Answer::done("")).unwrap(), r#"{"answer":"done"}"#);
        let exited = serde_json::to_string(&Answer::Exited(Exited { code: 143 })).unwrap();
        assert_eq!(exited, r#"{"answer":"exited","code":143}"#);
        let newer: Answer = serde_json::from_str(r#"{"answer":"done","more":1}"#).unwrap();
        assert_eq!(newer, Answer::done(""));
    }
}
