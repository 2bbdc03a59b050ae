//! What is written on an Endpoint. Pure: what it is now, what was heard, and the time are passed in; what is to be changed
//! is returned, and nothing if all is written already.

use chrono::{DateTime, TimeDelta, Utc};
use lapse_crds::{
    AgentReport, Condition, ConditionStatus, Conditions as _, Endpoint, EndpointStatus, OrderState,
    OrderStatus,
};
use semver::Version;
use serde_json::{Map, Value, json};

/// How many receipts an Endpoint holds.
pub const ORDERS: usize = 256;

/// How often it is written that an agent is still there.
pub const CONTACT: TimeDelta = TimeDelta::hours(1);

/// Whether an agent is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is connected here.
    Connected,
    /// Its connection here ended, and this is what was last written of it.
    Disconnected {
        /// The time of the last contact that this connection wrote.
        contact: Option<DateTime<Utc>>,
    },
}

/// What is to be written.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// What the agent said of itself.
    pub report: Option<AgentReport>,
    /// Whether it is there.
    pub presence: Option<Presence>,
    /// The agent has just connected, so that the time of this is written whatever the last one was.
    pub is_new: bool,
    /// Its receipts, verified.
    pub receipts: Vec<OrderStatus>,
    /// The Grants that are known to be over for more than a minute.
    pub over: Vec<String>,
}

