//! What outlasts access on a host, as its agent found it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// How many findings an agent reports.
pub const MOST_FINDINGS: usize = 64;
/// How many Grants a finding names.
pub const MOST_GRANTS_OF_FINDING: usize = 4;

/// What an agent found on its host that was changed while somebody held access as root there, and would outlast that
/// access. Signed with the agent's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// What was found, the oldest first, until somebody has run `lapse-agent drift accept` on the host, and for 30 days
    /// at most.
    #[schemars(length(max = 64))]
    pub findings: Vec<DriftFinding>,
    /// How many more findings there are than the list has room for.
    pub left_out: u32,
    /// The last Grants after whose end the host was compared with what it was before.
    #[schemars(length(max = 64))]
    pub compared: Vec<ComparedGrant>,
    /// The agent's signature over all of this and the UID of the Endpoint, in base64.
    #[schemars(length(min = 88, max = 88))]
    pub signature: String,
}

/// Something that would outlast access.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriftFinding {
    /// The Grants under which it was changed. If more than one was in force, nothing tells by which it was. The first 4.
    #[schemars(length(max = 4), inner(length(min = 1, max = 253)))]
    pub grants: Vec<String>,
    /// What it is.
    pub kind: DriftKind,
    /// The file or folder.
    #[schemars(length(min = 1, max = 256))]
    pub path: String,
    /// What was changed, such as `was added`.
    #[schemars(length(min = 1, max = 256))]
    pub change: String,
    /// Whether it was undone.
    pub reverted: bool,
    /// How often it was changed: more than once if somebody did it again after it was undone.
    pub count: u32,
    /// When it was found, by the clock of the host.
    pub at: Timestamp,
}

/// A Grant after whose end the host was compared with what it was before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComparedGrant {
    /// The name of the Grant.
    #[schemars(length(min = 1, max = 253))]
    pub grant: String,
    /// How many changes were found, from its start until the comparison.
    pub found: u32,
    /// How many of them were undone.
    pub reverted: u32,
    /// What could not be looked at, in the agent's words. Absent: everything that is looked at was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub unseen: Option<String>,
}

/// What was changed.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum DriftKind {
    /// A program that runs as its owner or its group.
    Setuid,
    /// A program with capabilities of its own.
    Capabilities,
    /// The rules of `sudo`.
    Sudoers,
    /// How people authenticate.
    Pam,
    /// A user of the host.
    Account,
    /// A group of the host, or its members.
    Group,
    /// The keys with which somebody may log in.
    Keys,
    /// A unit of systemd.
    Unit,
    /// Something that runs at its time.
    Cron,
    /// What is loaded into every program.
    Loader,
    /// How people log in, and where users come from.
    Login,
    /// What polkit allows.
    Polkit,
    /// What runs when root logs in, or when the host starts.
    Startup,
    /// The owner or the mode of a folder of the system.
    Folder,
    /// The agent itself.
    Agent,
}

impl fmt::Display for DriftKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_patch_leaves_nothing_of_an_earlier_report() {
        let at = Timestamp::new(chrono::DateTime::UNIX_EPOCH);
        let finding = DriftFinding {
            grants: vec![],
            kind: DriftKind::Setuid,
            path: "/x".into(),
            change: "was added".into(),
            reverted: false,
            count: 1,
            at,
        };
        let drift = Drift {
            findings: vec![finding],
            left_out: 0,
            compared: vec![],
            signature: String::new(),
        };
        // Each field is there whatever it says: a patch changes no field that it does not name.
        let fields = serde_json::to_value(&drift).unwrap();
        let fields: Vec<_> = fields.as_object().unwrap().keys().cloned().collect();
        assert_eq!(fields, ["compared", "findings", "leftOut", "signature"]);
    }
}
