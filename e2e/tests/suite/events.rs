//! Events: people are told of everything, whatever the name, and may read what they are told.

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{ListParams, PostParams};
use lapse_crds::RequestPhase;
use lapse_e2e::plane::{InstallOptions, User, eventually};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::rbac;
use crate::world::{SOON, World, refused, typed};

/// Waits until somebody reads these reasons in the events about a request.
async fn reads(world: &World, who: &User, request: &str, reasons: &[&str]) {
    let events: Api<Event> = world.api(who);
    let about = ListParams::default().fields(&format!("regarding.name={request}"));
    let mut told = Vec::new();
    let found = eventually(&format!("{} to be told {reasons:?}", who.name), SOON, async || {
        let events = events.list(&about).await?.items.into_iter();
        told = events.filter_map(|event| event.reason).collect();
        let has_all = reasons.iter().all(|reason| told.iter().any(|told| told == reason));
        Ok(has_all.then_some(()))
    })
    .await;
    found.unwrap_or_else(|error| panic!("{error:#}; it was told {told:?}"));
}

/// The name of an event is made of the name of its request, which may be as long as a name can be.
#[tokio::test]
async fn a_request_is_told_of_however_long_its_name_is() {
    let world = World::shared("events-long").await;
    let reviewers = json!([{"kind": "User", "name": world.mallory.name}]);
    let review = json!({"within": "24h", "reviewers": reviewers});
    world
        .policy(json!({
            "emergency": {"maxDuration": "10m", "review": review}, "session": {"warnings": ["10s"]},
        }))
        .await;
    // With the hash cut after a dot, too.
    for name in ["n".repeat(253), format!("{}.{}", "n".repeat(235), "m".repeat(17))] {
        world.ask(&name, json!({"emergency": true, "duration": "12s"})).await;
        reads(&world, &world.alice, &name, &["EmergencyGranted", "EndsSoon", "Expired"]).await;
        let decision = json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessDecision",
            "metadata": {"generateName": "review-", "namespace": world.ns},
            "spec": {"request": {"name": name}, "verdict": "Review", "outcome": "Justified"},
        });
        let create = ["create", "-f", "-"];
        world.kubectl(&world.mallory, &create, Some(&decision.to_string())).await.unwrap();
        reads(&world, &world.alice, &name, &["Reviewed"]).await;
    }
}

/// With every role for people, through both groups of the API, and nowhere but where the role is bound.
#[tokio::test]
async fn every_role_for_people_reads_events_where_it_is_bound() {
    let world = World::shared("events-read").await;
    world.ask("fix", json!({"duration": "2h"})).await;
    world.phase("fix", RequestPhase::Denied).await;
    for role in ["requester", "approver", "reviewer", "auditor", "policy-viewer", "policy-admin"] {
        let plane = world.lapse.plane();
        let who = plane.user(&format!("{role}-events-read"), &[]).await.unwrap();
        let list = ["get", "events.v1.", "--namespace", &world.ns];
        refused(world.kubectl(&who, &list, None).await, "forbidden");
        world.bind(&who.name, &format!("lapse:{role}"), &rbac::user(&who.name)).await;
        eventually(&format!("{role} to read events"), SOON, async || {
            Ok(world.may(&who, "watch", "events").await.then_some(()))
        })
        .await
        .unwrap();
        reads(&world, &who, "fix", &["ChecksFailed"]).await;
        let shown = world.kubectl(&who, &list, None).await.unwrap();
        assert!(shown.contains("ChecksFailed"), "{role}: {shown}");
        let elsewhere = ["get", "events.v1.", "--namespace", "kube-system"];
        refused(world.kubectl(&who, &elsewhere, None).await, "forbidden");
        assert!(!world.may(&who, "create", "events").await, "{role} makes events");
    }
}

/// Where events are stored may hang on its own: nobody waits for it.
#[tokio::test]
async fn a_store_of_events_that_hangs_delays_nothing() {
    let world = World::own("events-hang", InstallOptions::default()).await;
    // A whole life of a right.
    let life = async |name: &str| {
        let begun = std::time::Instant::now();
        world.granted(name, json!({})).await;
        world.decide(&world.bob, name, json!({"verdict": "Deny"})).await.unwrap();
        world.locked_out(&world.alice).await;
        world.phase(name, RequestPhase::Ended).await;
        begun.elapsed()
    };
    let usual = life("usual").await;
    // It is admission that hangs here: a listener that accepts, and never answers.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (first, mut asked) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
            let _ = first.try_send(());
        }
    });
    let rule = json!({
        "apiGroups": ["events.k8s.io"], "apiVersions": ["v1"], "resources": ["events"], "operations": ["CREATE"],
    });
    let of_world = json!({"matchLabels": {"kubernetes.io/metadata.name": world.ns}});
    let hook = json!({
        "name": "hangs.example.com", "clientConfig": {"url": format!("https://127.0.0.1:{port}/")},
        "rules": [rule], "namespaceSelector": of_world, "failurePolicy": "Fail", "timeoutSeconds": 30,
        "sideEffects": "None", "admissionReviewVersions": ["v1"],
    });
    let hooks: Api<ValidatingWebhookConfiguration> = Api::all(world.admin.client.clone());
    let hook = typed(json!({"metadata": {"name": "hangs"}, "webhooks": [hook]}));
    hooks.create(&PostParams::default(), &hook).await.unwrap();
    // The API server learns of it a moment later.
    let mut number = 0;
    eventually("an event to hang", SOON, async || {
        number += 1;
        world.ask(&format!("before-{number}"), json!({})).await;
        let second = std::time::Duration::from_secs(1);
        Ok(tokio::time::timeout(second, asked.recv()).await.ok())
    })
    .await
    .unwrap();
    // It ends within the ten seconds that one event takes until it is given up, where the machine is fast enough for that.
    let took = life("fix").await;
    assert!(took < lapse_cluster::CALL_LIMIT.max(3 * usual), "{took:?}, and {usual:?} before");
}
