//! One entry of the record.

use lapse_crds::{RequestRef, Timestamp};
use serde::{Deserialize, Serialize};

/// Something that happened on a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Its number in its series: 1, 2, 3 and so on, without a gap.
    pub sequence: u64,
    /// When it happened, by the clock of the host.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub event: Event,
    /// The local user who did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The number of that user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// By which right. Absent: by none of Lapse, or nobody can tell by which.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub under: Option<Under>,
}

/// The right by which something was done, as its order says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Under {
    /// The name of the Grant.
    pub grant: String,
    /// The request for which it was granted.
    pub request: RequestRef,
    /// The ticket of that request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// Who holds it, as the cluster calls them.
    pub holder: String,
    /// Whether the Grant names the commands, so that who may read it knows their arguments.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub names_commands: bool,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all_fields = "camelCase")]
pub enum Event {
    /// `sudo` was let go on under a right.
    Session {
        /// Its process.
        process: u32,
        /// The terminal that it was called on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        terminal: Option<String>,
        /// What it was called with, itself first.
        called: Vec<String>,
    },
    /// A command was started.
    Command(Call),
    /// A command ended.
    Exit {
        /// The call that ended.
        session: String,
        /// Its exit code, or 128 and the number of the signal that ended it.
        exit: i32,
        /// The name of that signal.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signal: Option<String>,
    },
    /// A command was refused by `sudo`.
    Refused {
        /// The command.
        #[serde(flatten)]
        call: Call,
        /// Why, in the words of `sudo`.
        why: String,
    },
    /// Something happened that is not in the record.
    Lost {
        /// How many entries; absent if nobody knows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        entries: Option<u64>,
        /// Why, for people.
        why: String,
    },
}

/// A command that was called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    /// A name of the call on its host. What it starts, and its end, have the same.
    pub session: String,
    /// Whether it was started by the command that was called, and not called itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_child: bool,
    /// The program.
    pub program: String,
    /// Its arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// Whether arguments were left out or cut, as there were too many.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_cut: bool,
    /// The folder that it was called in. Not known of what a command started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// The local user that it ran as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as: Option<String>,
    /// The terminal that it was called on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<String>,
    /// The process of the `sudo` that it was called with, if it can be told from others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<u32>,
}
