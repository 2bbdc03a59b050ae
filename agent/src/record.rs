//! What is known of one order, and how it goes on. Pure.

use chrono::{DateTime, TimeDelta, Utc};
use lapse_crds::OrderState;
use lapse_engine::activity::Under;
use lapse_engine::order::Receipt;
use serde::{Deserialize, Serialize};

use crate::asked::Asked;
use crate::clock::{Deadline, MaxSeen, Reading};
use crate::right::{OLDEST, Right};

/// The longest message of a receipt, in characters.
const LONGEST: usize = 512;

/// How far an order is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// It waits for its start.
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

/// What a right puts there, and what was there before and is there again when it has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Undo {
    /// Whether the user was a member of the group.
    #[serde(default)]
    pub was_member: bool,
    /// The rule of sudo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The groups of an account, by their numbers, in which it was before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub was_in: Vec<u32>,
    /// How an account was disabled that is enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<Disabled>,
    /// The account that is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<Made>,
}

/// How an account was disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Disabled {
    /// The day on which it had expired, counted from 1970.
    pub expired: i64,
    /// Whether it had a password, and that was locked.
    pub was_locked: bool,
}

/// An account that Lapse makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Made {
    /// Its user ID, and the number of its own group. Nobody else is ever given it.
    pub uid: u32,
}

/// What is known of one order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The name of the Grant.
    pub grant: String,
    /// The UID of its request.
    pub request_uid: String,
    /// What the record of what is done by it says of it. Absent where an earlier release took it over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub under: Option<Under>,
    /// What people are told of it. Absent where it ended before it came, and in records of earlier releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
    /// What it gives. Absent where it came to nothing, or never came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub right: Option<Right>,
    /// Its end by every clock. There with the right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Deadline>,
    /// How far it is.
    pub stage: Stage,
    /// Since when, by the clock of the host.
    pub since: DateTime<Utc>,
    /// Whether it could not be given.
    #[serde(default)]
    pub failed: bool,
    /// What the cluster is told: why it ended or failed, or what keeps it from its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Why it was ended or could not be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What was there before. Written before the right is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<Undo>,
    /// Whether the user was logged off at its end, which is done once: they may log in again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub logged_off: bool,
    /// Whether its holder ended it here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ended_by_holder: bool,
    /// The number of its last receipt. It grows with each change, and with the time: a host whose disk was restored to
    /// what it was does not say older things than it said before.
    pub sequence: i64,
    /// The number of the last receipt that is stored in the cluster.
    #[serde(default)]
    pub recorded: i64,
}

impl Record {
    /// An order that came at `now`.
    #[must_use]
    pub fn received(grant: String, request_uid: String, right: Right, now: &Reading) -> Self {
        let deadline = Deadline::new(now, right.expires_at);
        Self {
            right: Some(right),
            deadline: Some(deadline),
            stage: Stage::Received,
            ..Self::over(grant, request_uid, None, now)
        }
    }

    /// An order that gives nothing here: refused for this reason, or ended before it came.
    #[must_use]
    pub fn over(grant: String, request_uid: String, why: Option<String>, now: &Reading) -> Self {
        Self {
            grant,
            request_uid,
            under: None,
            asked: None,
            right: None,
            deadline: None,
            stage: Stage::Over,
            since: now.wall,
            failed: why.is_some(),
            message: why.clone(),
            why,
            undo: None,
            logged_off: false,
            ended_by_holder: false,
            sequence: number_of(now),
            recorded: 0,
        }
    }

    /// Goes on to a stage.
    pub fn go(&mut self, stage: Stage, now: &Reading) {
        if self.stage != stage {
            self.stage = stage;
            self.since = now.wall;
            self.sequence = number_of(now).max(self.sequence + 1);
        }
    }

    /// Says something else.
    pub fn say(&mut self, message: Option<String>) {
        if self.message != message {
            self.message = message;
            self.sequence += 1;
        }
    }

