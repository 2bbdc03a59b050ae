//! What is over, as it is read beside what happens.

use lapse_crds::Grant;

use super::*;

/// What is live has been listed, and nothing that is over has been read.
fn with_an_unread_past() -> Index {
    let (_, keys) = watch::channel(KeySet::default());
    let index = Index::new(settings(), keys, true);
    for kind in Indexed::ALL {
        index.begin(kind);
        index.done(kind);
    }
    index
}

/// The list of what is live of a kind that was begun last.
pub(super) fn list_of(index: &Index, kind: Indexed) -> u64 {
    index.tables().round(kind)
}

pub(super) fn list_anew(index: &Index, kind: Indexed) {
    index.begin(kind);
    index.done(kind);
}

pub(super) fn name_of_grant(name: &str) -> String {
    grant_name("shop", name, &format!("uid-of-{name}"))
}

/// The requests whose Grants the index names as what alice has held.
pub(super) fn held(index: &Index, extends: Option<(&str, &str)>) -> Option<Vec<String>> {
    let peers = index.peers(&alice(), extends);
    let grants = peers.found()?.grants.iter().map(|grant| grant.request.name.clone());
    Some(grants.collect())
}

fn recent(name: &str, version: u64) -> Stored<Grant> {
    let mut recent = grant(name, version, "Ended");
    recent["status"]["endedAt"] = json!(clock::now().to_rfc3339());
    stored(&recent)
}

#[test]
fn nothing_follows_from_what_has_not_been_read() {
    let index = with_an_unread_past();
    index.apply_grant(&stored(&grant("fix", 1, "Active")));
    let extends = Some(("shop", "fix"));
    assert!(index.is_complete() && index.knows_live_grants());
    assert!(!index.knows_all_grants() && !index.knows_past());
    assert_eq!(index.held(&alice()).found().unwrap().len(), 1, "it is live");
    let Read::Failed(why) = index.peers(&alice(), None) else { panic!("something is missing") };
    assert_eq!(why, "not all that is over has been read yet");
    let (kind, list) = index.unread().unwrap();
    assert_eq!(kind, Indexed::Grants, "more depends on them");
    index.done_over(kind, list);
    assert!(index.knows_all_grants() && !index.knows_past());
    assert_eq!(held(&index, None).unwrap(), ["fix"]);
    assert!(held(&index, extends).is_none(), "what has extended it may be over");
    let (kind, list) = index.unread().unwrap();
    index.done_over(kind, list);
    assert!(index.knows_past() && index.unread().is_none());
    assert_eq!(held(&index, extends).unwrap(), ["fix"]);
    list_anew(&index, Indexed::Grants);
    assert!(held(&index, None).is_none(), "what happened meanwhile to what is over is not known");
    index.doubt();
    assert!(index.unread().is_none(), "what is live comes first");
}

#[test]
fn what_comes_to_its_end_is_over_and_not_gone() {
    let index = with_an_unread_past();
    index.apply_request(&stored(&request("fix", 1, "Active")));
    index.apply_grant(&stored(&grant("fix", 1, "Active")));
    index.apply_request(&stored(&request("fix", 3, "Ended")));
    index.apply_grant(&recent("fix", 2));
    all_is_read(&index);
    assert!(index.has_request(UID) && index.past_grants(9).is_empty());
    assert_eq!(held(&index, None).unwrap(), ["fix"]);
}

