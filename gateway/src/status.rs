//! What is written on an Endpoint. Pure: what it is now, what was heard, and the time are passed in; what is to be changed
//! is returned, and nothing if all is written already.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use lapse_crds::{
    AgentConnection, AgentReport, Condition, ConditionStatus, Conditions as _, Drift, Endpoint,
    EndpointStatus, OrderState, OrderStatus,
};
use lapse_engine::endpoint::{AGENT_PROBLEM, CONNECTED, DRIFTED, DUPLICATE, READY};
use semver::Version;
use serde_json::{Map, Value, json};

use crate::activity::{Seen, store};

/// How many receipts an Endpoint holds.
pub const ORDERS: usize = 256;

/// How often it is written that an agent is still there.
pub const CONTACT: TimeDelta = TimeDelta::hours(1);

/// Whether an agent is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is connected here.
    Connected,
    /// It has been connected here for [`CONTACT`], and nobody took its place.
    Steady,
    /// Its connection here ended.
    Disconnected {
        /// The name of that connection.
        connection: Arc<str>,
    },
}

/// A connection that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its name, and to whom it is.
    pub connection: AgentConnection,
    /// Whether somebody else was connected with the same identity since the agent was last.
    pub is_twice: bool,
}

/// Whether the last connection that is known of an Endpoint is none of those that its host had before: then another one has the
/// same identity. One that does not know what it had says nothing.
#[must_use]
pub fn is_twice(known: Option<&AgentConnection>, before: &[String]) -> bool {
    known.is_some_and(|known| !before.is_empty() && !before.contains(&known.name))
}

/// What is to be written.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// What the agent said of itself.
    pub report: Option<AgentReport>,
    /// Whether it is there.
    pub presence: Option<Presence>,
    /// The agent has just connected, so that the time of this is written whatever the last one was.
    pub opened: Option<Opened>,
    /// Its receipts, verified.
    pub receipts: Vec<OrderStatus>,
    /// The Grants that are known to be over for more than a minute.
    pub over: Vec<String>,
    /// What it said was done by rights on its host.
    pub activity: Vec<Seen>,
}

impl Heard {
    /// Something more that was heard, after this.
    pub fn join(&mut self, more: Self) {
        let Self { report, presence, opened, receipts, over, activity } = more;
        self.report = report.or(self.report.take());
        self.presence = presence.or(self.presence.take());
        self.opened = opened.or(self.opened.take());
        self.receipts.extend(receipts);
        self.over.extend(over);
        self.activity.extend(activity);
    }

    /// Whether somebody waits for this: that access began or ended. That an agent is there, it says itself.
    #[must_use]
    pub fn is_urgent(&self) -> bool {
        !self.receipts.is_empty()
    }

    /// Whether more may be written together with this.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.receipts.len() < ORDERS && self.activity.len() < ORDERS
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { report, presence, opened, receipts, over, activity } = self;
        report.is_none()
            && presence.is_none()
            && opened.is_none()
            && receipts.is_empty()
            && over.is_empty()
            && activity.is_empty()
    }
}

/// What follows from what was heard.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    /// The fields of the status that change, for a merge patch.
    pub status: Map<String, Value>,
    /// The receipts that are stored with it, or are superseded: the Grant and the sequence.
    pub recorded: Vec<(String, i64)>,
    /// The Grants whose receipts have no place.
    pub refused: Vec<String>,
    /// The Grants whose rights are gone by what was not known before, and since when.
    pub ended: Vec<(String, DateTime<Utc>)>,
}