    /// How long the right is still good, if it is.
    #[must_use]
    pub fn rest(&self, now: &Reading, seen: &MaxSeen) -> Option<TimeDelta> {
        self.deadline.as_ref()?.rest(now, seen)
    }

    /// Whether something is still to come of it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.stage != Stage::Over
    }

    /// Whether some of the right may be there.
    #[must_use]
    pub fn is_in_force(&self) -> bool {
        matches!(self.stage, Stage::Giving | Stage::Active | Stage::Ending)
    }

    /// What is to be done with it now.
    #[must_use]
    pub fn next(&self, now: Option<&Reading>, seen: &MaxSeen) -> Next<'_> {
        // Without a clock nothing is in its time.
        let Some(now) = now else {
            return if self.is_open() { Next::End } else { Next::Nothing };
        };
        match self.stage {
            Stage::Over if self.is_forgotten(now, seen) => Next::Forget,
            Stage::Over => Next::Nothing,
            Stage::Ending => Next::End,
            Stage::Received | Stage::Giving | Stage::Active => {
                match (self.rest(now, seen), &self.right) {
                    (None, _) | (_, None) => Next::End,
                    (Some(_), _) if self.stage == Stage::Active => Next::Nothing,
                    (Some(_), Some(right)) if right.starts_at <= now.wall => Next::Give(right),
                    (Some(_), Some(_)) => Next::Nothing,
                }
            }
        }
    }

    /// Whether the order could not be carried out if it came again, and its end is stored in the cluster.
    fn is_forgotten(&self, now: &Reading, seen: &MaxSeen) -> bool {
        let is_told = self.recorded >= self.sequence;
        let is_too_late = match &self.deadline {
            Some(deadline) => deadline.rest(now, seen).is_none() && !seen.is_set_back(now),
            None => now.wall - self.since > OLDEST,
        };
        (is_told && is_too_late) || now.wall - self.since > OLDEST * 2
    }

    /// When something is to be done with it, by the wall clock, if nothing happens before.
    #[must_use]
    pub fn due(&self) -> Option<DateTime<Utc>> {
        let right = self.right.as_ref()?;
        match self.stage {
            Stage::Received if right.starts_at > self.since => Some(right.starts_at),
            Stage::Received | Stage::Giving | Stage::Active => Some(right.expires_at),
            Stage::Ending | Stage::Over => None,
        }
    }

    /// What the cluster is told.
    #[must_use]
    pub fn receipt(&self) -> Receipt {
        let state = match self.stage {
            Stage::Received | Stage::Giving => OrderState::Received,
            Stage::Active => OrderState::Active,
            Stage::Ending => OrderState::Ending,
            Stage::Over if self.failed => OrderState::Failed,
            Stage::Over => OrderState::Ended,
        };
        let message = self.message.as_ref().map(|text| text.chars().take(LONGEST).collect());
        Receipt {
            grant: self.grant.clone(),
            request_uid: self.request_uid.clone(),
            state,
            since: self.since.into(),
            message,
            sequence: self.sequence,
            ended_by_holder: self.ended_by_holder,
        }
    }

    /// Whether the cluster is to be told of it. That a right is being given is not worth a write: it is given at once.
    #[must_use]
    pub fn is_news(&self, now: &Reading) -> bool {
        let waits = self.right.as_ref().is_some_and(|right| right.starts_at > now.wall);
        self.recorded < self.sequence
            && match self.stage {
                Stage::Received => waits,
                Stage::Giving => false,
                Stage::Active | Stage::Ending | Stage::Over => true,
            }
    }
}

/// The number of a receipt that is made now: milliseconds since 1970.
fn number_of(now: &Reading) -> i64 {
    now.wall.timestamp_millis()
}

/// What is to be done with an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// Nothing, for now.
    Nothing,
    /// This right is to be given.
    Give(&'a Right),
    /// It is to be taken back.
    End,
    /// The record is of no more use.
    Forget,
}

#[cfg(test)]
mod tests;
