use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Request, Response};
use kube::client::Body;
use lapse_crds::{Grant, RequestPhase};
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::Stored;

/// An API server that gives these answers, one after the other, and then none; and what it is asked.
fn api_server(answers: Vec<(u16, String)>) -> (Client, Arc<Mutex<Vec<String>>>) {
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let (noted, answers) = (asked.clone(), Arc::new(Mutex::new(answers.into_iter())));
    let service = tower::service_fn(move |request: Request<Body>| {
        noted.lock().unwrap().push(request.uri().query().unwrap_or_default().to_owned());
        let answer = answers.lock().unwrap().next();
        async move {
            let (code, body) = match answer {
                Some(answer) => answer,
                None => std::future::pending().await,
            };
            let body = Body::from(body.into_bytes());
            Ok::<_, Infallible>(Response::builder().status(code).body(body).unwrap())
        }
    });
    (Client::new(service, "default"), asked)
}

fn grant(name: &str, version: &str) -> Value {
    json!({"metadata": {"name": name, "resourceVersion": version}, "spec": {}})
}

fn page(names: &[&str], revision: &str, rest: Option<&str>) -> (u16, String) {
    let items: Vec<Value> = names.iter().map(|name| grant(name, "1")).collect();
    let metadata = json!({"resourceVersion": revision, "continue": rest.unwrap_or_default()});
    let list = json!({
        "kind": "GrantList", "apiVersion": "lapse.dev/v1alpha1", "metadata": metadata, "items": items,
    });
    (200, list.to_string())
}

/// How an API server says that it does not keep what it is asked for any more.
fn expired() -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 410, "reason": "Expired",
        "message": "too old",
    })
}

fn events(all: &[(&str, Value)]) -> (u16, String) {
    // The kind comes first, as from an API server: otherwise the object is not read as it stands.
    let line =
        |(kind, object): &(&str, Value)| format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n");
    (200, all.iter().map(line).collect())
}

/// The first of what is shown, in words, and what the API server was asked for it.
async fn shown(answers: Vec<(u16, String)>, count: usize) -> (Vec<String>, Vec<String>) {
    let (client, asked) = api_server(answers);
    let events = live(Api::<Stored<Grant>>::all(client), LIVE_GRANTS, Some(2));
    let words = events.take(count).map(|event| match event {
        Ok(Event::Init) => "begins".to_owned(),
        Ok(Event::InitApply(grant)) => format!("lists {}", grant.name_any()),
        Ok(Event::InitDone) => "is listed".to_owned(),
        Ok(Event::Apply(grant)) => format!("shows {}", grant.name_any()),
        Ok(Event::Delete(grant)) => format!("deletes {}", grant.name_any()),
        Err(_) => "fails".to_owned(),
    });
    let words = words.collect().await;
    let asked = asked.lock().unwrap().clone();
    (words, asked)
}

#[test]
fn requests_are_live_in_no_final_phase() {
    let [fields] = LIVE_REQUESTS else { panic!("{LIVE_REQUESTS:?}") };
    let named = fields.split(',').map(|field| field.strip_prefix("status.phase!=").unwrap());
    let named: BTreeSet<String> = named.map(ToOwned::to_owned).collect();
    let over = RequestPhase::ALL.into_iter().filter(|phase| phase.is_terminal());
    assert_eq!(named, over.map(|phase| phase.to_string()).collect());
}

/// What comes to its end is shown as it is, and not as if it were gone: the watch goes by no field.
#[tokio::test]
async fn what_is_live_is_listed_and_everything_is_watched_from_there_on() {
    let answers = vec![
        page(&["a", "b"], "7", Some("more")),
        page(&["c"], "7", None),
        page(&["urgent"], "9", None),
        events(&[("MODIFIED", grant("a", "8")), ("DELETED", grant("b", "10"))]),
    ];
    let (words, asked) = shown(answers, 8).await;
    let expected = [
        "begins",
        "lists a",
        "lists b",
        "lists c",
        "lists urgent",
        "is listed",
        "shows a",
        "deletes b",
    ];
    assert_eq!(words, expected);
    assert!(asked[0].contains("fieldSelector=status.phase%21%3DEnded&"), "{asked:?}");
    assert!(asked[1].contains("continue=more"), "{asked:?}");
    assert!(asked[2].contains("spec.emergency%3Dtrue"), "{asked:?}");
    let of_watch = &asked[3];
    assert!(of_watch.contains("watch=true") && !of_watch.contains("fieldSelector"), "{of_watch}");
    assert!(of_watch.contains("resourceVersion=7"), "from the first page on: {of_watch}");
}

/// It goes on where it was, as far as the API server has told.
#[tokio::test]
async fn a_watch_that_ends_goes_on_where_it_was() {
    let mark = json!({
        "kind": "Grant", "apiVersion": "lapse.dev/v1alpha1", "metadata": {"resourceVersion": "12"},
    });
    let answers = vec![
        page(&["a"], "7", None),
        page(&[], "7", None),
        events(&[("MODIFIED", grant("a", "8"))]),
        events(&[("BOOKMARK", mark)]),
        events(&[("ADDED", grant("b", "15"))]),
    ];
    let (words, asked) = shown(answers, 5).await;
    assert_eq!(words, ["begins", "lists a", "is listed", "shows a", "shows b"]);
    let since: Vec<bool> = ["7", "8", "12"]
        .iter()
        .zip(&asked[2..])
        .map(|(since, asked)| asked.contains(&format!("resourceVersion={since}")))
        .collect();
    assert_eq!(since, [true; 3], "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_kept_any_more_is_listed_anew() {
    let in_the_middle = vec![
        page(&["a", "b"], "7", Some("more")),
        (410, expired().to_string()),
        page(&["a"], "9", None),
        page(&[], "9", None),
    ];
    let (words, _) = shown(in_the_middle, 7).await;
    let expected = ["begins", "lists a", "lists b", "fails", "begins", "lists a", "is listed"];
    assert_eq!(words, expected);

    let while_watching = vec![
        page(&["a"], "7", None),
        page(&[], "7", None),
        events(&[("ERROR", expired())]),
        page(&[], "20", None),
        page(&[], "20", None),
    ];
    let (words, _) = shown(while_watching, 6).await;
    assert_eq!(words, ["begins", "lists a", "is listed", "fails", "begins", "is listed"]);
}

#[tokio::test(start_paused = true)]
async fn a_list_without_a_revision_is_none() {
    let (words, _) = shown(vec![page(&["a"], "", None), page(&[], "", None)], 3).await;
    assert_eq!(words, ["begins", "lists a", "fails"]);
}

/// An API server that reads everything from its store for a page is asked for all at once.
#[rstest]
#[case::of_today("36", Some(7))]
#[case::the_first_that_keeps_pages("34+", Some(7))]
#[case::earlier("33", None)]
#[case::unreadable("", Some(7))]
#[tokio::test]
async fn pages_are_asked_for_where_they_spare_anything(
    #[case] minor: &str,
    #[case] expected: Option<u32>,
) {
    let mut version = json!({"major": "1", "minor": minor});
    for field in [
        "gitVersion",
        "gitCommit",
        "gitTreeState",
        "buildDate",
        "goVersion",
        "compiler",
        "platform",
    ] {
        version[field] = json!("");
    }
    let (client, _) = api_server(vec![(200, version.to_string())]);
    assert_eq!(page_of(&client, 7).await, expected);
    let (client, _) = api_server(vec![(503, expired().to_string())]);
    assert_eq!(page_of(&client, 7).await, Some(7));
}
