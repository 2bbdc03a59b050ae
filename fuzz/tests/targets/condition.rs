//! Conditions in CEL: what compiles is evaluated.

use chrono::DateTime;
use lapse_crds::Identity;
use lapse_engine::condition::{Condition, Facts, RequestFacts, TargetFacts, TargetKind};

/// What somebody asks who wants a condition to fail, with whatever they may write.
fn facts(reason: &str) -> Facts {
    Facts {
        requester: Identity {
            username: "system:serviceaccount:ci:bot".into(),
            uid: None,
            groups: vec![String::new(), reason.chars().take(1024).collect()],
            groups_omitted: None,
            not_in_groups: vec![],
            credential_id: None,
            endpoint_user: None,
        },
        request: RequestFacts {
            name: "fix".into(),
            namespace: "shop".into(),
            duration: "1s".parse().unwrap(),
            reason: Some(reason.chars().take(1024).collect()),
            ticket: Some("\u{202e}\\(".into()),
            emergency: true,
            start_time: Some(DateTime::from_timestamp(253_402_300_799, 0).unwrap()),
        },
        target: TargetFacts {
            kind: TargetKind::Rules,
            role: None,
            namespaces: vec!["shop".into()],
            cluster_wide: false,
            endpoint: None,
            programs: vec![],
            group: None,
            groups: vec![],
            application: None,
            account: None,
        },
        policy: "debug".into(),
        now: DateTime::from_timestamp(-62_167_219_200, 0).unwrap(),
    }
}

fn check(bytes: &[u8]) {
    let Some(expression) = crate::text(bytes) else { return };
    let condition = match Condition::compile(expression) {
        Ok(condition) => condition,
        Err(why) => {
            assert!(!why.is_empty() && why.chars().count() < 1024, "it is told to a person: {why}");
            return;
        }
    };
    assert!(condition.steps() <= 1_000_000, "{} steps", condition.steps());
    assert!(Condition::compile(condition.as_str()).is_ok(), "what compiles once compiles again");
    for reason in ["", expression, "\0\u{1f600}"] {
        let facts = facts(reason);
        let answer = condition.evaluate(&facts);
        assert_eq!(answer, condition.evaluate(&facts), "the same facts, the same answer");
        if let Err(why) = answer {
            assert!(why.chars().count() < 512, "it is told to a person: {why}");
            assert!(!why.contains("interpreter failed"), "the interpreter panicked");
        }
    }
}

#[test]
fn condition() {
    lapse_fuzz::fuzz!("condition", check);
}
