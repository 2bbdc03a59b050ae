//! Why an order gives nothing.

use super::OLDEST;

/// Why an order gives nothing on this host. Shown on the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RightError {
    /// Its time is up.
    #[error("it had expired when it arrived")]
    Over,
    /// It is older than what is remembered.
    #[error("it was signed more than {} days ago; request again", OLDEST.num_days())]
    Old,
    /// The clock is wrong.
    #[error(
        "the clock of this host is {0} s behind that of the cluster: set it (timedatectl), then request again"
    )]
    Behind(i64),
    /// No such user.
    #[error(
        "there is no local user {0} on this host (/etc/passwd): create it, or correct spec.users of the Endpoint"
    )]
    NoUser(String),
    /// Root.
    #[error("the local user {0} has the user ID 0, and may do everything already")]
    Root(String),
    /// Another user.
    #[error(
        "the local user {user} is no longer the one with the user ID {uid} that it was when the order arrived"
    )]
    OtherUser {
        /// The user.
        user: String,
        /// Their number.
        uid: u32,
    },
    /// No such group.
    #[error("there is no local group {0} on this host (/etc/group)")]
    NoGroup(String),
    /// Always a member.
    #[error("{group} is the primary group of {user}: membership of it cannot end")]
    OwnGroup {
        /// The user.
        user: String,
        /// The group.
        group: String,
    },
    /// A program that is not there, or that somebody but root may change.
    #[error("{path}: {why}")]
    Program {
        /// Its path.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file of the host cannot be read.
    #[error("reading the accounts of this host: {0}")]
    Accounts(String),
}
