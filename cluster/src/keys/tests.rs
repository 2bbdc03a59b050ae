//! What is known of the published keys, whatever the watch meets.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::stream;
use http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::*;
use crate::watch::Revision;

/// A published key: the base point of the curve, under its identifier.
const ID: &str = "cb05c9fac26332f9";
const KEY: &str = "WGZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmY=";

/// What a list is answered with.
#[derive(Clone, Copy)]
enum Answer {
    /// The map with the key.
    Key,
    /// There is no such map.
    Nothing,
    /// The head of an answer, and never its body.
    Hangs,
}

/// A body that never comes. Watches have it: nothing happens.
fn silence() -> axum::body::Body {
    let nothing = stream::pending::<Result<Vec<u8>, Infallible>>();
    axum::body::Body::from_stream(nothing)
}

/// An API server whose lists are answered as is said here, and how many there were.
fn answering(answer: Answer) -> (Client, Arc<Mutex<Answer>>) {
    let answer = Arc::new(Mutex::new(answer));
    let current = answer.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let is_watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
        let list = |items: Value| {
            let list = json!({
                "apiVersion": "v1", "kind": "ConfigMapList", "metadata": {"resourceVersion": "7"}, "items": items,
            });
            axum::body::Body::from(list.to_string())
        };
        let key = json!({"ed25519": KEY, "validFrom": "2026-01-01T00:00:00Z"}).to_string();
        let map = json!({"metadata": {"name": ATTESTATION_KEYS, "resourceVersion": "7"}, "data": {ID: key}});
        let body = match *current.lock().unwrap() {
            _ if is_watch => silence(),
            Answer::Key => list(json!([map])),
            Answer::Nothing => list(json!([])),
            Answer::Hangs => silence(),
        };
        async move { Ok::<_, Infallible>(Response::new(body)) }
    });
    (Client::new(service, "default"), answer)
}

#[tokio::test(start_paused = true)]
async fn the_keys_are_known_anew_after_a_list_that_hangs_and_after_a_restore() {
    let (client, answer) = answering(Answer::Hangs);
    let (revision, restarts) = Revision::new(|| ());
    let (sender, mut keys) = watch::channel(KeySet::default());
    let following = tokio::spawn(follow_keys(client, "lapse-system".to_owned(), restarts, sender));

    let within = 3 * FIRST_LIST;
    assert!(timeout(within, keys.changed()).await.is_err(), "no list is there yet");
    *answer.lock().unwrap() = Answer::Key;
    timeout(within, keys.changed()).await.expect("a list that hangs is made anew").unwrap();
    assert!(!keys.borrow_and_update().is_empty());

    // Etcd is restored: the watch waits for a revision of the future, and says nothing.
    revision.observe(Some("9"));
    *answer.lock().unwrap() = Answer::Nothing;
    let second = Duration::from_secs(1);
    assert!(timeout(second, keys.changed()).await.is_err(), "nobody has noticed yet");
    revision.observe(Some("8"));
    timeout(second, keys.changed()).await.expect("what is gone is distrusted").unwrap();
    assert!(keys.borrow_and_update().is_empty());
    *answer.lock().unwrap() = Answer::Key;
    revision.observe(Some("7"));
    timeout(second, keys.changed()).await.expect("what was made since is trusted").unwrap();
    // The same once more is no news: with each, everything is looked at again.
    revision.observe(Some("6"));
    assert!(timeout(second, keys.changed()).await.is_err());

    drop(keys);
    timeout(second, following).await.expect("nobody wants them any more").unwrap();
}
