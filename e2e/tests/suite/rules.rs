//! Tickets, hours, starts and the policy's own conditions.

use chrono::{DateTime, TimeDelta, Timelike as _, Utc};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::Api;
use kube::api::PostParams;
use lapse_crds::{
    AccessRequest, AccessRequestStatus, CheckName, EndReason, RequestPhase, Timestamp,
};
use serde_json::{Value, json};

use lapse_e2e::plane::eventually;

use crate::world::{SOON, World, refused, until};

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

fn said(status: &AccessRequestStatus, name: CheckName) -> &str {
    &status.checks.iter().find(|check| check.name == name).unwrap().message
}

/// Hours in a zone that is not that of the machine, from one moment to another, both in whole minutes.
fn hours(from: DateTime<Utc>, to: DateTime<Utc>) -> Value {
    // No daylight saving, and half an hour off.
    let offset = TimeDelta::minutes(5 * 60 + 30);
    let wall = |at: DateTime<Utc>| (at + offset).format("%H:%M").to_string();
    let window = json!({"days": DAYS, "start": wall(from), "end": wall(to)});
    json!({"timeZone": "Asia/Kolkata", "windows": [window]})
}

#[tokio::test]
async fn a_ticket_is_asked_for_and_goes_with_the_right() {
    let world = World::shared("ticket").await;
    let ticket = json!({"required": true, "pattern": "(INC|CHG)[0-9]+"});
    world.policy(json!({"ticket": ticket, "approval": {"stages": []}})).await;
    world.ask("none", json!({})).await;
    let status = world.phase("none", RequestPhase::Denied).await;
    assert!(said(&status, CheckName::Ticket).starts_with("A ticket is required"), "{status:?}");
    world.ask("wrong", json!({"ticket": "INC12 or so"})).await;
    let status = world.phase("wrong", RequestPhase::Denied).await;
    assert!(said(&status, CheckName::Ticket).contains("(INC|CHG)[0-9]+"), "{status:?}");

    world.ask("fix", json!({"ticket": "INC0012345"})).await;
    world.phase("fix", RequestPhase::Active).await;
    let grant = world.grant("fix").await;
    assert_eq!(grant.spec.ticket.as_deref(), Some("INC0012345"));
    let bindings: Api<RoleBinding> = world.api(&world.admin);
    let binding = bindings.get(&grant.status.unwrap().bindings[0].name).await.unwrap();
    assert_eq!(binding.metadata.annotations.unwrap()["lapse.dev/ticket"], "INC0012345");
}

#[tokio::test]
async fn outside_the_hours_nothing_is_given_and_with_them_rights_end() {
    let world = World::shared("hours").await;
    let now = lapse_cluster::clock::now();
    let minutes = TimeDelta::minutes;
    let closed = hours(now + minutes(60), now + minutes(120));
    world.policy(json!({"schedule": closed, "approval": {"stages": []}})).await;
    world.ask("early", json!({})).await;
    let status = world.phase("early", RequestPhase::Denied).await;
    assert!(said(&status, CheckName::Schedule).contains("(Asia/Kolkata)"), "{status:?}");
    assert!(!world.can_write(&world.alice).await);

    let until = (now + minutes(20)).with_second(0).unwrap().with_nanosecond(0).unwrap();
    let open = hours(now - minutes(10), until);
    world.policy(json!({"schedule": open, "approval": {"stages": []}})).await;
    world.ask("fix", json!({"duration": "1h"})).await;
    let status = world.phase("fix", RequestPhase::Active).await;
    assert_eq!(status.expires_at, Some(Timestamp::new(until)), "it ends with the hours");
}

