use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use lapse_crds::Identity;
use lapse_engine::attest::KeySet;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::*;
use crate::index::{Change, Index, testing_settings};
use crate::watch::{FirstLists, Revision};

fn request(name: &str, phase: &str) -> Value {
    json!({
        "metadata": {
            "name": name, "namespace": "shop", "uid": format!("uid-of-{name}"), "resourceVersion": "1",
        },
        "spec": {
            "target": {"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}}},
            "reason": "Checkout fails", "requester": {"username": "alice", "groups": []},
        },
        "status": {
            "phase": phase, "endedAt": "2026-11-28T11:00:00Z", "conditions": [],
            "policy": {"name": "shop", "uid": "p", "generation": 1},
        },
    })
}

fn grant(name: &str, phase: &str) -> Value {
    json!({
        "metadata": {"name": name, "uid": format!("grant-of-{name}"), "resourceVersion": "1"},
        "spec": {
            "request": {"namespace": "shop", "name": name, "uid": format!("uid-of-{name}")},
            "policy": {"name": "shop", "uid": "p", "generation": 1},
            "subject": {"kind": "User", "name": "alice"},
            "target": {"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}}},
            "startsAt": "2026-11-28T10:00:00Z", "expiresAt": "2099-11-28T11:00:00Z", "rulesHash": "h",
        },
        "status": {"phase": phase, "endedAt": "2026-11-28T11:00:00Z", "endReason": "Expired"},
    })
}

/// What an API server says instead of the first list that asks for what is over.
type Instead = Arc<Mutex<Vec<Value>>>;

/// An API server with a right that is held, one that is over, and one that is over and not settled. Nothing happens there.
/// Each page of what is over has one object, and comes when this says so.
fn api_server(comes: watch::Receiver<bool>, instead: Instead) -> Client {
    let service = tower::service_fn(move |asked: Request<Body>| {
        let (mut comes, instead) = (comes.clone(), instead.clone());
        async move {
            let path = asked.uri().path().to_owned();
            let query = asked.uri().query().unwrap_or_default().to_owned();
            if query.contains("watch=") {
                std::future::pending::<()>().await;
            }
            let (all, is_of_what_is_over): (Vec<Value>, bool) = match path.rsplit('/').next() {
                Some("accessrequests") => {
                    let phases = [("held", "Active"), ("over", "Ended"), ("urgent", "Ended")];
                    let mut all: Vec<Value> =
                        phases.iter().map(|(name, phase)| request(name, phase)).collect();
                    all[2]["status"]["review"] = json!({"dueBy": "2026-11-29T10:00:00Z"});
                    (all, !query.contains("fieldSelector"))
                }
                Some("grants") => {
                    let mut leaving = grant("leaving", "Ended");
                    leaving["metadata"]["deletionTimestamp"] = json!("2026-11-28T11:00:00Z");
                    let all = vec![grant("held", "Active"), grant("over", "Ended"), leaving];
                    (all, query.contains("spec.emergency%21%3Dtrue"))
                }
                _ => (Vec::new(), false),
            };
            let is_live = |object: &&Value| object["status"]["phase"] != "Ended";
            let mut metadata = json!({"resourceVersion": "7"});
            let items: Vec<Value> = if is_of_what_is_over {
                comes.wait_for(|comes| *comes).await.unwrap();
                if let Some(answer) = instead.lock().unwrap().pop() {
                    let code = u16::try_from(answer["code"].as_u64().unwrap()).unwrap();
                    let body = Body::from(answer.to_string().into_bytes());
                    return Ok::<_, Infallible>(
                        Response::builder().status(code).body(body).unwrap(),
                    );
                }
                let place = query.split_once("continue=").map(|(_, rest)| rest);
                let place: usize = place.map_or(0, |place| place.parse().unwrap());
                if place + 1 < all.len() {
                    metadata["continue"] = json!((place + 1).to_string());
                }
                vec![all[place].clone()]
            } else if query.contains("spec.emergency%3Dtrue") {
                Vec::new()
            } else {
                all.iter().filter(is_live).cloned().collect()
            };
            let list = json!({
                "kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items,
            });
            let body = Body::from(list.to_string().into_bytes());
            Ok::<_, Infallible>(Response::new(body))
        }
    });
    Client::new(service, "default")
}

/// What was told, in words.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Listener for Told {
    fn request(&self, change: Change<KnownRequest>) {
        self.0.lock().unwrap().push(format!("request {}", change.after.unwrap().name));
    }

    fn grant(&self, change: Change<KnownGrant>) {
        self.0.lock().unwrap().push(format!("grant {}", change.after.unwrap().name));
    }

    fn restarted(&self) {
        self.0.lock().unwrap().push("everything".to_owned());
    }
}

impl Told {
    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

struct Fed {
    index: Index,
    comes: watch::Sender<bool>,
    told: Arc<Told>,
}

/// An index that is fed, with all that is live listed, and no page of what is over read.
async fn fed(instead: Vec<Value>) -> Fed {
    let (comes, waits) = watch::channel(false);
    let (_, keys) = watch::channel(KeySet::default());
    let index = Index::new(testing_settings(), keys, true);
    let feed = Feed {
        client: api_server(waits, Arc::new(Mutex::new(instead))),
        index: index.clone(),
        restarts: Revision::new(|| ()).1,
        first_lists: FirstLists::new(Feed::WATCHES),
    };
    let (lists, told) = (feed.first_lists.clone(), Arc::new(Told::default()));
    let listener = told.clone();
    tokio::spawn(async move { Box::pin(feed.run(&*listener)).await });
    lists.all().await;
    Fed { index, comes, told }
}

async fn has_read_all(fed: &Fed) {
    fed.comes.send_replace(true);
    let mut news = fed.index.news();
    let all = async {
        while !fed.index.knows_past() {
            news.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_mins(1), all).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_live_is_known_before_what_is_over_has_been_read() {
    let fed = fed(Vec::new()).await;
    let index = &fed.index;
    assert!(index.is_complete() && index.knows_live_grants() && !index.knows_all_grants());
    assert_eq!(index.live_grants().len(), 1);
    assert!(index.request("uid-of-held").is_some() && !index.has_request("uid-of-over"));
    let alice = Identity { username: "alice".into(), ..Identity::default() };
    assert!(index.peers(&alice, None).found().is_none());
    let told = fed.told.taken();
    assert!(told.contains(&"grant held".to_owned()) && !told.contains(&"grant over".to_owned()));

    has_read_all(&fed).await;
    assert!(index.has_request("uid-of-over") && index.grant("over").is_some());
    assert!(index.peers(&alice, None).found().is_some());
    // Somebody may wait for it; and to what is settled nothing happens any more.
    tokio::task::yield_now().await;
    let told = fed.told.taken();
    // Of whichever kind what is live was listed first.
    let mut kinds: Vec<_> = told.chunks(2).collect();
    kinds.sort();
    assert_eq!(kinds, [["grant leaving", "everything"], ["request urgent", "everything"]]);
}

/// The rest is of another moment then; or there is none, and all pages are read again.
#[tokio::test(start_paused = true)]
async fn pages_that_cannot_be_read_are_asked_for_again() {
    let refusal = |code: u16, rest: Option<&str>| {
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {"continue": rest}, "status": "Failure",
            "code": code, "reason": "", "message": "no",
        })
    };
    let instead = vec![
        refusal(410, Some("1")),
        refusal(410, None),
        refusal(400, None),
        refusal(500, None),
        refusal(503, None),
    ];
    let fed = fed(instead).await;
    has_read_all(&fed).await;
    for name in ["leaving", "over", "held"] {
        assert!(fed.index.grant(name).is_some(), "{name}");
    }
    assert!(fed.index.has_request("uid-of-over") && fed.index.has_request("uid-of-urgent"));
}
