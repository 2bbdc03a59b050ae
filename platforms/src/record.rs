//! What is known of one order, and how far it is. Pure.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::clock::{Deadline, MaxSeen, Reading};
use crate::order::{Gives, OrderId, Right, Undo};

/// How far an order is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// It came; nothing of it is there.
    Received,
    /// The right is being given: some of it may be there.
    Giving,
    /// The right is given.
    Active,
    /// It is being taken back: some of it may be there.
    Ending,
    /// Nothing of it is there.
    Over,
}

/// What is known of one order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    /// What it is called here.
    pub id: OrderId,
    /// The name of the Grant.
    pub grant: String,
    /// What it gives.
    pub right: Right,
    /// Its end by every clock.
    pub deadline: Deadline,
    /// How far it is.
    pub stage: Stage,
    /// Whether it could not be given.
    #[serde(default)]
    pub failed: bool,
    /// Why it was ended or could not be given.
    #[serde(default)]
    pub why: Option<String>,
    /// What keeps it from its end.
    #[serde(default)]
    pub left: Option<String>,
    /// What was there before. Written before the right is given.
    #[serde(default)]
    pub undo: Option<Undo>,
    /// Whether the platform may have its ends, by which it is ended without the agent.
    #[serde(default)]
    pub armed: bool,
    /// Whether the user was logged off at its end, which is done once: they may log in again.
    #[serde(default)]
    pub logged_off: bool,
}

impl Record {
    /// An order that came at `now`.
    #[must_use]
    pub fn received(id: OrderId, grant: String, right: Right, now: &Reading) -> Self {
        let deadline = Deadline::new(now, right.expires_at);
        Self {
            id,
            grant,
            right,
            deadline,
            stage: Stage::Received,
            failed: false,
            why: None,
            left: None,
            undo: None,
            armed: false,
            logged_off: false,
        }
    }

    /// How long the right is still good, if it is.
    #[must_use]
    pub fn rest(&self, now: &Reading, seen: &MaxSeen) -> Option<TimeDelta> {
        self.deadline.rest(now, seen)
    }

    /// Whether some of the right may be there.
    #[must_use]
    pub fn is_in_force(&self) -> bool {
        matches!(self.stage, Stage::Giving | Stage::Active | Stage::Ending)
    }

    /// Whether by this order somebody is in a group, both by what they are known by; and if so, whether they were before.
    #[must_use]
    pub fn membership(&self, user: &str, group: &str) -> Option<bool> {
        let undo = self.undo.as_ref().filter(|_| self.is_in_force())?;
        let is_in = self.right.gives.groups().iter().any(|named| named.id == group);
        let is_theirs = !user.is_empty() && self.right.user.id == user;
        (is_theirs && is_in).then(|| undo.was_in.iter().any(|id| id == group))
    }

    /// What was there before this order, if it enables the account that is known by this.
    #[must_use]
    pub fn enables(&self, user: &str) -> Option<&Undo> {
        let is_same = self.right.gives == Gives::Enabled && self.right.user.id == user;
        self.undo.as_ref().filter(|_| is_same && self.is_in_force())
    }

    /// What was written down before this order made an account of this name, if it did.
    #[must_use]
    pub fn makes(&self, name: &str) -> Option<&Undo> {
        let is_same = matches!(self.right.gives, Gives::Made(_)) && self.right.user.name == name;
        self.undo.as_ref().filter(|_| is_same && self.is_in_force())
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::order::Named;

    fn named(name: &str) -> Named {
        Named { name: name.into(), id: format!("id-{name}") }
    }

    fn record(gives: Gives, stage: Stage, undo: Option<Undo>) -> Record {
        let now = Reading {
            wall: DateTime::UNIX_EPOCH + TimeDelta::days(20_000),
            boottime_ms: 1_000,
            boot_id: "a".into(),
        };
        let expires_at = now.wall + TimeDelta::minutes(1);
        let right = Right { user: named("al"), expires_at, gives, log_off: false };
        let id = OrderId::read(&"0".repeat(32)).unwrap();
        Record { stage, undo, ..Record::received(id, "g".into(), right, &now) }
    }

    #[test]
    fn a_membership_is_known_while_it_may_be_there() {
        let groups = || Gives::Groups(vec![named("ops"), named("adm")]);
        let undo = || Some(Undo { was_in: vec!["id-adm".into()], ..Undo::default() });
        for stage in [Stage::Giving, Stage::Active, Stage::Ending] {
            let record = record(groups(), stage, undo());
            assert_eq!(record.membership("id-al", "id-ops"), Some(false), "{stage:?}");
            assert_eq!(record.membership("id-al", "id-adm"), Some(true), "{stage:?}");
            assert_eq!(record.membership("id-bo", "id-adm"), None, "{stage:?}");
            assert_eq!(record.membership("id-al", "id-wheel"), None, "{stage:?}");
        }
        assert_eq!(record(groups(), Stage::Over, undo()).membership("id-al", "id-ops"), None);
        assert_eq!(record(groups(), Stage::Received, None).membership("id-al", "id-ops"), None);
    }

    #[test]
    fn whose_account_is_enabled_or_made_is_known() {
        let undo = Some(Undo { made: Some("mark".into()), ..Undo::default() });
        let enabled = record(Gives::Enabled, Stage::Active, undo.clone());
        assert_eq!(enabled.enables("id-al"), undo.as_ref());
        assert_eq!((enabled.enables("id-bo"), enabled.makes("al")), (None, None));
        let made = record(Gives::Made(vec![]), Stage::Giving, undo.clone());
        assert_eq!(made.makes("al"), undo.as_ref());
        assert_eq!((made.makes("bo"), made.enables("id-al")), (None, None));
    }

    #[test]
    fn a_record_is_read_as_it_is_written() {
        let undo = Undo { was_in: vec!["id-adm".into()], ..Undo::default() };
        let record = record(Gives::Groups(vec![named("adm")]), Stage::Ending, Some(undo));
        let stored = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&stored).unwrap(), record);
    }
}
