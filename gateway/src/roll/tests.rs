use rstest::rstest;
use serde_json::{Value, json};

use super::*;

const ENROLLED: &str = "2027-02-01T00:00:00Z";

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

/// An Endpoint with this token, this end of a certificate and these conditions, connected to gateway `g` if it ever was.
fn endpoint(token: Option<&str>, certificate: Option<&str>, reason: &str, was: bool) -> Value {
    let enrolment = token.map(|at| json!({"tokenHash": "sha256:0", "expiresAt": at}));
    let agent = certificate.map(|at| {
        json!({"publicKey": "k", "machine": "m", "enrolledAt": "2026-01-01T00:00:00Z", "tokenHash": "t",
            "certificate": "c", "certificateExpiresAt": at})
    });
    let connection = was.then(|| json!({"name": "c", "gateway": "g"}));
    let ready = json!([{"type": "Ready", "status": "True", "reason": reason, "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    json!({"apiVersion": "lapse.dev/v1alpha1", "kind": "Endpoint", "metadata": {"name": "web-1"},
        "spec": {"platform": "Linux", "enrolment": enrolment},
        "status": {"agent": agent, "connection": connection, "conditions": ready}})
}

fn standing(value: &Value) -> Standing {
    let lean: Lean = serde_json::from_value(value.clone()).unwrap();
    let of_all = Standing::of(&serde_json::from_value(value.clone()).unwrap());
    assert_eq!(lean.clone().standing(), of_all, "both ways to read it say the same");
    of_all
}

#[rstest]
#[case::no_token(endpoint(None, None, "", false), Some("NotEnrolled"))]
#[case::it_says_so(endpoint(None, None, "NotEnrolled", false), None)]
#[case::may_enrol(endpoint(Some("2027-03-01T00:00:00Z"), None, "", false), Some("NotEnrolled"))]
#[case::may_no_more(
    endpoint(Some("2027-01-01T00:00:00Z"), None, "NotEnrolled", false),
    Some("TokenExpired")
)]
#[case::never_came(endpoint(None, Some(ENROLLED), "NotEnrolled", false), Some("NotConnected"))]
#[case::is_there(endpoint(None, Some(ENROLLED), "Connected", true), Some("GatewayLost"))]
#[case::with_a_problem(endpoint(None, Some(ENROLLED), "AgentProblem", true), Some("GatewayLost"))]
#[case::no_gateway_lived(endpoint(None, Some(ENROLLED), "NoGateway", true), Some("GatewayLost"))]
#[case::and_it_never_came(endpoint(None, Some(ENROLLED), "NoGateway", false), Some("NotConnected"))]
#[case::and_none_may(endpoint(None, None, "NoGateway", false), Some("NotEnrolled"))]
#[case::has_gone(endpoint(None, Some(ENROLLED), "Disconnected", true), None)]
#[case::for_long(
    endpoint(None, Some("2027-01-01T00:00:00Z"), "Disconnected", true),
    Some("CertificateExpired")
)]
fn what_is_said_where_no_connection_speaks(#[case] value: Value, #[case] expected: Option<&str>) {
    let standing = standing(&value);
    let said = standing.silence(true, now()).map(Silence::reason);
    assert_eq!(said, expected);
    // Whose gateway lives is left to that.
    let of_lost = expected == Some("GatewayLost");
    assert_eq!(standing.silence(false, now()).is_none(), expected.is_none() || of_lost);
}

#[test]
fn only_the_connected_of_a_dead_gateway_are_silent_and_all_are_counted() {
    let mut roll = Roll::default();
    roll.see("there".into(), standing(&endpoint(None, Some(ENROLLED), "Connected", true)));
    roll.see("gone".into(), standing(&endpoint(None, Some(ENROLLED), "Disconnected", true)));
    let mut drifted = endpoint(None, None, "NotEnrolled", false);
    drifted["status"]["conditions"].as_array_mut().unwrap().push(json!({"type": "Drifted",
        "status": "True", "reason": "LeftBehind", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z"}));
    roll.see("new".into(), standing(&drifted));
    assert_eq!(roll.silent(|_| false, now()), [""; 0]);
    assert_eq!(roll.silent(|gateway| gateway == "g", now()), ["there"]);
    let Count { reasons, outdated, twice, drifted } = roll.count();
    assert_eq!((reasons, outdated, twice, drifted), ([1, 0, 1, 1, 0, 0, 0, 0, 0], 0, 0, 1));
    roll.forget("gone");
    roll.keep(|name| name == "new");
    assert_eq!(roll.silent(|_| true, now()), [""; 0]);
}

/// The controller was mistaken, or this process came back to itself: it speaks for its own hosts, and for no others.
#[test]
fn of_whom_no_gateway_is_said_to_live_is_spoken_for_by_its_own() {
    let mut roll = Roll::default();
    for (name, reason, was) in
        [("missed", "NoGateway", true), ("there", "Connected", true), ("new", "NoGateway", false)]
    {
        roll.see(name.into(), standing(&endpoint(None, Some(ENROLLED), reason, was)));
    }
    assert_eq!(roll.given_up("g"), ["missed"]);
    assert_eq!(roll.given_up("another"), [""; 0]);
}

#[test]
fn messages() {
    let at = now();
    let all = [
        Silence::NoToken,
        Silence::NotEnrolled(at),
        Silence::TokenExpired(at),
        Silence::NotConnected,
        Silence::CertificateExpired(at),
        Silence::GatewayLost,
    ];
    let lines = all.map(|silence| {
        let Condition { status, reason, message, .. } = silence.ready(None, at);
        format!("{status:?} {reason}: {message}")
    });
    insta::assert_snapshot!(lines.join("\n"));
}
