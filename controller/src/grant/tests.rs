use std::sync::{Arc, Mutex, OnceLock};

use http::Method;
use lapse_cluster::index::Index;
use serde_json::json;

use super::*;
use crate::fake::{api_server, context, gone, held, refusal};
use crate::lease::Leadership;

/// What becomes of a right that is to be given, looked at in this lane by who leads, and whether anything is written.
async fn looked_at(lane: Lane, is_emergency: bool) -> (Done, bool) {
    let mut grant = held("fix", "2999-01-01T00:00:00Z");
    grant.spec.emergency = is_emergency;
    grant.status.as_mut().unwrap().phase = GrantPhase::Pending;
    let (written, stored) = (Arc::new(Mutex::new(false)), json!(grant));
    let writes = written.clone();
    let client = api_server(move |request| {
        *writes.lock().unwrap() |= *request.method() != Method::GET;
        let is_asked_for = request.uri().path().contains("/grants/fix");
        let answer = if is_asked_for { (200, stored.clone()) } else { refusal(500, "Internal") };
        async move { answer }
    });
    let context = Context { leadership: Leadership::of_the_leader(), ..context(client) };
    drop(context.touched.index.wrote_grant(&grant));
    let done = reconcile(&context, "fix", lane).await.unwrap();
    let is_written = *written.lock().unwrap();
    (done, is_written)
}

/// It cannot be deleted, and who stores status hangs.
#[tokio::test(start_paused = true)]
async fn what_could_not_be_taken_is_tried_again_whether_or_not_that_can_be_said() {
    let grant = held("fix", "2026-01-02T00:00:00Z");
    let stored = json!(grant);
    let client = api_server(move |request| {
        let stored = stored.clone();
        async move {
            let path = request.uri().path().to_owned();
            match *request.method() {
                Method::DELETE => refusal(500, "Internal"),
                Method::PUT => std::future::pending().await,
                _ if path.ends_with("/grants/fix") => (200, stored),
                _ if path.ends_with("/rolebindings/lapse:fix") => {
                    (200, json!({"metadata": {"name": "lapse:fix", "uid": "b"}}))
                }
                _ => refusal(404, "NotFound"),
            }
        }
    });
    let context = context(client);
    drop(context.touched.index.wrote_grant(&grant));
    let begun = tokio::time::Instant::now();
    let failure = reconcile(&context, "fix", Lane::Follow).await.unwrap_err();
    assert!(failure.keeps_a_right(), "{failure}");
    assert!(begun.elapsed() < 2 * SAID_WITHIN, "it took {:?}", begun.elapsed());
}

/// Whoever gives it waits for an answer that was swallowed, and somebody denies it.
#[tokio::test(start_paused = true)]
async fn what_ends_a_right_waits_a_second_at_the_most_for_who_gives_it() {
    let grant = held("fix", "2026-01-02T00:00:00Z");
    let (stored, deleted) = (json!(grant), Arc::new(Mutex::new(false)));
    let done = deleted.clone();
    let client = api_server(move |request| {
        let (stored, path) = (stored.clone(), request.uri().path().to_owned());
        let mut done = done.lock().unwrap();
        *done |= *request.method() == Method::DELETE;
        let answer = match *request.method() {
            Method::DELETE => gone(),
            Method::PUT => refusal(500, "Internal"),
            _ if path.ends_with("/grants/fix") => (200, stored),
            _ if path.ends_with("/rolebindings/lapse:fix") && !*done => {
                (200, json!({"metadata": {"name": "lapse:fix", "uid": "b"}}))
            }
            _ => refusal(404, "NotFound"),
        };
        async move { answer }
    });
    let context = context(client);
    drop(context.touched.index.wrote_grant(&grant));
    let given = context.touched.in_hand.take("fix");
    for lane in [Lane::Give, Lane::Follow] {
        let waits = reconcile(&context, "fix", lane).await;
        assert!(matches!(waits, Ok(Done::Until(None))), "{waits:?}");
    }
    let waits = reconcile(&context, "fix", Lane::End).await;
    assert!(matches!(waits, Ok(Done::HeldUntil(_))), "{waits:?}");
    assert!(!*deleted.lock().unwrap());
    tokio::time::advance(Duration::from_secs(1)).await;
    drop(reconcile(&context, "fix", Lane::End).await);
    assert!(*deleted.lock().unwrap());
    let waits = reconcile(&context, "fix", Lane::Give).await;
    assert!(matches!(waits, Ok(Done::Until(None))), "it is given by one alone: {waits:?}");
    drop(given);
}

