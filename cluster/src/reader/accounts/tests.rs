use std::convert::Infallible;
use std::sync::Mutex;

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use lapse_engine::attest::KeySet;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::*;
use crate::index::{Index, all_is_listed, testing_settings};
use crate::testing::stored;

/// A reader in front of an API server with a service account in each namespace, bound to a role in `shop`; and what is
/// listed there.
fn reader() -> (Reader, Arc<Mutex<Vec<String>>>) {
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let noted = asked.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or_default();
        noted.lock().unwrap().push(format!("{path}?{query}"));
        let items: Value = match path.rsplit('/').next() {
            Some("serviceaccounts") => {
                let namespace = path.split('/').nth(4).unwrap();
                json!([{"metadata": {"name": "bot", "namespace": namespace}}])
            }
            Some("rolebindings") => json!([{
                "metadata": {"name": "bots", "namespace": "shop"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "secrets"},
                "subjects": [{"kind": "ServiceAccount", "name": "bot"}, {"kind": "User", "name": "alice"}],
            }]),
            _ => json!([]),
        };
        let list = if path.ends_with("/roles/secrets") {
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
                "metadata": {"name": "secrets", "namespace": "shop"},
                "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}],
            })
        } else {
            let metadata = json!({"resourceVersion": "7"});
            json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items})
        };
        let body = Body::from(list.to_string().into_bytes());
        async move { Ok::<_, Infallible>(Response::new(body)) }
    });
    let (_, keys) = watch::channel(KeySet::default());
    let index = Index::new(testing_settings(), keys.clone(), false);
    all_is_listed(&index);
    (Reader::new(Client::new(service, "default"), index, keys), asked)
}

async fn bound(reader: &Reader, namespace: &str) -> usize {
    let namespaces = BTreeSet::from([namespace.to_owned()]);
    let (accounts, _) = reader.read_accounts(&namespaces).await.unwrap();
    accounts.iter().map(|account| account.roles.len()).sum()
}

fn lists_of_bindings(asked: &Mutex<Vec<String>>) -> Vec<String> {
    let all = std::mem::take(&mut *asked.lock().unwrap());
    all.into_iter().filter(|asked| asked.contains("rolebindings?")).collect()
}

/// They are those of the whole cluster, and many ask at once.
#[tokio::test(start_paused = true)]
async fn the_bindings_are_listed_once_for_all_namespaces() {
    let (reader, asked) = reader();
    assert_eq!((bound(&reader, "shop").await, bound(&reader, "bank").await), (1, 0));
    let lists = lists_of_bindings(&asked);
    assert_eq!(lists.len(), 2, "one for each kind: {lists:?}");
    tokio::time::advance(std::time::Duration::from_secs(6)).await;
    assert_eq!(bound(&reader, "bank").await, 0);
    assert_eq!(lists_of_bindings(&asked).len(), 2, "nobody watches them");
    reader.forget_accounts();
    assert_eq!(bound(&reader, "shop").await, 1);
    assert_eq!(lists_of_bindings(&asked).len(), 2);
}

/// Of those that Lapse made there are as many as rights are held, and mostly none is for a service account.
#[tokio::test]
async fn the_bindings_of_people_are_left_out() {
    let (reader, asked) = reader();
    let others = "labelSelector=app.kubernetes.io%2Fmanaged-by%21%3Dlapse";
    bound(&reader, "shop").await;
    let lists = lists_of_bindings(&asked);
    assert!(lists.iter().all(|list| list.contains(others)), "{lists:?}");
    let held = |subject: Value| {
        json!({
            "metadata": {"name": "g", "uid": "g", "resourceVersion": "1"},
            "spec": {
                "request": {"namespace": "shop", "name": "fix", "uid": "r"},
                "policy": {"name": "shop", "uid": "p", "generation": 1},
                "subject": subject, "rulesHash": "h",
                "target": {"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}}},
                "startsAt": "2026-11-28T10:00:00Z", "expiresAt": "2099-11-28T11:00:00Z",
            },
            "status": {"phase": "Active"},
        })
    };
    let bot = json!({"kind": "ServiceAccount", "name": "ci", "namespace": "ci"});
    for (subject, are_left_out) in [(json!({"kind": "User", "name": "alice"}), true), (bot, false)]
    {
        reader.index().apply_grant(&stored(&held(subject)));
        reader.forget_accounts();
        bound(&reader, "shop").await;
        let lists = lists_of_bindings(&asked);
        assert!(lists.iter().all(|list| list.contains(others) == are_left_out), "{lists:?}");
        drop(reader.index().grant_gone("g"));
    }
    reader.index().doubt();
    reader.forget_accounts();
    bound(&reader, "shop").await;
    let lists = lists_of_bindings(&asked);
    assert!(lists.iter().all(|list| !list.contains(others)), "who holds what is not known");
}