/// A list of what is live does not name what is gone, and what has ended: the pages tell which it is.
#[test]
fn what_has_ended_while_nobody_watched_is_found_among_what_is_over() {
    let index = with_an_unread_past();
    for name in ["gone", "over"] {
        index.apply_request(&stored(&request(name, 1, "Active")));
        index.apply_grant(&stored(&grant(name, 1, "Active")));
    }
    index.begin(Indexed::Requests);
    assert_eq!(index.done(Indexed::Requests).requests.len(), 2, "they are looked at");
    index.begin(Indexed::Grants);
    assert_eq!(index.done(Indexed::Grants).grants.len(), 2);
    let list = list_of(&index, Indexed::Grants);
    let told = index.apply_over_grant(list, &recent("over", 5)).unwrap();
    assert!(told.before.is_none() && told.after.unwrap().is_over());
    index.done_over(Indexed::Grants, list);
    let list = list_of(&index, Indexed::Requests);
    index.apply_over_request(list, &stored(&request("over", 6, "Ended")));
    index.done_over(Indexed::Requests, list);
    assert_eq!(held(&index, None).unwrap(), ["over"]);
    assert!(index.has_request("uid-of-over") && !index.has_request("uid-of-gone"));
    assert!(index.past_grants(9).is_empty(), "its request is there");
}

#[test]
fn what_a_page_says_of_something_live_is_passed_over() {
    let index = with_an_unread_past();
    let (requests, grants) = (list_of(&index, Indexed::Requests), list_of(&index, Indexed::Grants));
    // It may have ended since, and the watch have told of that.
    assert!(index.apply_over_grant(grants, &stored(&grant("fix", 1, "Active"))).is_none());
    assert!(index.apply_over_request(requests, &stored(&request("fix", 1, "Active"))).is_none());
    assert!(index.live_grants().is_empty() && index.open_requests().is_empty());
}

/// By then it is gone, or reviewed, or there again: a Grant that was restored from a backup.
#[test]
fn a_page_says_nothing_about_what_was_shown_meanwhile() {
    let index = with_an_unread_past();
    let (requests, grants) = (list_of(&index, Indexed::Requests), list_of(&index, Indexed::Grants));
    let (ended, over) = (stored(&request("fix", 2, "Ended")), recent("fix", 2));
    index.delete_request(&stored(&request("fix", 3, "Ended")));
    assert!(index.apply_over_request(requests, &ended).is_none());
    assert!(!index.has_request(UID));
    index.delete_grant(&recent("fix", 3));
    assert!(index.apply_over_grant(grants, &over).is_none());
    assert!(index.grant(&name_of_grant("fix")).is_none());
    let mut restored = grant("fix", 4, "Active");
    restored["metadata"]["uid"] = json!("another");
    index.apply_grant(&stored(&restored));
    assert!(index.apply_over_grant(grants, &over).is_none());
    assert_eq!(index.live_grants().len(), 1);

    let mut reviewed = request("urgent", 6, "Ended");
    let review = json!({"dueBy": "2026-11-29T10:00:00Z"});
    reviewed["status"]["review"] = review.clone();
    let awaiting = stored(&reviewed);
    reviewed["status"]["review"]["reviewedBy"] = json!("carol");
    reviewed["metadata"]["resourceVersion"] = json!("7");
    index.apply_request(&stored(&reviewed));
    assert!(index.apply_over_request(requests, &awaiting).is_none());
    assert!(index.open_requests().is_empty(), "it was reviewed");
    all_is_read(&index);
    assert!(index.has_request("uid-of-urgent"));
}

/// Something may still happen to it, and until now nobody could tell whoever sees to that.
#[test]
fn what_is_over_and_not_settled_is_told_whoever_knew_it() {
    let index = with_an_unread_past();
    let list = list_of(&index, Indexed::Grants);
    let mut leaving = grant("fix", 2, "Ended");
    leaving["metadata"]["deletionTimestamp"] = json!("2026-11-28T11:00:00Z");
    leaving["status"]["endedAt"] = json!(clock::now().to_rfc3339());
    let leaving = stored(&leaving);
    index.apply_early_grant(list, &leaving);
    let told = index.apply_over_grant(list, &leaving).unwrap();
    assert!(told.before.is_some() && told.after.unwrap().is_open());
    assert!(index.apply_over_grant(list, &recent("settled", 3)).is_some());
    assert!(index.apply_over_grant(list, &recent("settled", 3)).is_none(), "it was told");
    assert_eq!(index.open_grants(), [name_of_grant("fix")]);
}

