//! Decisions: judged when they are made, and stamped with what was decided upon.

use futures::future::join_all;
use lapse_crds::{AccessDecision, Verdict};
use lapse_e2e::plane::eventually;
use rstest::rstest;
use serde_json::{Value, json};

use crate::town::{SOON, Town};

#[tokio::test]
async fn an_approval_is_confirmed_in_words_and_stamped() {
    let town = Town::shared("approved").await;
    let uid = town.ask("fix").await.metadata.uid.unwrap();
    let mut approval =
        town.decision("fix", &json!({"policy": {"name": "x", "uid": "x", "generation": 9}}));
    approval["metadata"] = json!({"name": "yes", "namespace": "approved"});
    let args = ["apply", "--server-side", "-f", "-"];
    let answer = town.kubectl(&town.bob, &args, &approval).await;
    assert!(answer.success(), "{answer:?}");
    let expected = format!(
        "Warning: you approved alice's request for ClusterRole edit in approved for 1h (request UID {uid})"
    );
    assert!(answer.stderr.contains(&expected), "{answer:?}");
    let stored: AccessDecision = town.api(&town.admin).get("yes").await.unwrap();
    let spec = stored.spec;
    assert_eq!(spec.decider.unwrap().username, "bob");
    assert_eq!(spec.request.uid.unwrap(), uid);
    assert_eq!(spec.policy.unwrap().name, "approved");
    assert!(spec.rules_hash.unwrap().starts_with("sha256:"));
    town.attested::<AccessDecision>("yes").await.unwrap();
    // The same manifest again is no second decision.
    let mut manifest = town.decision("fix", &json!({}));
    manifest["metadata"] = approval["metadata"].clone();
    town.kubectl(&town.bob, &args, &manifest).await.ok().unwrap_err();
    let again: AccessDecision = town.api(&town.admin).get("yes").await.unwrap();
    assert_eq!(again.spec.verdict, Verdict::Approve);
}

#[tokio::test]
async fn who_may_not_decide_is_told_why() {
    let town = Town::shared("refused").await;
    town.ask("fix").await;
    let approve = || json!({});
    let cases: [(&_, &str, Value, &str); 9] = [
        (&town.alice, "fix", approve(), "nobody may approve their own request"),
        (&town.mallory, "fix", approve(), "mallory is not an approver of JitPolicy refused"),
        (&town.olga, "fix", approve(), "olga is named as an approver but lacks the verb approve"),
        (&town.bob, "fxi", approve(), "there is no AccessRequest fxi in namespace refused"),
        (
            &town.bob,
            "fix",
            json!({"request": {"name": "fix", "uid": "u-0"}}),
            "spec.request.uid is u-0",
        ),
        (&town.bob, "fix", json!({"duration": "9h"}), "spec.duration is 9h, and JitPolicy"),
        (
            &town.bob,
            "fix",
            json!({"verdict": "End"}),
            "only its requester, alice, may end request fix",
        ),
        (&town.mallory, "fix", json!({"verdict": "Deny"}), "mallory may not deny request fix"),
        (&town.bob, "fix", json!({"verdict": "Maybe"}), "Unsupported value: \"Maybe\""),
    ];
    for (who, request, change, expected) in cases {
        let error = town.decide(who, request, change).await.unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

#[rstest]
#[case::denied("denied", "bob", "Deny", "was already denied by bob")]
#[case::ended("ended", "alice", "End", "was already ended by its requester")]
#[case::approved("done", "bob", "Approve", "is already approved")]
#[tokio::test]
async fn what_is_decided_is_decided(
    #[case] name: &'static str,
    #[case] who: &str,
    #[case] verdict: &str,
    #[case] expected: &str,
) {
    let town = Town::shared(name).await;
    town.ask("fix").await;
    let who = if who == "bob" { &town.bob } else { &town.alice };
    town.decide(who, "fix", json!({"verdict": verdict})).await.unwrap();
    // The webhook learns by a watch of what was said before.
    eventually(expected, SOON, async || {
        let args = ["create", "--dry-run=server", "-f", "-"];
        let tried = town.kubectl(&town.bob, &args, &town.decision("fix", &json!({}))).await;
        Ok(tried.stderr.contains(expected).then_some(()))
    })
    .await
    .unwrap();
    let error = town.decide(&town.bob, "fix", json!({})).await.unwrap_err();
    assert!(error.contains(expected), "{error}");
}

#[tokio::test]
async fn who_holds_the_verb_deny_may_deny() {
    let town = Town::shared("revoking").await;
    town.ask("fix").await;
    for object in [
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": "denier"},
            "rules": [{"apiGroups": ["lapse.dev"], "resources": ["jitpolicies"], "verbs": ["deny"], "resourceNames": ["revoking"]}],
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": "mallory-denies"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "denier"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "mallory"}],
        }),
    ] {
        town.kubectl(&town.admin, &["apply", "-f", "-"], &object).await.ok().unwrap();
    }
    let deny = json!({
        "verb": "deny", "group": "lapse.dev", "resource": "jitpolicies", "name": "revoking",
    });
    town.authorized(&town.mallory, &deny).await;
    let made = town.decide(&town.mallory, "fix", json!({"verdict": "Deny"})).await.unwrap();
    town.attested::<AccessDecision>(&made.metadata.name.unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_decision_right_after_its_request_finds_it() {
    let town = Town::shared("at-once").await;
    let pairs = (0..16).map(|number| {
        let town = &town;
        async move {
            let name = format!("fix-{number}");
            town.ask(&name).await;
            let made = town.decide(&town.bob, &name, json!({})).await.unwrap();
            town.attested::<AccessDecision>(&made.metadata.name.unwrap()).await.unwrap();
        }
    });
    join_all(pairs).await;
}
