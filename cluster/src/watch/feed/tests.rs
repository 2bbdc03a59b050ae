use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Duration;

use http::Response;
use kube::client::Body;
use lapse_engine::attest::KeySet;
use serde_json::json;
use tokio::sync::watch;

use super::*;
use crate::watch::Revision;

/// An API server with a Grant of each of these names, on which nothing happens.
fn api_server(names: &'static [&'static str]) -> Client {
    let service = tower::service_fn(move |request: http::Request<Body>| async move {
        if request.uri().query().unwrap_or_default().contains("watch=") {
            std::future::pending::<()>().await;
        }
        let grants = names.iter().filter(|_| request.uri().path().ends_with("/grants"));
        let items = grants.map(|name| json!({"metadata": {"name": name}, "spec": {}}));
        let list = json!({
            "kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"},
            "items": items.collect::<Vec<_>>(),
        });
        let body = Body::from(list.to_string().into_bytes());
        Ok::<_, std::convert::Infallible>(Response::new(body))
    });
    Client::new(service, "default")
}

#[derive(Default)]
struct Panics(Mutex<Vec<String>>);

impl Listener for Panics {
    fn grant(&self, change: Change<KnownGrant>) {
        let name = change.after.unwrap().name;
        assert_ne!(&*name, "odd", "a mistake");
        self.0.lock().unwrap().push(name.to_string());
    }

    fn restarted(&self) {
        self.0.lock().unwrap().push("everything".to_owned());
    }
}

/// The others are shown, the list is whole, and whoever missed something looks at everything.
#[tokio::test]
async fn one_object_over_which_the_program_panics_withholds_no_list() {
    let client = api_server(&["a", "odd", "z"]);
    let settings = crate::index::testing_settings();
    let (_, keys) = watch::channel(KeySet::default());
    let feed = Feed {
        client,
        index: Index::new(settings, keys, true),
        restarts: Revision::new(|| ()).1,
        first_lists: FirstLists::new(Feed::WATCHES),
    };
    let (index, lists, listener) =
        (feed.index.clone(), feed.first_lists.clone(), Panics::default());
    tokio::select! {
        () = feed.run(&listener) => panic!("a feed does not end"),
        () = lists.all() => {}
    }
    assert!(index.is_complete() && index.grant("odd").is_some());
    let told = listener.0.into_inner().unwrap();
    let of_grants: Vec<&str> = told.iter().map(String::as_str).collect();
    let first = of_grants.iter().position(|name| *name == "a").unwrap();
    assert!(of_grants[first..].contains(&"everything") && of_grants.contains(&"z"), "{told:?}");
}

/// What stands before and after the watches were down, by the plural of its kind.
fn world(is_after: bool, path: &str) -> Vec<serde_json::Value> {
    let policy = |name: &str, generation: i64, effect: &str, mode: &str| {
        json!({
            "metadata": {"name": name, "uid": name, "generation": generation, "resourceVersion": "1"},
            "spec": {"effect": effect, "mode": mode, "requesters": [], "targets": []},
        })
    };
    let request = json!({
        "metadata": {"name": "fix", "namespace": "shop", "uid": "u", "resourceVersion": "1"},
        "spec": {
            "target": {"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}}},
            "reason": "Checkout fails", "requester": {"username": "alice", "groups": []},
        },
    });
    match (path.rsplit('/').next().unwrap_or_default(), is_after) {
        ("jitpolicies", false) => vec![
            policy("off", 1, "Allow", "Enforce"),
            policy("old", 1, "Allow", "Enforce"),
            policy("same", 1, "Allow", "Enforce"),
        ],
        ("jitpolicies", true) => vec![
            policy("ban", 1, "Deny", "Enforce"),
            policy("off", 2, "Allow", "Disabled"),
            policy("same", 1, "Allow", "Enforce"),
        ],
        ("accessrequests", false) => vec![request],
        ("grants", false) => vec![json!({"metadata": {"name": "g"}, "spec": {}})],
        _ => Vec::new(),
    }
}

/// An API server whose first watch of each kind finds that what it would tell is no longer kept: all is listed again.
fn forgetful_api_server() -> Client {
    let watched = Arc::new(Mutex::new(HashSet::new()));
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let watched = watched.clone();
        async move {
            let path = request.uri().path().to_owned();
            let is_watch = request.uri().query().unwrap_or_default().contains("watch=");
            let is_first = is_watch && watched.lock().unwrap().insert(path.clone());
            let is_after = watched.lock().unwrap().contains(&path);
            let body = match (is_watch, is_first) {
                (true, false) => std::future::pending().await,
                (true, true) => json!({"type": "ERROR", "object": {
                    "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                    "message": "too old resource version", "reason": "Expired", "code": 410,
                }}),
                (false, _) => json!({
                    "kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"},
                    "items": world(is_after, &path),
                }),
            };
            let body = Body::from(format!("{body}\n").into_bytes());
            Ok::<_, std::convert::Infallible>(Response::new(body))
        }
    });
    Client::new(service, "default")
}

/// What was told, in words.
struct Told {
    index: Index,
    told: Mutex<Vec<String>>,
}

impl Told {
    fn note(&self, name: &str, is_gone: bool) {
        let what = if is_gone { "is gone" } else { "stands" };
        self.told.lock().unwrap().push(format!("{name} {what}"));
    }

    fn has_all(&self, lines: &[&str]) -> bool {
        let told = self.told.lock().unwrap();
        lines.iter().all(|line| told.iter().any(|known| known == line))
    }
}

impl Listener for Told {
    fn policy(&self, change: Change<Arc<KnownPolicy>>, is_listed: bool) {
        if is_listed {
            return;
        }
        assert!(self.index.policies().found().is_some(), "not all are known yet");
        let known = change.after.as_ref().or(change.before.as_ref()).unwrap();
        self.note(&known.state.name, change.after.is_none());
    }

    fn request(&self, change: Change<KnownRequest>) {
        let known = change.after.as_ref().or(change.before.as_ref()).unwrap();
        self.note(&known.name, change.after.is_none());
    }

    fn grant(&self, change: Change<KnownGrant>) {
        let known = change.after.as_ref().or(change.before.as_ref()).unwrap();
        self.note(&known.name, change.after.is_none());
    }
}

/// It may end rights, which is not to wait until everything was looked at.
#[tokio::test(start_paused = true)]
async fn what_changed_while_a_watch_was_down_is_told_by_name() {
    let (_, keys) = watch::channel(KeySet::default());
    let feed = Feed {
        client: forgetful_api_server(),
        index: Index::new(crate::index::testing_settings(), keys, true),
        restarts: Revision::new(|| ()).1,
        first_lists: FirstLists::new(Feed::WATCHES),
    };
    let listener = Told { index: feed.index.clone(), told: Mutex::default() };
    let expected = ["ban stands", "off stands", "old is gone", "fix is gone", "g is gone"];
    let told = async {
        while !listener.has_all(&expected) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::select! {
        () = feed.run(&listener) => panic!("a feed does not end"),
        waited = tokio::time::timeout(Duration::from_mins(1), told) => waited,
    };
    let told = listener.told.lock().unwrap();
    assert!(waited.is_ok(), "{told:?}");
    assert!(!told.contains(&"same stands".to_owned()), "nothing of it changed: {told:?}");
}
