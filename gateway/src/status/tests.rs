use lapse_crds::{DriftFinding, DriftKind};
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
        ended_by_holder: None,
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

fn opened(name: &str, is_twice: bool) -> Opened {
    let connection = AgentConnection { name: name.into(), gateway: "g".into() };
    Opened { connection, is_twice }
}

fn hello(problem: Option<&str>, is_new: bool) -> Heard {
    let report = AgentReport {
        version: env!("CARGO_PKG_VERSION").into(),
        problem: problem.map(str::to_owned),
        ..AgentReport::default()
    };
    let presence = Some(Presence::Connected);
    let opened = is_new.then(|| opened("first", false));
    Heard { report: Some(report), presence, opened, ..Heard::default() }
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
    let left = |connection: &str| Heard {
        presence: Some(Presence::Disconnected { connection: connection.into() }),
        ..Heard::default()
    };
    assert_eq!(change(&live, &left("earlier"), at(6)).unwrap().status, Map::new());
    let gone = written(&live, &change(&live, &left("first"), at(6)).unwrap());
    assert_eq!(ready(&gone), (ConditionStatus::False, "Disconnected"));
    assert_eq!(gone.status.unwrap().last_contact, Some(at(6).into()));
}

#[test]
fn two_machines_of_one_identity_are_told_until_one_is_alone_for_an_hour() {
    let twice = |endpoint: &Endpoint| {
        let status = endpoint.status.as_ref().unwrap();
        status.conditions.condition("Duplicate").map(|twice| twice.status)
    };
    let live = endpoint(json!({}));
    let live = written(&live, &change(&live, &hello(None, true), at(0)).unwrap());
    assert_eq!(twice(&live), None);
    let heard = Heard { opened: Some(opened("second", true)), ..hello(None, false) };
    let live = written(&live, &change(&live, &heard, at(1)).unwrap());
    assert_eq!(twice(&live), Some(ConditionStatus::True));
    let live = written(&live, &change(&live, &hello(None, true), at(2)).unwrap());
    assert_eq!(twice(&live), Some(ConditionStatus::True), "whoever connects next");
    let steady = Heard { presence: Some(Presence::Steady), ..Heard::default() };
    let live = written(&live, &change(&live, &steady, at(62)).unwrap());
    assert_eq!(twice(&live), Some(ConditionStatus::False));
    assert_eq!(live.status.unwrap().connection.unwrap().name, "first");
}

#[test]
fn what_outlasts_access_is_said_until_it_is_accepted() {
    let finding = |reverted| DriftFinding {
        grants: vec!["shop-fix".into()],
        kind: DriftKind::Sudoers,
        path: "/etc/sudoers.d/x".into(),
        change: "was added".into(),
        reverted,
        count: 1,
        at: at(0).into(),
    };
    let says = |live: &Endpoint, drift: Option<Vec<DriftFinding>>| {
        let drift = drift.map(|findings| Drift {
            findings,
            left_out: 0,
            compared: vec![],
            signature: "s".into(),
        });
        let mut heard = hello(None, false);
        heard.report.as_mut().unwrap().drift = drift;
        let live = written(live, &change(live, &heard, at(1)).unwrap());
        assert_eq!(change(&live, &heard, at(2)).unwrap().status, Map::new());
        let drifted = live.status.as_ref().unwrap().conditions.condition(DRIFTED);
        let said = drifted.map(|it| format!("{:?} {}: {}", it.status, it.reason, it.message));
        (live, said.unwrap_or_default())
    };
    let (live, said) = says(&endpoint(json!({})), Some(vec![]));
    assert_eq!(said, "", "nothing was ever found");
    let (live, said) = says(&live, Some(vec![finding(true)]));
    assert!(said.starts_with("True Reverted: "), "{said}");
    let (live, said) = says(&live, Some(vec![finding(false), finding(true)]));
    insta::assert_snapshot!(said, @"True LeftBehind: changes that would outlast access: 2; the first: /etc/sudoers.d/x was added (left as it is; shop-fix). Look at them with `lapse-agent drift show` on the host, then run `lapse-agent drift accept` there");
    let (live, again) = says(&live, None);
    assert_eq!(again, said, "an agent of an earlier release has accepted nothing");
    let (_, said) = says(&live, Some(vec![]));
    assert_eq!(said, "False Accepted: somebody has accepted on the host what was found");
}

#[rstest]
#[case::first(None, &[], false)]
#[case::came_back(Some("b"), &["a", "b"], false)]
#[case::its_last_one_was_not_written(Some("a"), &["a", "b"], false)]
#[case::started_anew(Some("a"), &[], false)]
#[case::another_came_between(Some("x"), &["a", "b"], true)]
fn who_did_not_connect_last_has_a_double(
    #[case] known: Option<&str>,
    #[case] before: &[&str],
    #[case] expected: bool,
) {
    let known = known.map(|name| AgentConnection { name: name.into(), gateway: "g".into() });
    let before: Vec<String> = before.iter().map(ToString::to_string).collect();
    assert_eq!(is_twice(known.as_ref(), &before), expected);
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
    let recorded =
        [("a", 4), ("a", 5), ("b", 6), ("a", 7)].map(|(name, number)| (name.to_owned(), number));
    assert_eq!(changed.recorded, recorded);
    assert_eq!(changed.ended, [("a".to_owned(), at(7))]);
    assert_eq!(changed.status.keys().collect::<Vec<_>>(), ["orders"]);
    let orders = written(&live, &changed).status.unwrap().orders;
    let orders: Vec<_> = orders.iter().map(|o| (o.grant.as_str(), o.sequence)).collect();
    assert_eq!(orders, [("a", 7), ("b", 6)]);
    let early = Heard { receipts: vec![receipt("a", OrderState::Received, 4)], ..Heard::default() };
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

#[test]
fn what_an_older_agent_is_not_given_is_told() {
    let said = |agent| outdated(agent, "0.10.0", None, at(0)).message;
    assert_eq!(
        said("0.9.0"),
        "its agent is of release 0.9.0, and Lapse is of 0.10.0: policies that require a newer agent grant nothing there. \
         Upgrade lapse-agent on the host"
    );
    assert_eq!(
        said("rubbish"),
        "what its agent calls its release is not a version, and counts as older than any: policies that require a version \
         grant nothing there. Install a released lapse-agent"
    );
}
