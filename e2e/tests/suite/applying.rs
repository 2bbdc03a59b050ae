//! The manifests that people apply, and how they apply them.

use kube::Api;
use lapse_crds::{AccessRequest, RequestPhase};
use rstest::rstest;
use serde_json::json;

use crate::world::World;

#[rstest]
#[case::client_side("apply-client", &[])]
#[case::server_side("apply-server", &["--server-side"])]
#[tokio::test]
async fn the_same_manifest_twice_changes_nothing(#[case] ns: &str, #[case] how: &[&str]) {
    let world = World::shared(ns).await;
    let manifest = serde_json::to_string(&world.request("fix", json!({}))).unwrap();
    let args: Vec<&str> = ["apply", "-f", "-"].iter().chain(how).copied().collect();
    world.kubectl(&world.alice, &args, Some(&manifest)).await.unwrap();
    world.phase("fix", RequestPhase::Pending).await;
    let api: Api<AccessRequest> = world.api(&world.alice);
    let before = api.get("fix").await.unwrap();
    world.kubectl(&world.alice, &args, Some(&manifest)).await.unwrap();
    let after = api.get("fix").await.unwrap();
    assert_eq!(before.spec, after.spec);
    assert_eq!(before.metadata.uid, after.metadata.uid);
    assert_eq!(before.metadata.annotations, after.metadata.annotations);
    assert!(after.spec.requester.is_some(), "what was stamped stays");

    // Whoever names another requester is told at the second time what was overwritten at the first.
    let mut named = serde_json::to_value(world.request("fix", json!({}))).unwrap();
    named["spec"]["requester"] = json!({"username": "olga"});
    let named = world.kubectl(&world.alice, &args, Some(&named.to_string())).await;
    let error = named.unwrap_err().to_string();
    assert!(error.contains("leave it out of the manifest"), "{error}");

    let other = serde_json::to_string(&world.request("fix", json!({"duration": "20m"}))).unwrap();
    let error = world.kubectl(&world.alice, &args, Some(&other)).await.unwrap_err().to_string();
    assert!(error.contains("cannot be changed"), "{error}");
}

#[tokio::test]
async fn applying_what_is_over_says_that_it_gives_nothing() {
    let world = World::shared("apply-over").await;
    let manifest = serde_json::to_string(&world.request("fix", json!({}))).unwrap();
    let args = ["apply", "--server-side", "-f", "-"];
    world.kubectl(&world.alice, &args, Some(&manifest)).await.unwrap();
    world.decide(&world.alice, "fix", json!({"verdict": "End"})).await.unwrap();
    world.phase("fix", RequestPhase::Withdrawn).await;
    let plane = world.lapse.plane();
    let answer = plane.kubectl_with_input(&world.alice, &args, Some(&manifest)).await.unwrap();
    assert!(answer.success() && answer.stderr.contains("is over (Withdrawn)"), "{answer:?}");
}

