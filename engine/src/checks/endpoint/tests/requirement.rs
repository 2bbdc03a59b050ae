//! What a policy requires of the agent of a host.

use serde_json::json;

use super::*;
use crate::checks::risk;

fn of_version(version: &str) -> EndpointFacts {
    EndpointFacts { agent_version: Some(version.into()), ..facts() }
}

fn entry(more: &Value) -> Value {
    let mut entry = json!({"names": ["web-1"], "admin": {}, "groups": ["docker"]});
    entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    entry
}

fn requiring(requirement: &Value) -> Value {
    entry(&json!({"agent": requirement}))
}

fn told(entries: Vec<Value>, endpoint: EndpointFacts) -> String {
    said(under(&json!({"admin": {}}), entries, endpoint).outcome(target::check))
}

const OFFERED: &str = "admin on web-1 is offered, as local user al.";

#[rstest]
#[case::new_enough(json!({"minVersion": "0.3.0"}), "0.3.0", None)]
#[case::able(json!({"minVersion": "0.3.0", "capabilities": ["Admin"]}), "0.4.0", None)]
#[case::older(json!({"minVersion": "0.3.0"}), "0.2.0", Some("The agent of Endpoint web-1 is version 0.2.0, older than 0.3.0, and JitPolicy shop-debug grants this by no such agent. Update lapse-agent on that host (lapse-agent probe says there what it can do) and request again, or request under another policy."))]
#[case::unknown(json!({"minVersion": "0.3.0"}), "nightly", Some("The agent of Endpoint web-1 calls its version \"nightly\", which cannot be compared and counts as older than 0.3.0, and JitPolicy shop-debug grants this by no such agent. Update lapse-agent on that host (lapse-agent probe says there what it can do) and request again, or request under another policy."))]
#[case::unable(json!({"capabilities": ["Admin", "RuleCarriesEnd"]}), "0.3.0", Some("The agent of Endpoint web-1 does not have RuleCarriesEnd, and JitPolicy shop-debug grants this by no such agent. Update lapse-agent on that host (lapse-agent probe says there what it can do) and request again, or request under another policy."))]
fn an_agent_that_is_too_old_is_told(
    #[case] requirement: Value,
    #[case] version: &str,
    #[case] expected: Option<&str>,
) {
    let message = told(vec![requiring(&requirement)], of_version(version));
    assert_eq!(message, expected.unwrap_or(OFFERED));
}

#[test]
fn an_agent_that_has_said_nothing_is_waited_for() {
    let silent = EndpointFacts { capabilities: None, ..facts() };
    assert!(
        told(vec![requiring(&json!({"minVersion": "0.3.0"}))], silent)
            .contains("has not reported yet")
    );
}

/// What an update would bring comes before what the agent cannot do.
#[test]
fn the_update_is_told_first() {
    let old = EndpointFacts { capabilities: Some(BTreeSet::new()), ..of_version("0.2.0") };
    assert!(
        told(vec![requiring(&json!({"minVersion": "0.3.0"}))], old).contains("older than 0.3.0")
    );
}

#[test]
fn another_entry_is_not_affected() {
    let newer = || requiring(&json!({"minVersion": "0.3.0"}));
    for entries in [vec![newer(), entry(&json!({}))], vec![entry(&json!({})), newer()]] {
        assert_eq!(told(entries, of_version("0.2.0")), OFFERED);
    }
}

/// An entry that gives nothing here says nothing of who is who either, nor of what is accepted.
#[test]
fn the_entry_that_gives_is_the_one_that_decides() {
    let newer = entry(&json!({
        "agent": {"minVersion": "0.3.0"}, "localUsers": "SameName", "allowEscalation": true,
    }));
    let entries = || vec![newer.clone(), entry(&json!({}))];
    let stranger = |version| EndpointFacts { users: vec![], ..of_version(version) };
    assert_eq!(
        told(entries(), stranger("0.3.0")),
        "admin on web-1 is offered, as local user alice."
    );
    assert!(told(entries(), stranger("0.2.0")).contains("alice has no local user there"));
    let risk = |version| {
        let docker = json!({"group": "docker"});
        under(&docker, entries(), of_version(version)).outcome(risk::check)
    };
    assert!(matches!(risk("0.3.0"), CheckResult::Pass(_)));
    assert!(matches!(risk("0.2.0"), CheckResult::Fail(_)));
}