/// What is to be changed on this Endpoint.
pub fn change(
    live: &Endpoint,
    heard: &Heard,
    now: DateTime<Utc>,
) -> Result<Change, serde_json::Error> {
    let old = live.status.clone().unwrap_or_default();
    let mut new = old.clone();
    let mut change = Change::default();
    store_receipts(&mut new.orders, heard, &mut change);
    store(&mut new.activity, &heard.activity);
    if let Some(report) = &heard.report {
        new.report = Some(report.clone());
    }
    let generation = live.metadata.generation;
    if let Some(presence) = &heard.presence {
        be_there(&mut new, presence, heard.opened.as_ref(), generation, now);
    }
    if heard.report.is_some() {
        let version = new.report.as_ref().map(|report| report.version.clone()).unwrap_or_default();
        new.conditions.set_condition(outdated(
            &version,
            env!("CARGO_PKG_VERSION"),
            generation,
            now,
        ));
        // One that does not look for it says nothing of what was found before.
        let drift = new.report.as_ref().and_then(|report| report.drift.as_ref());
        let was_found = new.conditions.condition(DRIFTED).is_some();
        if let Some(drift) = drift.filter(|drift| was_found || !drift.findings.is_empty()) {
            let drifted = drifted(drift, generation, now);
            new.conditions.set_condition(drifted);
        }
    }
    if new == old {
        return Ok(change);
    }
    if heard.presence.is_some() || heard.report.is_some() {
        new.observed_generation = generation;
    }
    let EndpointStatus {
        observed_generation,
        agent: _,
        signing: _,
        report,
        last_contact,
        connection,
        orders,
        activity,
        conditions,
    } = &new;
    let mut set = |field: &str, is_other: bool, value: Value| {
        if is_other {
            change.status.insert(field.to_owned(), value);
        }
    };
    set(
        "observedGeneration",
        *observed_generation != old.observed_generation,
        json!(observed_generation),
    );
    set("report", *report != old.report, merged(old.report.as_ref(), report.as_ref())?);
    set("lastContact", *last_contact != old.last_contact, serde_json::to_value(last_contact)?);
    set("connection", *connection != old.connection, serde_json::to_value(connection)?);
    set("orders", *orders != old.orders, serde_json::to_value(orders)?);
    set("activity", *activity != old.activity, serde_json::to_value(activity)?);
    set("conditions", *conditions != old.conditions, serde_json::to_value(conditions)?);
    Ok(change)
}

/// A merge patch leaves what it does not name, so what the agent says no more is taken away by name: a problem that is
/// gone would stay for ever.
fn merged(
    old: Option<&AgentReport>,
    new: Option<&AgentReport>,
) -> Result<Value, serde_json::Error> {
    let mut value = serde_json::to_value(new)?;
    if let (Value::Object(old), Value::Object(value)) = (serde_json::to_value(old)?, &mut value) {
        for field in old.keys() {
            value.entry(field).or_insert(Value::Null);
        }
    }
    Ok(value)
}

fn store_receipts(orders: &mut Vec<OrderStatus>, heard: &Heard, change: &mut Change) {
    orders.retain(|order| !heard.over.contains(&order.grant));
    for receipt in &heard.receipts {
        let recorded = (receipt.grant.clone(), receipt.sequence);
        match orders.iter_mut().find(|order| order.grant == receipt.grant) {
            // Sent again, or overtaken by a later one: the agent need not send it any more.
            Some(known) if known.sequence >= receipt.sequence => {}
            Some(known) => {
                if receipt.state == OrderState::Ended && known.state != OrderState::Ended {
                    change.ended.push((receipt.grant.clone(), receipt.since.time()));
                }
                *known = receipt.clone();
            }
            None => {
                if orders.len() >= ORDERS && !drop_oldest_over(orders) {
                    change.refused.push(receipt.grant.clone());
                    continue;
                }
                orders.push(receipt.clone());
            }
        }
        change.recorded.push(recorded);
    }
}

/// Makes a place in a full list.
fn drop_oldest_over(orders: &mut Vec<OrderStatus>) -> bool {
    let over = |order: &OrderStatus| matches!(order.state, OrderState::Ended | OrderState::Failed);
    let oldest = (orders.iter().enumerate())
        .filter(|(_, order)| over(order))
        .min_by_key(|(_, order)| order.since)
        .map(|(index, _)| index);
    oldest.map(|index| orders.remove(index)).is_some()
}

fn be_there(
    status: &mut EndpointStatus,
    presence: &Presence,
    opened: Option<&Opened>,
    generation: Option<i64>,
    now: DateTime<Utc>,
) {
    let last = status.last_contact.map(lapse_crds::Timestamp::time);
    let (ready, reason, message) = match presence {
        Presence::Connected | Presence::Steady => {
            if opened.is_some() || last.is_none_or(|last| now - last >= CONTACT) {
                status.last_contact = Some(now.into());
            }
            connected(status)
        }
        Presence::Disconnected { connection } => {
            // It has connected elsewhere since, and is there: another replica wrote so.
            if status.connection.as_ref().is_none_or(|known| known.name != **connection) {
                return;
            }
            status.last_contact = Some(now.into());
            let message = "the connection of its agent ended: access ends on the host by itself, but new access begins only when it is back. Look at the host, and at the unit lapse-agent there";
            (ConditionStatus::False, DISCONNECTED, message.to_owned())
        }
    };
    let at = (generation, now);
    status.conditions.set_condition(condition(READY, ready, reason, message, at));
    if let Some(Opened { connection, is_twice }) = opened {
        status.connection = Some(connection.clone());
        if *is_twice {
            let message = "two machines have the identity of this host, and take the connection from one another: \
                           nothing is granted there. One is a copy of the other. Enrol the copy as an Endpoint of its \
                           own, and this host again, with a new token";
            let message = message.to_owned();
            let twice = condition(DUPLICATE, ConditionStatus::True, "TwoMachines", message, at);
            status.conditions.set_condition(twice);
        }
    }
    let was_twice = status.conditions.condition(DUPLICATE);
    let was_twice = was_twice.is_some_and(|twice| twice.status == ConditionStatus::True);
    if *presence == Presence::Steady && was_twice {
        let message = "nobody else has connected for an hour".to_owned();
        let alone = condition(DUPLICATE, ConditionStatus::False, "OneMachine", message, at);
        status.conditions.set_condition(alone);
    }
}

