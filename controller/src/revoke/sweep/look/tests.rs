use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Method, Request};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::fake::{api_server, gone, held, refusal, touched};

const HOME: &str = "lapse-system";
const LONG_AGO: &str = "2026-01-02T00:00:00Z";
const FAR: &str = "2999-01-01T00:00:00Z";

/// A binding of Lapse's as it is listed.
fn binding(namespace: &str, grant: &str, until: &str) -> Value {
    json!({"metadata": {
        "name": format!("lapse:{grant}"), "namespace": namespace, "uid": format!("{namespace}-{grant}"),
        "labels": {"app.kubernetes.io/managed-by": "lapse", "lapse.dev/grant": grant},
        "annotations": {"lapse.dev/grant-uid": format!("uid-of-{grant}"), "lapse.dev/expires-at": until},
    }})
}

/// What a list of these bindings, or of another kind, says.
fn listed(request: &Request<Body>, bindings: &[Value]) -> (u16, Value) {
    let is_asked = request.uri().path().ends_with("/rolebindings");
    let items = if is_asked { bindings } else { &[] };
    (
        200,
        json!({
            "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
            "metadata": {"resourceVersion": "7"}, "items": items,
        }),
    )
}

/// Where somebody's admission webhook hangs, say.
#[tokio::test(start_paused = true)]
async fn a_namespace_that_hangs_keeps_no_other_from_being_swept() {
    let mut all: Vec<Value> =
        (0..200).map(|number| binding("hangs", &format!("g-{number}"), LONG_AGO)).collect();
    all.push(binding("shop", "fix", LONG_AGO));
    let deleted = Arc::new(AtomicUsize::new(0));
    let count = deleted.clone();
    let client = api_server(move |request| {
        let (all, count) = (all.clone(), count.clone());
        async move {
            if *request.method() != Method::DELETE {
                return listed(&request, &all);
            }
            if request.uri().path().contains("/hangs/") {
                std::future::pending::<()>().await;
            }
            count.fetch_add(1, Ordering::Relaxed);
            gone()
        }
    });
    let (clock, beats, started) = (Clock::default(), Heartbeat::new(), Instant::now());
    let report = Round::new(&client, &clock, HOME, None, &beats).look().await;
    assert_eq!((report.removed, report.failed), (1, 200));
    assert_eq!(deleted.load(Ordering::Relaxed), 1);
    let took = started.elapsed();
    assert!(took < Duration::from_secs(30), "{took:?}");
}

/// A Grant of a newer release, say: it says so itself, and what else the sweep finds is no less true.
#[tokio::test(start_paused = true)]
async fn an_object_whose_grant_cannot_be_decoded_is_no_failure() {
    let all = [binding("shop", "odd", FAR), binding("shop", "lost", FAR)];
    let client = api_server(move |request| {
        let all = all.clone();
        async move {
            let path = request.uri().path();
            match path.rsplit_once("/grants/") {
                _ if *request.method() == Method::DELETE => gone(),
                Some((_, "odd")) => (200, json!({"metadata": {"name": "odd"}, "spec": 1})),
                Some(_) => refusal(404, "NotFound"),
                None => listed(&request, &all),
            }
        }
    });
    let (clock, beats) = (Clock::default(), Heartbeat::new());
    let report = Round::new(&client, &clock, HOME, None, &beats).look().await;
    assert_eq!((report.removed, report.unreadable, report.failed), (1, 1, 0));
    assert!(report.is_success(), "{report:?}");
}

/// One that admission would not let through, or that came from a backup.
#[tokio::test(start_paused = true)]
async fn a_second_binding_of_a_grant_goes_and_its_own_stays() {
    let mut second = binding("shop", "fix", FAR);
    second["metadata"]["name"] = json!("lapse:fix-2");
    second["metadata"]["uid"] = json!("second");
    let all = [binding("shop", "fix", FAR), second, binding("elsewhere", "fix", FAR)];
    let touched = touched();
    let grant = held("fix", FAR);
    drop(touched.index.wrote_grant(&grant));
    let client = api_server(move |request| {
        let (all, grant) = (all.clone(), json!(grant));
        async move {
            let path = request.uri().path().to_owned();
            match () {
                () if *request.method() == Method::DELETE => gone(),
                () if path.contains("/grants/") => (200, grant),
                () => listed(&request, &all),
            }
        }
    });
    let (clock, beats) = (Clock::default(), Heartbeat::new());
    let report = Round::new(&client, &clock, HOME, Some(&touched.index), &beats).look().await;
    assert_eq!((report.removed, report.is_success()), (2, true), "{report:?}");
}

/// Its watch may be dead: who holds the right would be guarded no more.
#[tokio::test(start_paused = true)]
async fn a_right_whose_marker_does_not_stand_is_named() {
    let touched = touched();
    let mut grant = held("fix", FAR);
    grant.spec.session = serde_json::from_value(json!({"guard": "Enforce"})).unwrap();
    drop(touched.index.wrote_grant(&grant));
    let look = async |all: Vec<Value>| {
        let client = api_server(move |request| {
            let answer = listed(&request, &all);
            async move { answer }
        });
        let (clock, beats) = (Clock::default(), Heartbeat::new());
        Round::new(&client, &clock, HOME, Some(&touched.index), &beats).look().await
    };
    let own = binding("shop", "fix", FAR);
    assert_eq!(look(vec![own.clone()]).await.unmarked, ["fix"]);
    assert_eq!(look(vec![own, binding(HOME, "fix", FAR)]).await.unmarked, [""; 0]);
}
