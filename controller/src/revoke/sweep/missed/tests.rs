use std::collections::HashMap;
use std::future::pending;
use std::sync::Mutex;

use http::{Request, Uri};
use kube::client::Body;
use lapse_cluster::watch::{Feed, FirstLists, Revision};
use lapse_engine::attest::KeySet;
use lapse_engine::grant::grant_name;
use rstest::rstest;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::*;
use crate::fake::{api_server, refusal, touched};
use crate::queue::{Item, Lane};
use crate::revoke::Orphans;
use crate::watch::Watches;

/// What stands in the cluster, by the plural of its kind.
type World = Arc<Mutex<HashMap<&'static str, Vec<Value>>>>;

fn change(world: &World, kind: &'static str, change: impl FnOnce(&mut Vec<Value>)) {
    change(world.lock().unwrap().entry(kind).or_default());
}

/// The name of a Grant whose right is held.
fn held() -> String {
    grant_name("shop", "fix", "r-1")
}

fn standing() -> World {
    let world = World::default();
    change(&world, "grants", |all| {
        let mut grant = json!(crate::fake::held("fix", "2999-01-01T00:00:00Z"));
        grant["metadata"]["name"] = json!(held());
        grant["spec"]["request"]["uid"] = json!("r-1");
        all.push(grant);
    });
    change(&world, "accessrequests", |all| {
        all.push(json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessRequest",
            "metadata": {"name": "fix", "namespace": "shop", "uid": "r-1", "resourceVersion": "1"},
            "spec": {
                "target": {"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}}},
                "reason": "Checkout fails", "requester": {"username": "alice", "groups": []},
            },
            "status": {"phase": "Active", "conditions": []},
        }));
    });
    change(&world, "jitpolicies", |all| all.push(policy("shop-debug", "p", "Enforce")));
    world
}

fn policy(name: &str, uid: &str, mode: &str) -> Value {
    json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "JitPolicy",
        "metadata": {"name": name, "uid": uid, "resourceVersion": "1", "generation": 1},
        "spec": {
            "effect": "Allow", "mode": mode, "requesters": [{"kind": "User", "name": "alice"}],
            "targets": [{"kubernetes": {
                "roles": [{"kind": "ClusterRole", "name": "edit"}], "namespaces": {"names": ["shop"]},
            }}],
            "duration": {"max": "1h"},
        },
    })
}

/// A decision about the request of the right.
fn decision(verdict: &str) -> Value {
    json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessDecision",
        "metadata": {"name": "no", "namespace": "shop", "uid": "d", "resourceVersion": "2"},
        "spec": {"request": {"name": "fix", "uid": "r-1"}, "verdict": verdict},
    })
}

/// What a read or a list of what stands says. A watch says nothing at all.
async fn answer(world: World, asked: Uri) -> (u16, Value) {
    let query = asked.query().unwrap_or_default();
    if query.contains("watch=") {
        pending::<()>().await;
    }
    // It does not say of which release it is.
    let Some((_, path)) = asked.path().split_once("/v1alpha1/") else {
        return refusal(404, "NotFound");
    };
    let parts: Vec<&str> = path.split('/').collect();
    let parts = match &parts[..] {
        ["namespaces", _, rest @ ..] => rest,
        all => all,
    };
    let selected = |object: &Value| {
        let phase = &object["status"]["phase"];
        match query.split_once("fieldSelector=").map(|(_, selector)| selector) {
            Some(text) if text.starts_with("status.phase%21%3DEnded") => *phase != "Ended",
            Some(text) if text.starts_with("status.phase%3DActive") => *phase == "Active",
            Some(text) if text.starts_with("status.phase%3DEnded") => *phase == "Ended",
            Some(text) if text.is_empty() || text.starts_with('&') => true,
            Some(text) => {
                assert!(text.starts_with("spec.request.name%3D"), "{text}");
                object["spec"]["request"]["name"] == "fix"
            }
            None => true,
        }
    };
    let all = world.lock().unwrap().get(parts[0]).cloned().unwrap_or_default();
    if let Some(name) = parts.get(1) {
        let found = all.into_iter().find(|object| object["metadata"]["name"] == *name);
        return found.map_or_else(|| refusal(404, "NotFound"), |object| (200, object));
    }
    let items: Vec<Value> = all.into_iter().filter(selected).collect();
    let metadata = json!({"resourceVersion": "7"});
    (200, json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items}))
}