/// Whether an agent that is connected can carry out orders: the status, the reason and the message of `Ready`.
fn connected(status: &EndpointStatus) -> (ConditionStatus, &'static str, String) {
    let problem = status.report.as_ref().and_then(|report| report.problem.clone());
    problem.map_or_else(
        || {
            let message = "its agent is connected, and can carry out orders";
            (ConditionStatus::True, CONNECTED, message.to_owned())
        },
        |problem| (ConditionStatus::False, AGENT_PROBLEM, problem),
    )
}

/// The condition `Ready` of an Endpoint whose agent is connected.
pub(crate) fn ready_of_connected(
    status: &EndpointStatus,
    generation: Option<i64>,
    now: DateTime<Utc>,
) -> Condition {
    let (ready, reason, message) = connected(status);
    condition(READY, ready, reason, message, (generation, now))
}

/// Another condition of an Endpoint, and another reason of `Ready`.
pub(crate) const OUTDATED: &str = "Outdated";
pub(crate) const DISCONNECTED: &str = "Disconnected";

/// A condition.
pub(crate) fn condition(
    r#type: &str,
    status: ConditionStatus,
    reason: &str,
    message: String,
    (generation, now): (Option<i64>, DateTime<Utc>),
) -> Condition {
    Condition {
        r#type: r#type.to_owned(),
        status,
        reason: reason.to_owned(),
        message,
        last_transition_time: now.into(),
        observed_generation: generation,
    }
}

/// What outlasts access on a host, until somebody has accepted it there.
fn drifted(drift: &Drift, generation: Option<i64>, now: DateTime<Utc>) -> Condition {
    let Some(first) = drift.findings.first() else {
        let message = "somebody has accepted on the host what was found".to_owned();
        return condition(DRIFTED, ConditionStatus::False, "Accepted", message, (generation, now));
    };
    let found = drift.findings.len() + drift.left_out as usize;
    let left = drift.findings.iter().filter(|finding| !finding.reverted).count();
    let reason = if left + drift.left_out as usize > 0 { "LeftBehind" } else { "Reverted" };
    let state = if first.reverted { "undone" } else { "left as it is" };
    let grants = first.grants.join(", ");
    let message = format!(
        "changes that would outlast access: {found}; the first: {} {} ({state}; {grants}). Look at them with `lapse-agent \
         drift show` on the host, then run `lapse-agent drift accept` there",
        first.path, first.change
    );
    condition(DRIFTED, ConditionStatus::True, reason, message, (generation, now))
}

fn outdated(
    version: &str,
    release: &str,
    generation: Option<i64>,
    now: DateTime<Utc>,
) -> Condition {
    let (status, reason, message) = match (Version::parse(version), Version::parse(release)) {
        (Ok(agent), Ok(own)) if agent < own => (
            ConditionStatus::True,
            "AgentOlder",
            format!(
                "its agent is of release {version}, and Lapse is of {release}: policies that require a newer agent grant \
                 nothing there. Upgrade lapse-agent on the host"
            ),
        ),
        (Ok(_), Ok(_)) => (ConditionStatus::False, "UpToDate", String::new()),
        _ => (
            ConditionStatus::Unknown,
            "VersionUnknown",
            "what its agent calls its release is not a version, and counts as older than any: policies that require a \
             version grant nothing there. Install a released lapse-agent"
                .to_owned(),
        ),
    };
    condition(OUTDATED, status, reason, message, (generation, now))
}

#[cfg(test)]
mod tests;