/// An outage: what else may end it is not looked up.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_told_of_a_right_is_looked_for_again_beside_what_ends() {
    for (phase, lane) in [(GrantPhase::Active, Lane::Follow), (GrantPhase::Ending, Lane::End)] {
        let mut grant = held("fix", "2999-01-01T00:00:00Z");
        grant.status.as_mut().unwrap().phase = phase;
        let stored = json!(grant);
        let client = api_server(move |request| {
            let is_asked_for = request.uri().path().contains("/grants/fix");
            let answer =
                if is_asked_for { (200, stored.clone()) } else { refusal(500, "Internal") };
            async move { answer }
        });
        let context = context(client);
        drop(context.touched.index.wrote_grant(&grant));
        let done = reconcile(&context, "fix", lane).await;
        assert!(matches!(done, Ok(Done::UnsureUntil(_))), "{phase}: {done:?}");
    }
}

/// Somebody denied it, say, and the decision counts for nothing.
#[tokio::test(start_paused = true)]
async fn what_is_to_be_given_is_given_in_no_place_of_what_ends() {
    for (is_emergency, to_give) in [(false, Lane::Give), (true, Lane::Emergency)] {
        for lane in [Lane::End, Lane::Held, Lane::Again, Lane::Give, Lane::Follow] {
            let (done, is_written) = looked_at(lane, is_emergency).await;
            assert!(matches!(done, Done::ToGive(lane, _) if lane == to_give), "{done:?}");
            assert_eq!(is_written, !lane.may_end(), "in {lane:?}");
        }
    }
}

/// What an API server is asked for when the time of a right is up: `meanwhile` is done when its binding is deleted, and says
/// what is stored of its Grant then.
async fn asked_at_its_end(
    meanwhile: impl Fn(&Index) -> Grant + Send + Sync + 'static,
) -> Vec<String> {
    let grant = held("fix", "2026-01-02T00:00:00Z");
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let (stored, told) = (Arc::new(Mutex::new(grant.clone())), asked.clone());
    let (index, meanwhile) = (Arc::new(OnceLock::<Index>::new()), Arc::new(meanwhile));
    let known = index.clone();
    let client = api_server(move |request| {
        let path = request.uri().path().to_owned();
        let is_gone = told.lock().unwrap().iter().any(|call| call.starts_with("DELETE"));
        told.lock().unwrap().push(format!("{} {path}", request.method()));
        let is_binding = path.ends_with("/rolebindings/lapse:fix");
        let answer = match *request.method() {
            Method::DELETE => {
                *stored.lock().unwrap() = meanwhile(known.get().unwrap());
                gone()
            }
            Method::PUT => (200, json!(ended())),
            _ if is_binding && !is_gone => {
                (200, json!({"metadata": {"name": "lapse:fix", "uid": "b"}}))
            }
            _ if path.ends_with("/grants/fix") => (200, json!(*stored.lock().unwrap())),
            _ => refusal(404, "NotFound"),
        };
        async move { answer }
    });
    let context = context(client);
    index.set(context.touched.index.clone()).unwrap_or_else(|_| panic!("it is set once"));
    drop(context.touched.index.wrote_grant(&grant));
    reconcile(&context, "fix", Lane::End).await.unwrap();
    asked.lock().unwrap().clone()
}

/// As it is stored once it has ended.
fn ended() -> Grant {
    let mut ended = held("fix", "2026-01-02T00:00:00Z");
    ended.metadata.resource_version = Some("2".to_owned());
    ended.status.as_mut().unwrap().phase = GrantPhase::Ended;
    ended
}

fn count(asked: &[String], method: &str, what: &str) -> usize {
    asked.iter().filter(|call| call.starts_with(method) && call.ends_with(what)).count()
}

/// Its Grant, which has kilobytes, is read once; what stands of it before and after.
#[tokio::test(start_paused = true)]
async fn a_right_that_ends_is_verified_to_be_gone_by_its_objects_alone() {
    let asked = asked_at_its_end(|_| held("fix", "2026-01-02T00:00:00Z")).await;
    assert_eq!(count(&asked, "GET", "/grants/fix"), 1, "{asked:?}");
    assert_eq!(count(&asked, "GET", "/rolebindings/lapse:fix"), 2, "{asked:?}");
    assert_eq!(count(&asked, "DELETE", "/rolebindings/lapse:fix"), 1, "{asked:?}");
    assert_eq!(count(&asked, "PUT", "/grants/fix/status"), 1, "{asked:?}");
    assert_eq!(asked.len(), 5, "{asked:?}");
}

/// Another replica has said meanwhile that it has ended.
#[tokio::test(start_paused = true)]
async fn a_grant_that_changes_while_its_right_ends_is_read_again() {
    let asked = asked_at_its_end(|index| {
        drop(index.wrote_grant(&ended()));
        ended()
    })
    .await;
    assert_eq!(count(&asked, "GET", "/grants/fix"), 2, "{asked:?}");
    assert_eq!(count(&asked, "PUT", ""), 0, "{asked:?}");
}