#[tokio::test]
async fn a_right_starts_when_it_was_asked_for() {
    let world = World::shared("scheduled").await;
    world.policy(json!({})).await;
    let start = lapse_cluster::clock::now() + TimeDelta::seconds(25);
    let start = Timestamp::new(start);
    world.ask("later", json!({"startTime": start.to_string()})).await;
    world.approve(&world.bob, "later").await.unwrap();
    let status = world.phase("later", RequestPhase::Scheduled).await;
    assert_eq!(status.starts_at, Some(start));
    assert!(!world.can_write(&world.alice).await, "not before its time");
    let status = world.phase("later", RequestPhase::Active).await;
    assert_eq!(status.starts_at, Some(start));
    world.let_in(&world.alice).await;
    world.decide(&world.alice, "later", json!({"verdict": "End"})).await.unwrap();
    world.phase("later", RequestPhase::Ended).await;

    let api: Api<AccessRequest> = world.api(&world.alice);
    let past = world.request("past", json!({"startTime": "2001-01-01T00:00:00Z"}));
    let answer = api.create(&PostParams::default(), &past).await;
    refused(answer.map_err(anyhow::Error::from), "which is in the past");
}

#[tokio::test]
async fn a_scheduled_right_can_be_withdrawn_and_denied() {
    let world = World::shared("unscheduled").await;
    let start = Timestamp::new(lapse_cluster::clock::now() + TimeDelta::hours(1)).to_string();
    for name in ["withdrawn", "denied"] {
        world.ask(name, json!({"startTime": start})).await;
        world.approve(&world.bob, name).await.unwrap();
        world.phase(name, RequestPhase::Scheduled).await;
    }
    world.decide(&world.alice, "withdrawn", json!({"verdict": "End"})).await.unwrap();
    world.phase("withdrawn", RequestPhase::Withdrawn).await;
    world.decide(&world.ben, "denied", json!({"verdict": "Deny"})).await.unwrap();
    world.phase("denied", RequestPhase::Denied).await;
    assert!(world.bindings().await.is_empty());
}

#[tokio::test]
async fn conditions_of_the_policy_hold() {
    let world = World::shared("conditions").await;
    let expression = "request.durationSeconds <= 600 || 'leads' in requester.groups";
    let rule = json!({"expression": expression, "message": "More than 10m only for leads"});
    world.policy(json!({"conditions": [rule], "approval": {"stages": []}})).await;
    world.ask("long", json!({"duration": "11m"})).await;
    let status = world.phase("long", RequestPhase::Denied).await;
    assert_eq!(said(&status, CheckName::Conditions), "More than 10m only for leads.");
    world.ask("short", json!({"duration": "10m"})).await;
    world.phase("short", RequestPhase::Active).await;
}

#[tokio::test]
async fn a_deny_policy_with_hours_comes_at_its_time() {
    let world = World::shared("curfew").await;
    world.granted("fix", json!({"duration": "1h"})).await;
    // It begins with the next whole minute.
    let now = lapse_cluster::clock::now();
    let next = (now + TimeDelta::seconds(70)).with_second(0).unwrap();
    let schedule = hours(next, next + TimeDelta::minutes(30));
    let requesters = json!([{"kind": "User", "name": world.alice.name}]);
    world
        .apply(json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "JitPolicy",
            "metadata": {"name": "curfew-freeze"},
            "spec": {
                "effect": "Deny", "requesters": requesters, "targets": [{"all": true}],
                "schedule": schedule,
            },
        }))
        .await;
    assert!(world.can_write(&world.alice).await || lapse_cluster::clock::now() >= next);
    until(next).await;
    let status = world.phase("fix", RequestPhase::Ended).await;
    assert_eq!(status.end_reason, Some(EndReason::DeniedByPolicy));
    world.locked_out(&world.alice).await;
}

#[tokio::test]
async fn one_open_request_at_once_unless_the_policy_says_otherwise() {
    let world = World::shared("limits").await;
    world.policy(json!({"limits": {"activeGrantsPerUser": 3}})).await;
    world.ask("first", json!({})).await;
    world.phase("first", RequestPhase::Pending).await;
    world.ask("second", json!({})).await;
    let status = world.phase("second", RequestPhase::Denied).await;
    assert!(said(&status, CheckName::Limits).starts_with("You have 1 open request"), "{status:?}");
    world.decide(&world.alice, "first", json!({"verdict": "End"})).await.unwrap();
    world.phase("first", RequestPhase::Withdrawn).await;
    world.granted("third", json!({})).await;

    world.policy(json!({"limits": {"grantedTimePerDay": "15m"}})).await;
    world.ask("too-much", json!({"duration": "10m"})).await;
    let status = world.phase("too-much", RequestPhase::Denied).await;
    assert!(said(&status, CheckName::Limits).contains("15m within 24 hours"), "{status:?}");
}

