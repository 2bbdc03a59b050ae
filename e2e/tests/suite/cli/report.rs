//! Who had what, and what of it was used.

use std::fs;

use serde_json::{Value, json};

use super::assert_refused;
use crate::world::World;

#[tokio::test]
async fn what_was_held_is_reported_with_what_was_used() {
    let world = World::shared("jit-report").await;
    let formula = "=HYPERLINK(\"http://evil.example\")\nand a second line";
    world.granted("fix", json!({"ticket": "INC0012345", "reason": formula})).await;
    world.kubectl(&world.alice, &["-n", &world.ns, "get", "configmaps"], None).await.unwrap();
    world
        .kubectl(&world.alice, &["-n", &world.ns, "create", "configmap", "seen"], None)
        .await
        .unwrap();
    world.decide(&world.bob, "fix", json!({"verdict": "Deny"})).await.unwrap();
    let grant = world.grant("fix").await.metadata.name.unwrap();
    world.ended(&grant).await;

    let csv = world.jit(&world.admin, &["report"]).await.ok().unwrap();
    let mut lines = csv.lines();
    assert!(
        lines.next().unwrap().starts_with("grant,namespace,request,holder,target,policy,reason"),
        "{csv}"
    );
    let [line] = lines.collect::<Vec<_>>()[..] else { panic!("{csv}") };
    let held = "jit-report,fix,alice-jit-report,ClusterRole edit in jit-report,jit-report,";
    assert!(line.contains(held), "{line}");
    assert!(
        line.contains("\"'=HYPERLINK(\"\"http://evil.example\"\") and a second line\""),
        "{line}"
    );
    assert!(
        line.contains("INC0012345,false,bob-jit-report,") && line.contains(",Revoked,"),
        "{line}"
    );

    let log = world.lapse.plane().audit_log().display().to_string();
    let args = ["report", "--since", "1h", "--audit", &log, "-o", "json"];
    let told = world.jit(&world.admin, &args).await.ok().unwrap();
    let rows: Value = serde_json::from_str(&told).unwrap();
    let usage = &rows[0]["usage"];
    assert!(usage["calls"].as_u64().unwrap() >= 3, "{usage}");
    let (granted, used) = (usage["granted"].as_u64().unwrap(), usage["used"].as_u64().unwrap());
    assert!(used >= 1 && used < granted, "{usage}");
    let smaller = usage["smallerRole"].to_string();
    assert!(
        smaller.contains("configmaps") && smaller.contains("create") && smaller.contains("list"),
        "{smaller}"
    );
    assert!(!smaller.contains("secrets") && !smaller.contains('*'), "{smaller}");
    let csv = world.jit(&world.admin, &["report", "--audit", &log]).await.ok().unwrap();
    assert!(
        csv.lines()
            .next()
            .unwrap()
            .ends_with("calls,rulesGranted,rulesUsed,unusedRules,smallerRole"),
        "{csv}"
    );

    // Later than the end there is nothing.
    let none =
        world.jit(&world.admin, &["report", "--since", "2100-01-01T00:00:00Z", "-o", "json"]).await;
    assert_eq!(none.ok().unwrap(), "[]\n");
}

#[tokio::test]
async fn who_may_not_see_and_what_is_no_audit_log_is_told() {
    let world = World::shared("jit-report-refused").await;
    let refused = world.jit(&world.alice, &["report"]).await;
    assert_refused(&refused, 1, &["cannot list", "lapse:auditor"]);
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.log");
    fs::write(&log, "I0101 this is no JSON\n").unwrap();
    let log = log.display().to_string();
    let refused = world.jit(&world.admin, &["report", "--audit", &log]).await;
    assert_refused(&refused, 1, &["has no event of audit.k8s.io/v1"]);
    let refused = world.jit(&world.admin, &["report", "--audit", "/nonexistent"]).await;
    assert_refused(&refused, 1, &["reading /nonexistent"]);
    assert_refused(
        &world.jit(&world.admin, &["report", "-o", "yaml"]).await,
        2,
        &["-o csv or -o json"],
    );
    assert_refused(&world.jit(&world.admin, &["list", "-o", "csv"]).await, 2, &["report"]);
    assert_refused(
        &world.jit(&world.admin, &["report", "--since", "yesterday"]).await,
        2,
        &["30d"],
    );
}