#[test]
fn pages_of_before_a_list_of_what_is_live_say_nothing() {
    let index = with_an_unread_past();
    let (requests, grants) = (list_of(&index, Indexed::Requests), list_of(&index, Indexed::Grants));
    list_anew(&index, Indexed::Requests);
    list_anew(&index, Indexed::Grants);
    let ended = stored(&request("fix", 2, "Ended"));
    assert!(index.apply_over_request(requests, &ended).is_none());
    assert!(index.apply_over_grant(grants, &recent("fix", 2)).is_none());
    index.apply_early_grant(grants, &recent("fix", 2));
    index.apply_early_request(requests, &ended);
    index.done_early(Part::GrantsOf(subject_of(&alice()).unwrap()), grants);
    index.done_over(Indexed::Grants, grants);
    assert!(!index.has_request(UID) && index.grant(&name_of_grant("fix")).is_none());
    assert!(held(&index, None).is_none() && !index.knows_all_grants());
    // A restored store is forgotten with its lists.
    let list = list_of(&index, Indexed::Grants);
    index.forget(Indexed::Grants);
    list_anew(&index, Indexed::Grants);
    assert!(index.apply_over_grant(list, &recent("fix", 2)).is_none());
}

#[test]
fn what_is_over_of_a_person_may_be_read_before_the_rest() {
    let index = with_an_unread_past();
    index.apply_request(&stored(&request("active", 1, "Active")));
    index.apply_grant(&stored(&grant("active", 1, "Active")));
    let extends = Some(("shop", "active"));
    let [grants, requests] = index.unread_of(&alice(), extends).try_into().unwrap();
    assert_eq!(index.unread_of(&alice(), None), std::slice::from_ref(&grants));
    let list = index.list_before(&grants).unwrap();
    index.apply_early_grant(list, &recent("over", 2));
    index.apply_early_grant(list, &recent("rival", 3));
    // A watch is the one to say what became of something live, so that it is told.
    index.apply_early_grant(list, &recent("active", 4));
    assert!(held(&index, None).is_none(), "that was not all");
    index.done_early(grants.clone(), list);
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    assert_eq!(sorted(held(&index, None).unwrap()), ["active", "over", "rival"]);
    assert_eq!(index.live_grants().len(), 1);
    assert!(held(&index, extends).is_none());
    let list = index.list_before(&requests).unwrap();
    let mut rival = request("rival", 3, "Ended");
    rival["spec"]["extends"] = json!("active");
    index.apply_early_request(list, &stored(&rival));
    index.done_early(requests, list);
    let peers = index.peers(&alice(), extends);
    let names = peers.found().unwrap().requests.iter().map(|request| request.name.clone());
    assert_eq!(sorted(names.collect()), ["active", "rival"]);
    let bob = Identity { username: "bob".into(), ..Identity::default() };
    assert!(matches!(index.peers(&bob, None), Read::Failed(_)), "of bob nothing was read");
    assert!(index.unread_of(&alice(), extends).is_empty() && !index.knows_past());

    // The next list of what is live ends that, and what is not named any more is gone then.
    list_anew(&index, Indexed::Grants);
    let list = index.list_before(&grants).unwrap();
    index.apply_early_grant(list, &recent("over", 2));
    index.done_early(grants, list);
    assert_eq!(held(&index, None).unwrap(), ["over"]);
}

/// What is live is not listed whole while it is listed anew, so pages that are read then may be older.
#[test]
fn nothing_that_is_over_is_read_while_what_is_live_is_listed() {
    let index = with_an_unread_past();
    let [part] = index.unread_of(&alice(), None).try_into().unwrap();
    index.begin(Indexed::Grants);
    assert!(index.is_complete(), "what is live is known as it was");
    assert_eq!(index.list_before(&part), None);
    assert_eq!(index.unread().unwrap().0, Indexed::Requests);
    index.done(Indexed::Grants);
    assert!(index.list_before(&part).is_some());
}