/// All at once: who comes first gets the places, and nobody gets one more.
#[tokio::test]
async fn a_race_for_the_last_places_gives_no_more_than_there_are() {
    let world = World::shared("race-places").await;
    let limits = json!({"openRequestsPerUser": 20, "activeGrantsPerUser": 2});
    world.policy(json!({"limits": limits, "approval": {"stages": []}})).await;
    let api: Api<AccessRequest> = world.api(&world.alice);
    let requests: Vec<AccessRequest> =
        (0..8).map(|n| world.request(&format!("fix-{n}"), json!({}))).collect();
    let post = PostParams::default();
    let made = requests.iter().map(|request| api.create(&post, request));
    for made in futures::future::join_all(made).await {
        made.unwrap();
    }
    let mut active = 0;
    for n in 0..8 {
        let name = format!("fix-{n}");
        let phase = eventually(&format!("{name} to be decided"), SOON, async || {
            let phase = world.status(&name).await.phase;
            Ok((phase != RequestPhase::Pending).then_some(phase))
        })
        .await
        .unwrap();
        match phase {
            RequestPhase::Active => active += 1,
            phase => assert_eq!(phase, RequestPhase::Denied),
        }
    }
    assert_eq!(active, 2);
    assert_eq!(world.bindings().await.len(), 2);
}

#[tokio::test]
async fn rules_that_cannot_work_are_refused_with_their_field() {
    let world = World::shared("wrong-rules").await;
    let apply = async |field: &str, value: Value| {
        let changes = [(field.to_owned(), value)].into_iter().collect();
        world.dry_run(Value::Object(changes)).await
    };
    let window = |start: &str, end: &str| json!([{"days": ["Mon"], "start": start, "end": end}]);
    let hours = |zone: &str, windows: Value| json!({"timeZone": zone, "windows": windows});
    let day = window("08:00", "18:00");
    refused(apply("schedule", hours("Europe/Berln", day.clone())).await, "spec.schedule.timeZone");
    refused(apply("schedule", hours("UTC", window("08:00", "08:00"))).await, "end must differ");
    refused(
        apply("schedule", hours("UTC", window("8:00", "25:00"))).await,
        "spec.schedule.windows",
    );
    refused(apply("schedule", hours("UTC", json!([]))).await, "spec.schedule.windows");
    let condition = |expression: &str| json!([{"expression": expression, "message": "No"}]);
    let field = "spec.conditions[0].expression";
    refused(apply("conditions", condition("request.durationSecond > 1")).await, field);
    refused(apply("conditions", condition("1 +")).await, field);
    refused(apply("conditions", condition("request.reason")).await, field);
    refused(apply("conditions", condition(&"!".repeat(3000))).await, field);
    let nested = "target.namespaces.all(a, target.namespaces.exists(b, a != b))";
    refused(apply("conditions", condition(nested)).await, field);
    let stage = |name: &str, required: u32| json!({"name": name, "required": required, "approvers": [{"kind": "User", "name": "bob"}]});
    let stages = |stages: Value| json!({"stages": stages});
    let quorum = stages(json!([stage("manager", 0)]));
    refused(apply("approval", quorum).await, "spec.approval.stages[0].required");
    let twice = stages(json!([stage("manager", 1), stage("manager", 1)]));
    refused(apply("approval", twice).await, "spec.approval.stages[1]: Duplicate value");
    for wrong in ["-5m", "1d", "5", "0s", "9000h"] {
        refused(apply("duration", json!({"max": wrong})).await, "spec.duration.max");
        refused(apply("retention", json!(wrong)).await, "spec.retention");
    }
    let explodes = json!({"pattern": "(((a{1000}){1000}){1000}){1000}"});
    refused(apply("ticket", explodes).await, "spec.ticket.pattern");
    refused(apply("ticket", json!({"pattern": "(INC"})).await, "spec.ticket.pattern");
    apply("schedule", hours("Europe/Berlin", day)).await.unwrap();
}
