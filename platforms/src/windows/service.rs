//! How the agent would be installed as a service: it starts with Windows, as the system, and again when it ends by itself.

use std::time::Duration;

/// What a service is, as the manager of services is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: &'static str,
    /// What people see.
    pub display_name: &'static str,
    /// What it does, in words.
    pub description: &'static str,
    /// How the program is called.
    pub arguments: &'static [&'static str],
    /// After how long it is started again when it has ended by itself.
    pub restarts_after: Duration,
    /// After how long without that an earlier end counts no more.
    pub forgets_after: Duration,
}

/// The agent.
pub const SERVICE: Service = Service {
    name: "lapse-agent",
    display_name: "Lapse agent",
    description: "Gives access on this host for a time, and ends it. Access ends on time also if this service is stopped.",
    arguments: &["serve"],
    restarts_after: Duration::from_secs(5),
    forgets_after: Duration::from_hours(1),
};