#[rstest]
#[case(json!({"duration": "-5m"}), "spec.duration")]
#[case(json!({"duration": "1d"}), "spec.duration")]
#[case(json!({"duration": "5"}), "spec.duration")]
#[case(json!({"duration": ""}), "spec.duration")]
#[case(json!({"duration": "0.5h"}), "must be whole numbers of h, m and s, in this order, such as 45s, 90m or 1h30m")]
#[case(json!({"reason": "a\tb"}), "Write spaces for tabs")]
#[case(json!({"reason": "a\r\nb"}), "and LF for CRLF")]
#[case(json!({"policy": "Shop"}), "must be the name of an object: lower case letters")]
#[case(json!({"startTime": "2026-12-28T05:55:38+99:99"}), r#"spec.startTime: "2026-12-28T05:55:38+99:99" is not RFC 3339"#)]
#[case(json!({"duration": "0s"}), "must be more than zero")]
#[case(json!({"duration": "9000h"}), "spec.duration")]
#[case(json!({"duration": "8761h"}), "at most 8760h")]
#[case(json!({"reason": "a\u{1b}[2Jb"}), "spec.reason")]
#[case(json!({"reason": "x".repeat(1 << 20)}), "spec.reason")]
#[case(json!({"target": {}}), "a target has exactly one kind")]
#[case(json!({"target": {"kubernetes": {"role": {"kind": "Role", "name": "r"}, "clusterWide": true}}}), "cannot be bound cluster-wide")]
#[case(json!({"target": {"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}, "clusterWide": true, "namespaces": ["a"]}}}), "exclude one another")]
#[case(json!({"policy": "../secrets"}), "spec.policy")]
#[case(json!({"target": {"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit/../admin"}}}}), "role.name")]
#[case(json!({"startTime": "2001-01-01T00:00:00Z"}), "which is in the past")]
#[case(json!({"startTime": "1969-12-31T23:59:59Z"}), "spec.startTime: is 1969")]
#[case(json!({"startTime": "10000-01-01T00:00:00Z"}), "spec.startTime")]
#[case(json!({"startTime": "9999-12-31T23:59:59-10:00"}), "spec.startTime: is 9999")]
#[case(json!({"startTime": "tomorrow"}), "spec.startTime")]
#[case(json!({"ticket": "INC1\n"}), "spec.ticket")]
#[case(json!({"emergency": true, "startTime": "2100-01-01T00:00:00Z"}), "an emergency starts at once")]
#[case(json!({"emergency": true, "extends": "fix"}), "an emergency extends nothing")]
#[case(json!({"extends": "fix", "startTime": "2100-01-01T00:00:00Z"}), "an extension starts when it is approved")]
#[case(json!({"urgency": "high"}), "unknown field")]
#[tokio::test]
async fn bad_input_is_refused_with_its_field(#[case] spec: serde_json::Value, #[case] words: &str) {
    let world = World::shared("bad-input").await;
    let mut manifest = serde_json::to_value(world.request("bad", json!({}))).unwrap();
    for (field, value) in spec.as_object().unwrap() {
        manifest["spec"][field] = value.clone();
    }
    let create = ["create", "-f", "-"];
    let refused = world.kubectl(&world.alice, &create, Some(&manifest.to_string())).await;
    let error = refused.unwrap_err().to_string();
    assert!(error.contains(words), "expected {words:?} in: {}", &error[..error.len().min(600)]);
}

#[tokio::test]
async fn a_bad_decision_is_refused_with_its_field() {
    let world = World::shared("bad-decision").await;
    world.ask("bad", json!({})).await;
    let cases = [
        (json!({"duration": "-5m"}), "spec.duration"),
        (json!({"duration": "1d"}), "spec.duration"),
        (json!({"comment": "x".repeat(1 << 20)}), "spec.comment"),
        (json!({"comment": "a\u{1b}[2Jb"}), "spec.comment"),
        (json!({"verdict": "Maybe"}), "spec.verdict"),
        (json!({"request": {"name": "none"}}), "there is no AccessRequest none"),
    ];
    let decide = async |spec: &serde_json::Value| {
        let mut manifest = json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessDecision",
            "metadata": {"generateName": "bad-", "namespace": "bad-decision"},
            "spec": {"request": {"name": "bad"}, "verdict": "Approve"},
        });
        json_patch::merge(&mut manifest["spec"], spec);
        world.kubectl(&world.bob, &["create", "-f", "-"], Some(&manifest.to_string())).await
    };
    let answers = futures::future::join_all(cases.iter().map(|(spec, _)| decide(spec))).await;
    for (answer, (_, words)) in answers.into_iter().zip(&cases) {
        let error = answer.unwrap_err().to_string();
        assert!(error.contains(words), "no {words:?} in: {}", &error[..error.len().min(600)]);
    }
}

#[tokio::test]
async fn explain_teaches() {
    let world = World::shared("explain").await;
    let fields = [
        ("areq.spec.target.kubernetes", "where they apply"),
        ("areq.spec.duration", "the policy's default"),
        ("jp.spec.approval.stages", "most stages are complete"),
        ("adec.spec.verdict", "by a reviewer, after an emergency"),
        ("gr.spec.expiresAt", "ends at the latest"),
    ];
    for (field, words) in fields {
        let text = world
            .kubectl(&world.admin, &["explain", "--recursive=false", field], None)
            .await
            .unwrap();
        let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(words), "{field}: {text}");
    }
}
