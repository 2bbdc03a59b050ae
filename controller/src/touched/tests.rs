use lapse_engine::attest::AttestationError;
use serde_json::json;

use super::*;
use crate::fake::{held, touched};

fn request() -> Attested<AccessRequest> {
    let object = serde_json::from_value(json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessRequest",
        "metadata": {"name": "fix", "namespace": "shop", "uid": "r-1", "resourceVersion": "1"},
        "spec": {
            "target": {"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}}},
            "reason": "Checkout fails", "requester": {"username": "alice", "groups": []},
        },
    }))
    .unwrap();
    Attested { object, attestation: Err(AttestationError::Absent) }
}

/// A ban, say, that comes when the right was decided and is not written yet.
#[tokio::test]
async fn what_bears_on_a_request_bears_on_the_right_that_it_is_being_given() {
    let touched = touched();
    touched.index.wrote_request(request()).unwrap();
    let grant = grant_name("shop", "fix", "r-1");
    let held = touched.in_hand.take(&grant);
    touched.waiting_that(|_| true);
    drop(held);
    let waiting = touched.queue.waiting();
    assert!(waiting.contains(&(Item::Grant(grant.clone()), Lane::End)), "{waiting:?}");

    // Nothing happened while the next was in hand.
    let touched = crate::fake::touched();
    drop(touched.in_hand.take(&grant));
    assert_eq!(touched.queue.waiting(), []);
}

/// What ends a right has places of its own, whoever ends it, and what only shows it again has none of them.
#[tokio::test]
async fn what_ends_a_right_waits_for_nothing_that_is_given() {
    let touched = touched();
    drop(touched.index.wrote_grant(&held("g", "2999-01-01T00:00:00Z")));
    let lane = |touch: &dyn Fn(&Touched)| {
        let fresh = touched.with_empty_queue();
        touch(&fresh);
        fresh.queue.waiting()
    };
    let g = || Item::Grant("g".to_owned());
    assert_eq!(lane(&|t| t.grants_that(|_| true)), [(g(), Lane::Held)]);
    assert_eq!(lane(&|t| t.targets_that(|_| true)), [(g(), Lane::Held)]);
    assert_eq!(lane(&|t| t.ending_if_live("g")), [(g(), Lane::End)]);
    assert_eq!(lane(&|t| t.grant("g")), [(g(), Lane::Follow)]);
}

/// Some of it may stand, since the answer that says so is still to come.
#[tokio::test]
async fn what_bears_on_a_right_that_is_being_given_waits_for_nothing_that_is_given() {
    let touched = touched();
    let mut grant = held("g", "2999-01-01T00:00:00Z");
    grant.status.as_mut().unwrap().phase = GrantPhase::Pending;
    drop(touched.index.wrote_grant(&grant));
    touched.grants_that(|_| true);
    assert_eq!(touched.queue.waiting(), [(Item::Grant("g".to_owned()), Lane::Held)]);
}

