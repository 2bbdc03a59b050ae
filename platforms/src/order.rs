//! What an order asks for, and what it gives in the terms of a host. Pure.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// What an order is called on a host: 32 hexadecimal digits, which whoever takes the order makes of the name of its Grant. Nothing
/// that reads names of files, tasks or jobs reads them in a way of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OrderId(String);

impl OrderId {
    /// Reads one.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 32 && text.bytes().all(is_digit)).then(|| Self(text.to_owned()))
    }
}

impl TryFrom<String> for OrderId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::read(&text).ok_or_else(|| {
            format!("{text:?} is not the ID of a grant, which has 32 hexadecimal digits")
        })
    }
}

impl From<OrderId> for String {
    fn from(id: OrderId) -> Self {
        id.0
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a host can do, by the names of the API. What is not among these (commands of sudo, and a record of what is done with
/// it) no host but one with Linux can do, so the engine refuses requests for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// Membership of the administrators of the host.
    Admin,
    /// Membership of a local group.
    Group,
    /// One program with all rights, started by the agent.
    Application,
    /// Local accounts that are enabled, created, or in more groups for a time.
    Account,
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What is asked for, by the names that are on the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Elevation {
    /// To be one of the administrators of the host.
    Admin,
    /// To be in this local group.
    Group(String),
    /// To run this program with all rights.
    Application(Program),
    /// To be one's own local user.
    Account {
        /// What is done with it.
        action: AccountAction,
        /// The groups that it joins.
        groups: Vec<String>,
        /// The keys with which one can log in as it.
        authorized_keys: Vec<String>,
    },
}

impl Elevation {
    /// What a host must be able to do for it.
    #[must_use]
    pub fn needs(&self) -> Capability {
        match self {
            Self::Admin => Capability::Admin,
            Self::Group(_) => Capability::Group,
            Self::Application(_) => Capability::Application,
            Self::Account { .. } => Capability::Account,
        }
    }
}

/// What is done with an account for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountAction {
    /// It is enabled, and disabled again.
    Enable,
    /// It is made, and removed.
    Provision,
    /// It is in more groups.
    Raise,
}

/// A program that is run exactly so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Program {
    /// Where it is.
    pub path: String,
    /// Its arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// What is in its environment beside what the agent puts there.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The digest of its file, as `sha256:` and 64 hexadecimal digits.
    #[serde(default)]
    pub sha256: Option<String>,
}

/// An order that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// What it is called here.
    pub id: OrderId,
    /// The name of the Grant.
    pub grant: String,
    /// The local user.
    pub user: String,
    /// Until when, by the clock of the host.
    pub expires_at: DateTime<Utc>,
    /// What.
    pub elevation: Elevation,
    /// Whether the user is logged off when it ends.
    pub log_off: bool,
}

/// Somebody or something by its name, and by what it is known by whatever it is called: a SID on Windows, a number on macOS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Named {
    /// What it was called when the order came.
    pub name: String,
    /// What it is known by. Of an account that is not made yet: nothing.
    pub id: String,
}

/// What may be done on the host, by whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Right {
    /// The local user.
    pub user: Named,
    /// Until when, by the clock of the host.
    pub expires_at: DateTime<Utc>,
    /// What.
    pub gives: Gives,
    /// Whether the user is logged off when it ends.
    pub log_off: bool,
}

/// What a right gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Gives {
    /// Membership of these groups: of the administrators, of one group, or of those of an account that is raised.
    Groups(Vec<Named>),
    /// One program with all rights.
    Application(Program),
    /// The account, which is disabled otherwise.
    Enabled,
    /// An account that is made, with these groups.
    Made(Vec<Named>),
}

impl Gives {
    /// The groups that are joined by it.
    #[must_use]
    pub fn groups(&self) -> &[Named] {
        match self {
            Self::Groups(groups) | Self::Made(groups) => groups,
            Self::Application(_) | Self::Enabled => &[],
        }
    }
}

/// What was there before a right was given, and is there again when it has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Undo {
    /// The groups in which the user was before, by what they are known by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub was_in: Vec<String>,
    /// How an account was disabled that is enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<Disabled>,
    /// By what an account that is made is known to be the one that Lapse has made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<String>,
}

/// How an account was disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Disabled {
    /// Whether it was switched off.
    pub is_off: bool,
    /// When it had expired or will, in seconds since 1970. `None`: never.
    pub expires: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written_and_nothing_else_is_one() {
        let text = "0123456789abcdef0123456789abcdef";
        let id = OrderId::read(text).unwrap();
        assert_eq!(id.to_string(), text);
        let stored = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<OrderId>(&stored).unwrap(), id);
        for wrong in ["", "x", r"..\..\x", &"g".repeat(32), &"A".repeat(32), &"0".repeat(33)] {
            assert_eq!(OrderId::read(wrong), None, "{wrong}");
            assert!(serde_json::from_value::<OrderId>(wrong.into()).is_err(), "{wrong}");
        }
    }
}
