use std::convert::Infallible;
use std::sync::Arc;

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use lapse_cluster::index::About;
use lapse_engine::attest::KeySet;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::*;
use crate::fake::{refusal, touched};

/// An API server that answers lists with nothing, of revision 7, and watches with these events. Lists of what was said in
/// the namespace `odd` fail.
struct Cluster {
    reader: Reader,
    asked: Arc<Mutex<Vec<String>>>,
    is_odd: watch::Sender<bool>,
}

fn cluster(lists: Vec<Value>, events: &[Value]) -> Cluster {
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let (is_odd, odd) = watch::channel(true);
    let noted = asked.clone();
    // The kind comes first, as from an API server: otherwise the object is not read as it stands.
    let line =
        |event: &Value| format!("{{\"type\":{},\"object\":{}}}\n", event["type"], event["object"]);
    let told = events.iter().map(line).collect::<Vec<_>>().concat();
    let service = tower::service_fn(move |request: Request<Body>| {
        let asked =
            format!("{}?{}", request.uri().path(), request.uri().query().unwrap_or_default());
        let is_refused = *odd.borrow() && asked.contains("/namespaces/odd/");
        let list = json!({
            "kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "7"}, "items": lists,
        });
        let (code, answer) = match refusal(500, "InternalError") {
            (code, why) if is_refused => (code, why.to_string()),
            _ if asked.contains("watch=true") => (200, told.clone()),
            _ => (200, list.to_string()),
        };
        noted.lock().unwrap().push(asked);
        let body = Body::from(answer.into_bytes());
        let answer = Response::builder().status(code).body(body).unwrap();
        async move { Ok::<_, Infallible>(answer) }
    });
    let (_, keys) = watch::channel(KeySet::default());
    let reader = Reader::new(Client::new(service, "default"), touched().index, keys);
    Cluster { reader, asked, is_odd }
}

/// A decision about the request of this UID.
fn deny(name: &str, about: &str) -> Value {
    json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessDecision",
        "metadata": {"name": name, "namespace": "shop", "uid": name, "resourceVersion": "8"},
        "spec": {"request": {"name": "fix", "uid": about}, "verdict": "Deny"},
    })
}

fn mark(revision: &str) -> Value {
    json!({"type": "BOOKMARK", "object": {
        "kind": "AccessDecision", "apiVersion": "lapse.dev/v1alpha1", "metadata": {"resourceVersion": revision},
    }})
}

fn added(decision: &Value) -> Value {
    json!({"type": "ADDED", "object": decision})
}

#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Listener for Told {
    fn decision(&self, about: About) {
        self.0.lock().unwrap().push(about.uid.unwrap());
    }
}

fn about(namespace: &str, uid: &str) -> RequestRef {
    RequestRef { namespace: namespace.to_owned(), name: "fix".to_owned(), uid: uid.to_owned() }
}

impl Cluster {
    /// Looks, and returns about what something was found.
    async fn look(&self, looked: &Looked, held: &[RequestRef]) -> (Vec<String>, usize) {
        let (told, beats, blind) = (Told::default(), Heartbeat::new(), Blind::default());
        let said = Said { reader: &self.reader, listener: &told, beats: &beats, looked };
        let held: Vec<&RequestRef> = held.iter().collect();
        said.look(&held, &blind).await;
        (told.0.into_inner().unwrap(), blind.into_all().len())
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

fn since(revision: &str) -> Looked {
    let looked = Looked::default();
    looked.state().until = Some(revision.to_owned());
    looked
}

/// However much was said before: nothing is listed.
#[tokio::test(start_paused = true)]
async fn a_watch_tells_what_was_said_since_the_last_look() {
    let events = [added(&deny("no", "r-1")), added(&deny("of-another", "r-9")), mark("9")];
    let cluster = cluster(Vec::new(), &events);
    let looked = since("5");
    let held = [about("shop", "r-1"), about("shop", "r-2")];
    assert_eq!(cluster.look(&looked, &held).await, (vec!["r-1".to_owned()], 0));
    let asked = cluster.asked();
    let [watched] = &asked[..] else { panic!("{asked:?}") };
    assert!(watched.contains("watch=true") && watched.contains("resourceVersion=5"), "{watched}");
    assert_eq!(looked.state().until.as_deref(), Some("9"));
    assert_eq!(cluster.look(&looked, &held).await.0, [""; 0], "it is known by then");
    assert!(cluster.asked()[0].contains("resourceVersion=9"));
}

/// It may have told less than there is: one that is swallowed on the way is found by a list.
#[tokio::test(start_paused = true)]
async fn a_watch_that_does_not_say_how_far_it_has_told_counts_for_nothing() {
    let too_old = json!({"type": "ERROR", "object": {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 410, "reason": "Expired",
        "message": "too old",
    }});
    for events in [vec![], vec![too_old]] {
        let cluster = cluster(vec![deny("no", "r-1")], &events);
        let looked = since("5");
        let held = [about("shop", "r-1")];
        assert_eq!(cluster.look(&looked, &held).await, (vec!["r-1".to_owned()], 0));
        assert_eq!(cluster.asked().len(), 3, "a watch, how new it is, and what was said");
        assert_eq!(looked.state().until.as_deref(), Some("7"), "the next look goes on from there");
    }
}

/// What could be listed is not listed again in the next sweep.
#[tokio::test]
async fn a_look_at_all_that_is_held_goes_on_where_it_was() {
    let cluster = cluster(Vec::new(), &[]);
    let looked = Looked::default();
    let held = [about("shop", "r-1"), about("odd", "r-2"), about("shop", "r-3")];
    assert_eq!(cluster.look(&looked, &held).await, (vec![], 1));
    assert_eq!(cluster.asked().len(), 4);
    assert_eq!(looked.state().until, None, "one of them was not looked at");
    cluster.is_odd.send_replace(false);
    assert_eq!(cluster.look(&looked, &held).await, (vec![], 0));
    let asked = cluster.asked();
    assert!(matches!(&asked[..], [one] if one.contains("/namespaces/odd/")), "{asked:?}");
    assert_eq!(looked.state().until.as_deref(), Some("7"));
}

/// What was said before is in the list of what was said, which begins later.
#[tokio::test]
async fn nothing_is_listed_where_the_index_has_yet_to_begin() {
    let cluster = cluster(Vec::new(), &[]);
    let looked = Looked::default();
    looked.begin(&cluster.reader).await;
    assert_eq!(looked.state().until.as_deref(), Some("7"));
    looked.begin(&cluster.reader).await;
    assert_eq!(cluster.asked().len(), 1, "once is enough");

    let late = Looked::default();
    late.state().has_begun = true;
    late.begin(&cluster.reader).await;
    assert_eq!((late.state().until.clone(), cluster.asked().len()), (None, 0));
}