/// What its agent found after the end is told by its Endpoint.
#[tokio::test]
async fn an_endpoint_bears_on_the_rights_after_which_its_host_is_compared() {
    let touched = touched();
    let mut grant = held("g", "2999-01-01T00:00:00Z");
    grant.spec.target = serde_json::from_value(
        serde_json::json!({"endpoint": {"name": "web-1", "uid": "e", "admin": {}}}),
    )
    .unwrap();
    let status = grant.status.as_mut().unwrap();
    status.phase = GrantPhase::Ended;
    status.conditions = serde_json::from_value(serde_json::json!([{
        "type": "Drifted", "status": "Unknown", "reason": "Comparing", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]))
    .unwrap();
    drop(touched.index.wrote_grant(&grant));
    let endpoint = |name: &str| {
        let fresh = touched.with_empty_queue();
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        fresh.endpoint(&metadata, false);
        fresh.queue.waiting()
    };
    assert_eq!(endpoint("web-1"), [(Item::Grant("g".to_owned()), Lane::Follow)]);
    assert_eq!(endpoint("web-2"), []);
}

/// Somebody's finalizer keeps the request, say, and its right ends at once nevertheless.
#[tokio::test]
async fn a_request_that_is_deleted_or_over_ends_its_right() {
    let name = grant_name("shop", "fix", "r-1");
    let of = |changed: fn(&mut AccessRequest), is_gone: bool| {
        let touched = touched();
        let mut grant = held("fix", "2999-01-01T00:00:00Z");
        grant.metadata.name = Some(name.clone());
        drop(touched.index.wrote_grant(&grant));
        let mut request = request();
        changed(&mut request.object);
        let change = touched.index.wrote_request(request).unwrap();
        touched.grant_of(&change.after.unwrap(), is_gone);
        touched.queue.waiting()
    };
    let is_active: fn(&mut AccessRequest) =
        |request| request.status = serde_json::from_value(phase_of("Active")).ok();
    let active = of(is_active, false);
    assert_eq!(active, [(Item::Grant(name.clone()), Lane::Follow)]);
    for ends in [
        of(|request| request.status = serde_json::from_value(phase_of("Denied")).ok(), false),
        of(|request| request.metadata.deletion_timestamp = Some(deleted_at()), false),
        of(is_active, true),
    ] {
        assert_eq!(ends, [(Item::Grant(name.clone()), Lane::End)]);
    }
}

fn phase_of(phase: &str) -> serde_json::Value {
    json!({"phase": phase, "conditions": []})
}

fn deleted_at() -> k8s_openapi::apimachinery::pkg::apis::meta::v1::Time {
    serde_json::from_value(json!("2026-11-28T10:00:00Z")).unwrap()
}

/// What an agent says, or that its Endpoint is gone, waits behind nothing that only has to be written down; and what is
/// still to be given there takes no place from what ends.
#[tokio::test]
async fn what_happens_to_an_endpoint_may_end_what_is_held_on_it() {
    for (phase, stands, lane) in [
        (GrantPhase::Active, true, Lane::Held),
        (GrantPhase::Active, false, Lane::Held),
        (GrantPhase::Pending, true, Lane::Give),
        (GrantPhase::Pending, false, Lane::Held),
    ] {
        let touched = touched();
        let mut grant = held("g", "2999-01-01T00:00:00Z");
        grant.spec.target =
            serde_json::from_value(json!({"endpoint": {"name": "web-1", "admin": {}}})).unwrap();
        grant.status.as_mut().unwrap().phase = phase;
        drop(touched.index.wrote_grant(&grant));
        let endpoint = ObjectMeta { name: Some("web-1".to_owned()), ..ObjectMeta::default() };
        touched.endpoint(&endpoint, stands);
        let grants = touched.queue.waiting().into_iter();
        let grants = grants.filter(|(item, _)| matches!(item, Item::Grant(_)));
        assert_eq!(grants.collect::<Vec<_>>(), [(Item::Grant("g".to_owned()), lane)], "{phase}");
    }
}

/// Who did not lead when an Endpoint came has passed it over.
#[tokio::test]
async fn whoever_gains_the_lease_looks_at_endpoints_that_nobody_holds() {
    let touched = touched();
    let metadata = |name: &str, finalizers: &[&str]| ObjectMeta {
        name: Some(name.to_owned()),
        finalizers: Some(finalizers.iter().map(|name| (*name).to_owned()).collect()),
        ..ObjectMeta::default()
    };
    let looked_at = |touched: &Touched| {
        let fresh = touched.with_empty_queue();
        fresh.everything();
        fresh.queue.waiting()
    };
    for name in ["held", "gone", "web-1"] {
        touched.endpoint(&metadata(name, &[]), true);
    }
    touched.endpoint(&metadata("held", &[lapse_crds::GRANT_FINALIZER]), true);
    touched.endpoint(&metadata("gone", &[]), false);
    assert_eq!(looked_at(&touched), [(Item::Endpoint("web-1".to_owned()), Lane::Follow)]);
}

/// Somebody asks for a great many things, and many rights end. What extends one of them is looked at, and nothing else.
#[tokio::test]
async fn an_end_costs_nothing_for_what_others_ask_for() {
    const WAITING: usize = 20_000;
    const ENDS: usize = 2_000;
    let touched = touched();
    for number in 0..WAITING {
        let mut asked = request();
        asked.object.metadata.name = Some(format!("other-{number}"));
        asked.object.metadata.uid = Some(format!("other-{number}"));
        drop(touched.index.wrote_request(asked));
    }
    let mut extension = request();
    extension.object.metadata.name = Some("more".to_owned());
    extension.object.spec.extends = Some("fix-7".to_owned());
    drop(touched.index.wrote_request(extension));
    let ends = (0..ENDS).map(|number| {
        let live = held(&format!("fix-{number}"), "2999-01-01T00:00:00Z");
        drop(touched.index.wrote_grant(&live));
        let mut ended = live;
        ended.metadata.resource_version = Some("2".to_owned());
        ended.status.as_mut().unwrap().phase = GrantPhase::Ended;
        touched.index.wrote_grant(&ended).unwrap()
    });
    let ends: Vec<_> = ends.collect();
    let begun = std::time::Instant::now();
    for change in &ends {
        touched.by_grant(change);
    }
    let took = begun.elapsed();
    println!("{ENDS} ends beside {WAITING} requests: {took:?}");
    assert!(took < Duration::from_secs(4), "{took:?}");
    let looked_at = touched.queue.waiting();
    let requests: Vec<_> =
        looked_at.iter().filter(|(item, _)| matches!(item, Item::Request { .. })).collect();
    let more = (
        Item::Request {
            namespace: "shop".to_owned(),
            name: "more".to_owned(),
            requester: "alice".to_owned(),
        },
        Lane::Check,
    );
    assert_eq!(requests, [&more]);
}
