use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use lapse_engine::attest::KeySet;
use rstest::rstest;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::*;
use crate::clock;
use crate::index::{Index, Indexed, testing_settings};

fn alice() -> Identity {
    Identity { username: "alice".into(), ..Identity::default() }
}

/// A Grant of alice's that has just ended.
fn over(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "uid": format!("grant-of-{name}"), "resourceVersion": "1"},
        "spec": {
            "request": {"namespace": "shop", "name": name, "uid": format!("uid-of-{name}")},
            "policy": {"name": "shop", "uid": "p", "generation": 1},
            "subject": {"kind": "User", "name": "alice"},
            "target": {"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}}},
            "startsAt": "2026-11-28T10:00:00Z", "expiresAt": "2099-11-28T11:00:00Z", "rulesHash": "h",
        },
        "status": {
            "phase": "Ended", "endedAt": clock::now().to_rfc3339(), "endReason": "Expired",
            "activatedAt": "2026-11-28T10:00:00Z",
        },
    })
}

/// A reader in front of an API server with so many pages of Grants and one request that extended another, of which nothing
/// but what is live has been listed; and what is asked for.
fn reader(pages: usize) -> (Reader, Arc<Mutex<Vec<String>>>) {
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let noted = asked.clone();
    let service = tower::service_fn(move |asked: Request<Body>| {
        let query = asked.uri().query().unwrap_or_default().to_owned();
        let is_of_grants = asked.uri().path().ends_with("/grants");
        noted.lock().unwrap().push(format!("{}?{query}", asked.uri().path()));
        let place = query.split_once("continue=").map(|(_, rest)| rest.to_owned());
        let place: usize = place.map_or(0, |place| place.parse().unwrap());
        let rest = (is_of_grants && place + 1 < pages).then(|| (place + 1).to_string());
        let items = if is_of_grants {
            vec![over(&format!("over-{place}"))]
        } else {
            vec![json!({
                "metadata": {
                    "name": "rival", "namespace": "shop", "uid": "uid-of-rival", "resourceVersion": "1",
                },
                "spec": {
                    "target": {"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}}},
                    "reason": "More", "extends": "fix", "requester": {"username": "alice", "groups": []},
                },
                "status": {"phase": "Ended", "endedAt": "2026-11-28T11:00:00Z", "conditions": []},
            })]
        };
        let metadata = json!({"resourceVersion": "7", "continue": rest});
        let list =
            json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items});
        let body = Body::from(list.to_string().into_bytes());
        async move { Ok::<_, Infallible>(Response::new(body)) }
    });
    let (_, keys) = watch::channel(KeySet::default());
    let index = Index::new(testing_settings(), keys.clone(), false);
    for kind in Indexed::ALL {
        index.begin(kind);
        index.done(kind);
    }
    (Reader::new(Client::new(service, "default"), index, keys), asked)
}

#[tokio::test]
async fn what_is_over_of_who_asks_is_read_once_before_the_rest() {
    let (reader, asked) = reader(2);
    let index = reader.index().clone();
    assert!(index.peers(&alice(), None).found().is_none());
    reader.read_past_of(&alice(), None).await;
    let peers = index.peers(&alice(), None);
    assert_eq!(peers.found().unwrap().grants.len(), 2);
    assert!(!index.knows_past() && index.peers(&alice(), Some(("shop", "fix"))).found().is_none());
    reader.read_past_of(&alice(), Some(("shop", "fix"))).await;
    let peers = index.peers(&alice(), Some(("shop", "fix")));
    assert_eq!(peers.found().unwrap().requests[0].name, "rival");
    reader.read_past_of(&alice(), Some(("shop", "fix"))).await;
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 3, "each page once: {asked:?}");
    assert!(asked[0].contains("fieldSelector=status.phase%3DEnded%2Cspec.subject.name%3Dalice&"));
    assert!(asked[2].starts_with("/apis/lapse.dev/v1alpha1/namespaces/shop/accessrequests?"));
    assert!(asked[2].contains("fieldSelector=spec.requester.username%3Dalice&"), "{asked:?}");
}

/// They wait until all that is over has been read.
#[tokio::test]
async fn of_who_has_very_much_not_all_is_read_before_the_rest() {
    let (reader, asked) = reader(MOST_PAGES + 1);
    reader.read_past_of(&alice(), None).await;
    assert_eq!(asked.lock().unwrap().len(), MOST_PAGES);
    let Read::Failed(why) = reader.index().peers(&alice(), None) else {
        panic!("not all is known")
    };
    assert_eq!(why, "not all that is over has been read yet");
}

#[rstest]
#[case("alice", "alice")]
#[case("CN=alice,O=shop", r"CN\=alice\,O\=shop")]
#[case(r"SHOP\alice", r"SHOP\\alice")]
fn names_are_spelled_so_that_a_selector_takes_them_whole(
    #[case] name: &str,
    #[case] expected: &str,
) {
    assert_eq!(escaped(name), expected);
}