/// What is looked at, and for what, after the watches have shown what stood and then nothing more.
async fn found(world: &World, change: impl FnOnce(&World)) -> Vec<(Item, Lane)> {
    let cluster = world.clone();
    let client =
        api_server(move |request: Request<Body>| answer(cluster.clone(), request.uri().clone()));
    let (_, keys) = watch::channel(KeySet::default());
    let known = touched();
    let (_, restarts) = Revision::new(|| ());
    let feed = Feed {
        client: client.clone(),
        index: known.index.clone(),
        restarts: restarts.clone(),
        first_lists: FirstLists::new(Feed::WATCHES),
    };
    let lists = feed.first_lists.clone();
    let feeding = tokio::spawn(async move { Box::pin(feed.run(&())).await });
    lists.all().await;
    change(world);
    let touched = known.with_empty_queue();
    let reader = Reader::new(client.clone(), touched.index.clone(), keys);
    let listener = Watches {
        client,
        reader: reader.clone(),
        touched: touched.clone(),
        orphans: Orphans::new().0,
        restarts,
        first_lists: FirstLists::new(0),
    };
    let (beats, looked) = (Heartbeat::new(), Looked::default());
    let (reader, touched, listener) = (&reader, &touched, &listener);
    let missed = Missed { reader, touched, listener, beats: &beats, looked: &looked };
    assert_eq!(missed.look().await, [""; 0]);
    feeding.abort();
    touched.queue.waiting()
}

#[tokio::test]
async fn where_nothing_was_missed_nothing_is_looked_at() {
    assert_eq!(found(&standing(), |_| {}).await, []);
}

/// Each of them ends the right, and no watch shows any.
#[rstest]
#[case::denied("accessdecisions", |all: &mut Vec<Value>| all.push(decision("Deny")), Lane::End)]
#[case::ended("accessdecisions", |all: &mut Vec<Value>| all.push(decision("End")), Lane::End)]
#[case::its_request_was_deleted("accessrequests", |all: &mut Vec<Value>| all.clear(), Lane::Held)]
#[case::its_request_is_being_deleted("accessrequests", |all: &mut Vec<Value>| {
    all[0]["metadata"]["deletionTimestamp"] = json!("2026-11-28T10:00:00Z");
}, Lane::Held)]
#[case::its_policy_was_switched_off("jitpolicies", |all: &mut Vec<Value>| {
    all[0] = policy("shop-debug", "p", "Disabled");
    all[0]["metadata"]["generation"] = json!(2);
}, Lane::Held)]
#[case::its_policy_was_deleted("jitpolicies", |all: &mut Vec<Value>| all.clear(), Lane::Held)]
#[case::a_policy_forbids_it("jitpolicies", |all: &mut Vec<Value>| {
    let mut ban = policy("no-shop", "q", "Enforce");
    ban["spec"]["effect"] = json!("Deny");
    all.push(ban);
}, Lane::End)]
#[case::it_was_deleted("grants", |all: &mut Vec<Value>| {
    all[0]["metadata"]["deletionTimestamp"] = json!("2026-11-28T10:00:00Z");
    all[0]["metadata"]["resourceVersion"] = json!("2");
}, Lane::End)]
#[case::it_is_gone("grants", |all: &mut Vec<Value>| all.clear(), Lane::Held)]
#[tokio::test]
async fn what_ends_a_right_is_found_where_a_watch_is_dead(
    #[case] kind: &'static str,
    #[case] what: impl FnOnce(&mut Vec<Value>),
    #[case] lane: Lane,
) {
    let found = found(&standing(), |world| change(world, kind, what)).await;
    assert!(found.contains(&(Item::Grant(held()), lane)), "{found:?}");
}