impl Heard {
    /// Something more that was heard, after this.
    pub fn join(&mut self, more: Self) {
        let Self { report, presence, is_new, receipts, over } = more;
        self.report = report.or(self.report.take());
        self.presence = presence.or(self.presence);
        self.is_new |= is_new;
        self.receipts.extend(receipts);
        self.over.extend(over);
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { report, presence, is_new, receipts, over } = self;
        report.is_none() && presence.is_none() && !is_new && receipts.is_empty() && over.is_empty()
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
    /// The last contact, as it is then.
    pub contact: Option<DateTime<Utc>>,
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
    if let Some(report) = &heard.report {
        new.report = Some(report.clone());
    }
    let generation = live.metadata.generation;
    if let Some(presence) = heard.presence {
        be_there(&mut new, presence, heard.is_new, generation, now);
    }
    if heard.report.is_some() {
        let version = new.report.as_ref().map(|report| report.version.clone()).unwrap_or_default();
        new.conditions.set_condition(outdated(
            &version,
            env!("CARGO_PKG_VERSION"),
            generation,
            now,
        ));
    }
    change.contact = new.last_contact.map(lapse_crds::Timestamp::time);
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
        orders,
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
    set("orders", *orders != old.orders, serde_json::to_value(orders)?);
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
            Some(known) => *known = receipt.clone(),
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
    presence: Presence,
    is_new: bool,
    generation: Option<i64>,
    now: DateTime<Utc>,
) {
    let last = status.last_contact.map(lapse_crds::Timestamp::time);
    let (ready, reason, message) = match presence {
        Presence::Connected => {
            if is_new || last.is_none_or(|last| now - last >= CONTACT) {
                status.last_contact = Some(now.into());
            }
            match status.report.as_ref().and_then(|report| report.problem.as_deref()) {
                Some(problem) => (ConditionStatus::False, "AgentProblem", problem),
                None => (
                    ConditionStatus::True,
                    "Connected",
                    "its agent is connected, and can carry out orders",
                ),
            }
        }
        // It has connected elsewhere since, and is there: another replica wrote so.
        Presence::Disconnected { contact } if last > contact => return,
        Presence::Disconnected { .. } => {
            status.last_contact = Some(now.into());
            let message = "the connection of its agent ended: rights end on the host by themselves, but new ones begin \
                           when it is back. Look at the host, and at the unit lapse-agent there";
            (ConditionStatus::False, "Disconnected", message)
        }
    };
    status.conditions.set_condition(Condition {
        r#type: "Ready".to_owned(),
        status: ready,
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: now.into(),
        observed_generation: generation,
    });
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
                "its agent is of release {version}, and Lapse of {release}: upgrade lapse-agent on the host"
            ),
        ),
        (Ok(_), Ok(_)) => (ConditionStatus::False, "UpToDate", String::new()),
        _ => (
            ConditionStatus::Unknown,
            "VersionUnknown",
            "what its agent calls its release is no version: give it a released lapse-agent"
                .to_owned(),
        ),
    };
    Condition {
        r#type: "Outdated".to_owned(),
        status,
        reason: reason.to_owned(),
        message,
        last_transition_time: now.into(),
        observed_generation: generation,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + 60 * minutes, 0).unwrap()
    }

    fn receipt(grant: &str, state: OrderState, sequence: i64) -> OrderStatus {
        OrderStatus {
            grant: grant.into(),
            request_uid: "r".into(),
            state,
            since: at(sequence).into(),
            message: None,
            sequence,
            signature: "s".into(),
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "callers write json!({…}) in place")]
    fn endpoint(status: Value) -> Endpoint {
        serde_json::from_value(json!({
            "metadata": {"name": "web-1", "generation": 2},
            "spec": {"platform": "Linux"},
            "status": status,
        }))
        .unwrap()
    }

    fn written(live: &Endpoint, change: &Change) -> Endpoint {
        let mut value = serde_json::to_value(live).unwrap();
        for (field, new) in &change.status {
            value["status"][field] = new.clone();
        }
        if let Some(report) = value["status"]["report"].as_object_mut() {
            report.retain(|_, value| !value.is_null());
        }
        serde_json::from_value(value).unwrap()
    }

    fn hello(problem: Option<&str>, is_new: bool) -> Heard {
        let report = AgentReport {
            version: env!("CARGO_PKG_VERSION").into(),
            problem: problem.map(str::to_owned),
            ..AgentReport::default()
        };
        let presence = Some(Presence::Connected);
        Heard { report: Some(report), presence, is_new, ..Heard::default() }
    }

    fn ready(endpoint: &Endpoint) -> (ConditionStatus, &str) {
        let status = endpoint.status.as_ref().unwrap();
        let ready = status.conditions.condition("Ready").unwrap();
        (ready.status, &ready.reason)
    }

    #[test]
    fn steady_state_writes_nothing() {
        let live = endpoint(json!({}));
        let first = change(&live, &hello(None, true), at(0)).unwrap();
        let live = written(&live, &first);
        assert_eq!(ready(&live), (ConditionStatus::True, "Connected"));
        assert_eq!(change(&live, &hello(None, false), at(59)).unwrap().status, Map::new());
        let hourly = change(&live, &hello(None, false), at(60)).unwrap();
        assert_eq!(hourly.status.keys().collect::<Vec<_>>(), ["lastContact"]);
        let again = change(&live, &hello(None, true), at(1)).unwrap();
        assert_eq!(again.status.keys().collect::<Vec<_>>(), ["lastContact"]);
    }

    #[test]
    fn a_problem_is_said_and_goes_again() {
        let live = endpoint(json!({}));
        let live = written(&live, &change(&live, &hello(Some("no sudo"), true), at(0)).unwrap());
        assert_eq!(ready(&live), (ConditionStatus::False, "AgentProblem"));
        let mended = change(&live, &hello(None, false), at(1)).unwrap();
        assert_eq!(mended.status["report"]["problem"], Value::Null);
        assert!(mended.status["report"].as_object().unwrap().contains_key("problem"));
        assert_eq!(ready(&written(&live, &mended)), (ConditionStatus::True, "Connected"));
    }

    #[test]
    fn who_connected_elsewhere_since_is_not_called_disconnected() {
        let live = endpoint(json!({}));
        let live = written(&live, &change(&live, &hello(None, true), at(5)).unwrap());
        let left = |contact| Heard {
            presence: Some(Presence::Disconnected { contact: Some(contact) }),
            ..Heard::default()
        };
        assert_eq!(change(&live, &left(at(4)), at(6)).unwrap().status, Map::new());
        let gone = written(&live, &change(&live, &left(at(5)), at(6)).unwrap());
        assert_eq!(ready(&gone), (ConditionStatus::False, "Disconnected"));
        assert_eq!(gone.status.unwrap().last_contact, Some(at(6).into()));
    }

    #[test]
    fn only_a_later_receipt_replaces_one() {
        let known = serde_json::to_value([receipt("a", OrderState::Active, 5)]).unwrap();
        let live = endpoint(json!({"orders": known}));
        let receipts = vec![
            receipt("a", OrderState::Received, 4),
            receipt("a", OrderState::Active, 5),
            receipt("b", OrderState::Received, 6),
            receipt("a", OrderState::Ended, 7),
        ];
        let heard = Heard { receipts, ..Heard::default() };
        let changed = change(&live, &heard, at(0)).unwrap();
        let recorded = [("a", 4), ("a", 5), ("b", 6), ("a", 7)]
            .map(|(name, number)| (name.to_owned(), number));
        assert_eq!(changed.recorded, recorded);
        assert_eq!(changed.status.keys().collect::<Vec<_>>(), ["orders"]);
        let orders = written(&live, &changed).status.unwrap().orders;
        let orders: Vec<_> = orders.iter().map(|o| (o.grant.as_str(), o.sequence)).collect();
        assert_eq!(orders, [("a", 7), ("b", 6)]);
        let early =
            Heard { receipts: vec![receipt("a", OrderState::Received, 4)], ..Heard::default() };
        assert_eq!(change(&live, &early, at(0)).unwrap().status, Map::new());
    }

    #[test]
    fn a_full_list_drops_the_oldest_that_are_over_and_nothing_else() {
        let mut all: Vec<_> = (0..i64::try_from(ORDERS).unwrap())
            .map(|number| receipt(&format!("g{number}"), OrderState::Active, number))
            .collect();
        let late = receipt("late", OrderState::Received, 999);
        let heard = Heard { receipts: vec![late], ..Heard::default() };
        let full = endpoint(json!({"orders": all}));
        let refused = change(&full, &heard, at(0)).unwrap();
        assert_eq!(
            (refused.refused.as_slice(), refused.status.len()),
            (["late".to_owned()].as_slice(), 0)
        );
        assert_eq!(refused.recorded, []);
        all[7].state = OrderState::Failed;
        all[9].state = OrderState::Ended;
        let full = endpoint(json!({"orders": all}));
        let stored = change(&full, &heard, at(0)).unwrap();
        let orders = written(&full, &stored).status.unwrap().orders;
        let has = |name: &str| orders.iter().any(|order| order.grant == name);
        assert!(orders.len() == ORDERS && !has("g7") && has("g9") && has("late"));
    }

    #[test]
    fn what_is_over_goes_with_the_next_write() {
        let known = [receipt("a", OrderState::Ended, 1), receipt("b", OrderState::Active, 2)];
        let live = endpoint(json!({"orders": known}));
        let heard = Heard { over: vec!["a".into()], ..Heard::default() };
        let orders = written(&live, &change(&live, &heard, at(0)).unwrap()).status.unwrap().orders;
        assert_eq!(orders.iter().map(|order| order.grant.as_str()).collect::<Vec<_>>(), ["b"]);
    }

    #[rstest]
    #[case("0.9.0", "0.10.0", ConditionStatus::True)]
    #[case("0.10.0", "0.10.0", ConditionStatus::False)]
    #[case("0.11.0", "0.10.0", ConditionStatus::False)]
    #[case("0.10.0-rc.1", "0.10.0", ConditionStatus::True)]
    #[case("rubbish", "0.10.0", ConditionStatus::Unknown)]
    fn versions_are_compared_as_versions(
        #[case] agent: &str,
        #[case] own: &str,
        #[case] expected: ConditionStatus,
    ) {
        assert_eq!(outdated(agent, own, None, at(0)).status, expected);
    }
}
