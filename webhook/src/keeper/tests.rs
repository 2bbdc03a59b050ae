//! What the keeper sees after a restored etcd.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use hyper::{Request, Response};
use kube::client::Body;
use lapse_cluster::process::Health;
use lapse_cluster::watch::Revision;
use prometheus_client::registry::Registry;
use serde_json::json;
use tokio::time::timeout;

use super::*;

#[tokio::test(start_paused = true)]
async fn what_is_kept_is_listed_anew_when_the_revision_runs_backwards() {
    let lists = Arc::new(AtomicUsize::new(0));
    let count = lists.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let count = count.clone();
        async move {
            let (code, body) = if query.contains("watch=true") {
                std::future::pending().await
            } else if query.contains("fieldSelector") {
                count.fetch_add(1, SeqCst);
                let kind =
                    json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"});
                let mut list = kind;
                list["metadata"] = json!({"resourceVersion": "7"});
                list["items"] = json!([]);
                (200, list)
            } else {
                (500, json!({"kind": "Status", "status": "Failure", "code": 500}))
            };
            let body = Body::from(body.to_string().into_bytes());
            Ok::<_, Infallible>(Response::builder().status(code).body(body).unwrap())
        }
    });
    let (revision, restarts) = Revision::new(|| ());
    let keeper = Keeper::new(
        Client::new(service, "default"),
        "lapse-system",
        BTreeSet::new(),
        BTreeSet::new(),
        watch::channel(None).0,
        watch::channel(KeySet::default()).0,
        watch::channel(false).0,
    );
    let health = Health::register(&mut Registry::default(), "ready");
    tokio::spawn(keeper.run(restarts, health.heartbeat("keys", ROUND)));
    let listed = async |number| {
        let wait = async {
            while lists.load(SeqCst) < number {
                sleep(Duration::from_millis(10)).await;
            }
        };
        // Sooner than a watch that waits for the future would end.
        timeout(Duration::from_secs(10), wait).await.is_ok()
    };
    assert!(listed(4).await, "each kind is listed");
    assert!(!listed(5).await, "and watched");
    revision.observe(Some("9"));
    revision.observe(Some("8"));
    assert!(listed(8).await, "each is listed anew");
}
