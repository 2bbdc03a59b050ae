use chrono::TimeDelta;
use serde_json::json;

use super::*;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

fn seen(name: &str, uid: &str, stand: Stand) -> SeenGrant {
    SeenGrant {
        name: name.into(),
        endpoint_uid: uid.into(),
        request_uid: "r".into(),
        order: Arc::from(format!("order {name}")),
        expires_at: now() + TimeDelta::hours(1),
        stand,
    }
}

fn order(name: &str) -> Tell {
    Tell::Order(Arc::from(format!("order {name}")))
}

fn end(name: &str, reason: &'static str) -> Tell {
    Tell::End { grant: name.into(), reason, request_uid: "r".into() }
}

fn told(uid: &str, tell: Tell) -> Told {
    (uid.to_owned(), tell)
}

#[test]
fn an_agent_is_told_once_of_each_change() {
    let mut book = Book::default();
    assert_eq!(book.apply(seen("a", "u", Stand::Live), now()), Some(told("u", order("a"))));
    assert_eq!(book.apply(seen("a", "u", Stand::Live), now()), None);
    assert_eq!(book.apply(seen("a", "u", Stand::Ending), now()), Some(told("u", end("a", ENDING))));
    assert_eq!(book.apply(seen("a", "u", Stand::Ending), now()), None);
    assert_eq!(book.apply(seen("a", "u", Stand::Ended), now()), None);
    book.apply(seen("b", "u", Stand::Live), now());
    assert_eq!(book.apply(seen("b", "u", Stand::Ended), now()), Some(told("u", end("b", ENDED))));
    assert_eq!(book.apply(seen("b", "u", Stand::Ended), now()), None);
    assert!(book.is_empty() && book.of_endpoint.is_empty(), "{book:?}");
    assert_eq!(book.delete("a"), None);
}

#[test]
fn nobody_is_sent_what_is_past_its_time() {
    let mut book = Book::default();
    let mut late = seen("a", "u", Stand::Live);
    late.expires_at = now();
    assert_eq!(book.apply(late, now()), None);
    assert_eq!(book.at_hello("u", &[], now()), (vec![], vec![]));
}

#[test]
fn each_agent_hears_of_its_own_alone() {
    let mut book = Book::default();
    for (name, uid, stand) in
        [("a", "u", Stand::Live), ("b", "v", Stand::Live), ("c", "u", Stand::Ending)]
    {
        book.apply(seen(name, uid, stand), now());
    }
    let held = ["a", "b", "z"].map(str::to_owned);
    let (tells, unknown) = book.at_hello("u", &held, now());
    assert_eq!(tells, [order("a"), end("c", ENDING)]);
    assert_eq!(unknown, ["b", "z"]);
}

#[test]
fn what_a_new_list_lacks_has_ended_and_what_cannot_be_read_has_not() {
    let mut book = Book::default();
    for name in ["a", "b", "c"] {
        book.apply(seen(name, "u", Stand::Live), now());
    }
    assert!(!book.is_complete());
    book.begin();
    assert_eq!(book.apply(seen("a", "u", Stand::Live), now()), None);
    book.listed("c");
    assert_eq!(book.done(), [("u".to_owned(), end("b", DELETED))]);
    assert!(book.is_complete() && book.knows("a") && book.knows("c"));
    book.doubt();
    assert!(!book.is_complete() && book.knows("a"), "nothing ends by a doubt");
    book.begin();
    book.done();
    assert!(book.is_complete() && book.is_empty());
}

fn stored(change: impl FnOnce(&mut serde_json::Value)) -> Stored<Grant> {
    let mut grant = json!({
        "metadata": {"name": "g", "annotations": {ATTESTATION: "signed"}},
        "spec": {
            "request": {"uid": "r"},
            "target": {"endpoint": {"name": "web-1", "uid": "u", "later": [1.50, "x"]}},
            "expiresAt": "2027-01-01T00:00:00Z",
        },
    });
    change(&mut grant);
    serde_json::from_str(&grant.to_string()).unwrap()
}

#[test]
fn the_spec_goes_on_as_it_is_stored() {
    let seen = SeenGrant::read(&stored(|_| ())).unwrap().unwrap();
    assert_eq!((seen.endpoint_uid.as_str(), seen.stand), ("u", Stand::Live));
    let order: lapse_engine::order::Order = serde_json::from_str(&seen.order).unwrap();
    assert_eq!(order.spec["target"]["endpoint"]["later"], json!([1.50, "x"]));
    assert_eq!((order.grant.as_str(), order.attestation.as_str()), ("g", "signed"));
}

#[test]
fn what_is_deleted_ends_and_what_is_not_signed_is_not_carried() {
    let deleted = stored(|grant| {
        grant["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    });
    assert_eq!(SeenGrant::read(&deleted).unwrap().unwrap().stand, Stand::Ending);
    let unsigned = stored(|grant| grant["metadata"]["annotations"] = json!({}));
    assert!(matches!(SeenGrant::read(&unsigned), Err(UnreadableGrant::Unsigned)));
    let role = stored(|grant| grant["spec"]["target"] = json!({"kubernetes": {}}));
    assert_eq!(SeenGrant::read(&role).unwrap(), None);
    let broken = stored(|grant| grant["spec"]["target"] = json!(7));
    assert!(matches!(SeenGrant::read(&broken), Err(UnreadableGrant::Malformed(_))));
}
