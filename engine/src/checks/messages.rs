//! What the checks say, each outcome once, in one list that people can read.

use std::fmt::Write as _;

use lapse_crds::{CheckName, JitPolicySpec};
use serde_json::{Value, json};

use super::{CHECKS, Report, status};
use crate::Read;
use crate::duties::Duties;
use crate::testing::{Fixture, edit_in, emergency, group, person};

fn asking(change: impl FnOnce(&mut Fixture)) -> Fixture {
    let mut fixture = Fixture::default();
    change(&mut fixture);
    fixture
}

/// The policy of the fixture with these fields of its spec.
fn by(changes: &Value) -> Fixture {
    asking(|f| {
        let mut spec = serde_json::to_value(&f.policy.spec).unwrap();
        for (field, value) in changes.as_object().unwrap() {
            spec[field] = value.clone();
        }
        f.policy.spec = serde_json::from_value::<JitPolicySpec>(spec).unwrap();
    })
}

fn failed<T>() -> Read<T> {
    Read::Failed("no answer within 5 s".into())
}

#[test]
fn outcomes() {
    let pods = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
    let given: Vec<(&str, Fixture)> = vec![
        ("as the policy wants it", Fixture::default()),
        ("without rules of the policy", by(&json!({"reason": null, "approval": null}))),
        ("no reason required", by(&json!({"reason": {"required": false}}))),
        (
            "an own rule that holds",
            by(&json!({"conditions": [{"expression": "true", "message": "no"}]})),
        ),
        ("an own rule, no duration", {
            let rule = json!([{"expression": "true", "message": "no"}]);
            let mut fixture = by(&json!({"conditions": rule, "duration": {"max": "8h"}}));
            fixture.spec.duration = None;
            fixture
        }),
        (
            "a look-alike of an account",
            asking(|f| f.requester = person("system:serviceaccount:ci:bot", &[])),
        ),
        ("others cannot be read", asking(|f| f.peers = failed())),
        ("others are not known", asking(|f| f.peers = Read::Missing)),
        (
            "an extension, others cannot be read",
            asking(|f| {
                f.spec.extends = Some("earlier".into());
                f.peers = failed();
            }),
        ),
        (
            "an extension, others are not known",
            asking(|f| {
                f.spec.extends = Some("earlier".into());
                f.peers = Read::Missing;
            }),
        ),
        ("duties cannot be read", {
            let mut fixture = by(&json!({"separationOfDuties": [{"policy": "shop-payments"}]}));
            let policies = [crate::testing::life::state(&fixture.policy)].into();
            fixture.duties = Duties::apart_from("shop-debug", &policies, &failed());
            fixture
        }),
        ("the role is gone", asking(|f| f.role = Read::Missing)),
        ("the role cannot be read", asking(|f| f.role = failed())),
        ("accounts cannot be read", asking(|f| f.accounts = failed())),
        (
            "namespaces are gone, going, or cannot be read",
            asking(|f| {
                f.target = edit_in(&["shop", "shop-staging"]);
                let going = crate::target::Namespace { is_going: true, ..Default::default() };
                f.surroundings.namespaces.insert("shop".into(), Read::Found(going));
                f.surroundings.namespaces.insert("shop-staging".into(), Read::Missing);
            }),
        ),
        (
            "a namespace cannot be read",
            asking(|f| drop(f.surroundings.namespaces.insert("shop".into(), failed()))),
        ),
        ("elsewhere", asking(|f| f.target = edit_in(&["bank"]))),
        (
            "rules instead of a role",
            asking(|f| {
                let target = f.spec.target.kubernetes.as_mut().unwrap();
                target.role = None;
                target.rules = serde_json::from_value(pods).unwrap();
                f.target = crate::target::ResolvedTarget::resolve(&f.spec.target, "shop").unwrap();
            }),
        ),
        (
            "an emergency",
            asking(|f| {
                f.spec.emergency = true;
                f.policy.spec.emergency = Some(emergency());
            }),
        ),
        ("an emergency that the policy does not know", asking(|f| f.spec.emergency = true)),
        ("another requester", asking(|f| f.policy.spec.requesters = vec![group("bank")])),
    ];
    let mut text = String::new();
    for (what, fixture) in given {
        writeln!(text, "{what}").unwrap();
        for (name, check) in CHECKS {
            let said = status(name, fixture.outcome(check));
            // Once: most say the same of most requests.
            let line = format!("  {name:?} {:?}: {}\n", said.outcome, said.message);
            if !text.contains(&line) {
                text += &line;
            }
        }
    }
    text += "no policy\n";
    for said in Report::without_policy("There is no JitPolicy x.").into_status() {
        if said.name != CheckName::Policy {
            writeln!(text, "  {:?} {:?}: {}", said.name, said.outcome, said.message).unwrap();
        }
    }
    insta::assert_snapshot!(text);
}
