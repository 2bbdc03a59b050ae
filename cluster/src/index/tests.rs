//! What is kept, what is forgotten, and what is found again.

mod doubt;
mod past;
mod play;

use lapse_crds::{JitPolicy, PolicyMode, RoleKind, RoleRef, Verdict};
use rstest::rstest;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use lapse_engine::grant::grant_name;
use lapse_engine::peers::Peers;

use super::*;
use crate::clock;

const UID: &str = "uid-of-fix";

pub(crate) fn settings() -> Settings {
    serde_json::from_value(json!({
        "namespace": "lapse-system", "bindableRoles": [{"kind": "ClusterRole", "name": "edit"}],
        "grantableRules": [], "allowClusterWide": false, "protectedNamespaces": ["kube-*"],
        "duration": {"min": "5m", "max": "24h"},
        "controller": {"serviceAccount": "lapse-controller", "endsWorkloads": false},
    }))
    .unwrap()
}

/// Everything that there is has been listed and read: nothing more than what is known.
pub(crate) fn all_is_listed(index: &Index) {
    for kind in Indexed::ALL {
        index.begin(kind);
        index.done(kind);
    }
    all_is_read(index);
}

/// What is over has been read, too.
fn all_is_read(index: &Index) {
    while let Some((kind, list)) = index.unread() {
        index.done_over(kind, list);
    }
}

fn index() -> Index {
    let (_, keys) = watch::channel(KeySet::default());
    let index = Index::new(settings(), keys, true);
    all_is_listed(&index);
    index
}

fn stored<K: DeserializeOwned>(object: &Value) -> Stored<K> {
    serde_json::from_str(&object.to_string()).unwrap()
}

fn alice() -> Identity {
    Identity { username: "alice".into(), ..Identity::default() }
}

/// A request of alice, in this version and phase.
fn request(name: &str, version: u64, phase: &str) -> Value {
    json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessRequest",
        "metadata": {
            "name": name, "namespace": "shop", "uid": format!("uid-of-{name}"),
            "resourceVersion": version.to_string(), "creationTimestamp": "2026-11-28T10:00:00Z",
            "annotations": {"note": "x".repeat(1000)}, "labels": {"team": "shop"},
        },
        "spec": {
            "target": {"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}}},
            "reason": "Checkout fails", "requester": {"username": "alice", "groups": []},
        },
        "status": {
            "phase": phase, "policy": {"name": "shop", "uid": "p", "generation": 1}, "conditions": [],
            "endedAt": "2026-11-28T11:00:00Z",
        },
    })
}

/// The Grant of such a request.
fn grant(name: &str, version: u64, phase: &str) -> Value {
    let uid = format!("uid-of-{name}");
    json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "Grant",
        "metadata": {
            "name": grant_name("shop", name, &uid), "uid": format!("grant-of-{name}"),
            "resourceVersion": version.to_string(),
        },
        "spec": {
            "request": {"namespace": "shop", "name": name, "uid": uid},
            "policy": {"name": "shop", "uid": "p", "generation": 1},
            "subject": {"kind": "User", "name": "alice"},
            "target": {"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}}},
            "startsAt": "2026-11-28T10:00:00Z", "expiresAt": "2099-11-28T11:00:00Z",
            "rulesHash": "h", "rules": [{"rules": [{"verbs": ["get"]}]}],
        },
        "status": {"phase": phase, "endedAt": "2020-11-28T11:00:00Z", "endReason": "Expired"},
    })
}

fn decision(name: &str, about: &str, created: &str) -> Value {
    json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessDecision",
        "metadata": {
            "name": name, "namespace": "shop", "uid": name, "resourceVersion": "1",
            "creationTimestamp": created,
        },
        "spec": {
            "request": {"name": about, "uid": format!("uid-of-{about}")}, "verdict": "Approve",
            "rules": [{"rules": [{"verbs": ["get"]}]}],
        },
    })
}

const LONG_AGO: &str = "2020-11-28T10:00:00Z";

fn said(index: &Index, about: &str) -> Vec<bool> {
    let Read::Found(said) = index.decisions(&format!("uid-of-{about}")) else { panic!() };
    said.iter().map(|said| !said.object.spec.rules.is_empty()).collect()
}

#[test]
fn of_a_request_that_waits_its_spec_is_kept_and_nothing_else_that_people_wrote() {
    let index = index();
    index.apply_request(&stored(&request("fix", 1, "Pending")));
    let known = index.request(UID).unwrap();
    let object = known.object.unwrap();
    assert_eq!(object.spec.reason.as_deref(), Some("Checkout fails"));
    assert_eq!((&object.metadata.annotations, &object.metadata.labels), (&None, &None));
    assert_eq!(object.status, None);
    index.apply_request(&stored(&request("fix", 2, "Active")));
    assert!(index.request(UID).unwrap().object.is_none());
    index.apply_request(&stored(&request("fix", 3, "Ended")));
    assert!(index.request(UID).is_none());
    assert!(index.has_request(UID));
    assert_eq!(index.past_requests(9).len(), 1);
}

#[test]
fn a_very_large_request_is_not_kept_whole() {
    let index = index();
    let mut large = request("fix", 1, "Pending");
    large["metadata"]["annotations"]["note"] = json!("x".repeat(20_000));
    index.apply_request(&stored(&large));
    let known = index.request(UID).unwrap();
    assert!(known.object.is_none() && known.summary.is_ok());
}

#[test]
fn what_is_older_changes_nothing() {
    let index = index();
    assert!(index.apply_request(&stored(&request("fix", 5, "Active"))).is_some());
    assert!(index.apply_request(&stored(&request("fix", 5, "Active"))).is_none());
    assert!(index.apply_request(&stored(&request("fix", 4, "Pending"))).is_none());
    assert!(index.apply_grant(&stored(&grant("fix", 5, "Ended"))).is_some());
    assert!(index.apply_grant(&stored(&grant("fix", 4, "Active"))).is_none());
    assert!(index.live_grants().is_empty());
}

#[test]
fn another_of_the_same_name_takes_the_place() {
    let index = index();
    index.apply_request(&stored(&request("fix", 1, "Pending")));
    let mut anew = request("fix", 2, "Pending");
    anew["metadata"]["uid"] = json!("another");
    index.apply_request(&stored(&anew));
    assert!(index.request(UID).is_none());
    assert_eq!(index.request_named("shop", "fix").unwrap().uid, "another");
    assert_eq!(index.peers(&alice(), None).found().unwrap().requests.len(), 1);
}

#[test]
fn what_a_list_does_not_name_is_gone() {
    let index = index();
    for name in ["fix", "other"] {
        index.apply_request(&stored(&request(name, 1, "Pending")));
        index.apply_grant(&stored(&grant(name, 1, "Active")));
        index.apply_decision(&stored(&decision(name, name, LONG_AGO)));
    }
    index.apply_request(&stored(&request("over", 1, "Ended")));
    for kind in [Indexed::Requests, Indexed::Grants, Indexed::Decisions] {
        index.begin(kind);
    }
    index.apply_request(&stored(&request("fix", 1, "Pending")));
    index.apply_grant(&stored(&grant("fix", 1, "Active")));
    index.apply_decision(&stored(&decision("fix", "fix", LONG_AGO)));
    assert_eq!(index.live_grants().len(), 2, "until the list is done it stands");
    for kind in [Indexed::Requests, Indexed::Grants, Indexed::Decisions] {
        index.done(kind);
    }
    assert_eq!(index.open_requests().len(), 1);
    assert_eq!(index.live_grants().len(), 1);
    assert!(index.has_request("uid-of-over"), "a list of what is live does not name it");
    all_is_read(&index);
    assert!(!index.has_request("uid-of-over"));
    assert_eq!((said(&index, "fix"), said(&index, "other")), (vec![false], vec![]));
}

#[test]
fn of_what_was_said_is_kept_what_still_bears_on_anything() {
    let index = index();
    index.apply_request(&stored(&request("fix", 1, "Pending")));
    index.apply_decision(&stored(&decision("yes", "fix", LONG_AGO)));
    assert_eq!(said(&index, "fix"), [true], "the rules count while it waits");
    index.apply_grant(&stored(&grant("fix", 2, "Active")));
    assert_eq!(said(&index, "fix"), [false], "and not once it is given");
    index.apply_grant(&stored(&grant("fix", 3, "Ended")));
    assert_eq!(said(&index, "fix"), [false], "the request has yet to say so");
    index.apply_request(&stored(&request("fix", 4, "Ended")));
    assert_eq!(said(&index, "fix"), [false; 0]);
    index.apply_decision(&stored(&decision("late", "fix", LONG_AGO)));
    assert_eq!(said(&index, "fix"), [false; 0]);
}

#[rstest]
#[case::a_moment_ago(clock::now().to_rfc3339(), 1)]
#[case::long_ago(LONG_AGO.to_owned(), 0)]
fn what_is_said_of_a_request_that_is_not_known_waits_for_it_for_a_while(
    #[case] created: String,
    #[case] expected: usize,
) {
    let index = index();
    index.apply_decision(&stored(&decision("early", "fix", &created)));
    index.apply_request(&stored(&request("fix", 1, "Pending")));
    assert_eq!(said(&index, "fix").len(), expected);
}

#[test]
fn peers_are_what_is_open_and_held_and_recent_and_owed() {
    let index = index();
    for (name, phase) in [("open", "Pending"), ("over", "Ended"), ("active", "Active")] {
        index.apply_request(&stored(&request(name, 1, phase)));
    }
    let mut rival = request("rival", 1, "Ended");
    rival["spec"]["extends"] = json!("active");
    index.apply_request(&stored(&rival));
    index.apply_grant(&stored(&grant("active", 1, "Active")));
    index.apply_grant(&stored(&grant("over", 1, "Ended")));
    index.apply_grant(&stored(&grant("rival", 1, "Ended")));
    let mut recent = grant("recent", 1, "Ended");
    recent["status"]["endedAt"] = json!(clock::now().to_rfc3339());
    index.apply_grant(&stored(&recent));
    let mut owed = grant("owed", 1, "Ended");
    owed["spec"]["emergency"] = json!(true);
    owed["spec"]["reviewBy"] = json!("2026-11-29T10:00:00Z");
    index.apply_grant(&stored(&owed));
    let names = |extends: Option<(&str, &str)>| {
        let Read::Found(peers) = index.peers(&alice(), extends) else { panic!() };
        let requests = peers.requests.iter().map(|request| request.name.clone());
        let grants = peers.grants.iter().map(|grant| grant.request.name.clone());
        let sorted = |names: Vec<String>| names.into_iter().collect::<BTreeSet<String>>();
        (sorted(requests.collect()), sorted(grants.collect()))
    };
    let set = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<String>>();
    assert_eq!(names(None), (set(&["active", "open"]), set(&["active", "owed", "recent"])));
    // Whether a rival has extended it is told by the Grant of the rival.
    assert_eq!(
        names(Some(("shop", "active"))),
        (set(&["active", "open", "rival"]), set(&["active", "owed", "recent", "rival"]))
    );
    let bob = Identity { username: "bob".into(), ..Identity::default() };
    assert_eq!(index.peers(&bob, None), Read::Found(Peers::default()));
}

#[test]
fn what_somebody_holds_is_found_by_who_it_is() {
    let index = index();
    index.apply_grant(&stored(&grant("fix", 1, "Active")));
    index.apply_grant(&stored(&grant("over", 1, "Ended")));
    let held = |who: &Identity| index.held(who).found().unwrap().len();
    assert_eq!(held(&alice()), 1);
    assert_eq!(held(&Identity { username: "bob".into(), ..Identity::default() }), 0);
    let disguised = Identity {
        username: "system:serviceaccount:shop:bot".into(),
        groups: vec!["system:serviceaccounts:shop".into()],
        ..Identity::default()
    };
    assert_eq!(held(&disguised), 0, "alice cannot be who acts as an account of the namespace");
    let mut edit = grant("edit", 2, "Active");
    edit["spec"]["session"] = json!({"guard": "Enforce", "impersonates": ["*"]});
    index.apply_grant(&stored(&edit));
    assert_eq!(held(&disguised), 1, "by the right to impersonate it, it may be alice");
}

#[test]
fn a_right_whose_host_is_still_to_be_compared_is_found_by_its_endpoint() {
    let index = index();
    let on_host = |version: u64, phase: &str, reason: &str| {
        let mut grant = grant("fix", version, phase);
        grant["spec"]["target"] = json!({"endpoint": {"name": "web-1", "uid": "e", "admin": {}}});
        grant["status"]["conditions"] = json!([{
            "type": "Drifted", "status": "Unknown", "reason": reason, "message": "",
            "lastTransitionTime": "2026-11-28T11:00:00Z",
        }]);
        index.apply_grant(&stored(&grant));
        (index.live_on("web-1").len(), index.comparing_on("web-1").len(), index.open_grants().len())
    };
    assert_eq!(on_host(1, "Active", "LeftBehind"), (1, 0, 1));
    assert_eq!(on_host(2, "Ended", "Comparing"), (0, 1, 1));
    assert_eq!(on_host(3, "Ended", "Clean"), (0, 0, 0));
}

#[test]
fn a_grant_that_cannot_be_decoded_is_nobodys_and_hides_who_is_engaged() {
    let index = index();
    let mut broken = grant("fix", 1, "Active");
    broken["spec"]["expiresAt"] = json!("never");
    index.apply_grant(&stored(&broken));
    assert_eq!(index.live_grants().len(), 0);
    assert_eq!(index.open_grants().len(), 1, "it is to say what is wrong with it");
    let by = BTreeSet::from(["shop".to_owned()]);
    assert!(matches!(index.live_by(&by), Read::Failed(_)));
    index.apply_grant(&stored(&grant("fix", 2, "Active")));
    assert_eq!(index.live_by(&by).found().unwrap().len(), 1);
}

#[test]
fn what_is_over_is_an_orphan_once_its_request_is_gone() {
    let index = index();
    let over = stored(&request("fix", 1, "Ended"));
    index.apply_request(&over);
    index.apply_grant(&stored(&grant("fix", 1, "Ended")));
    assert!(index.past_grants(9).is_empty());
    index.delete_request(&over);
    assert_eq!(index.past_grants(9).len(), 1);
    let gone = index.delete_grant(&stored(&grant("fix", 2, "Ended")));
    assert!(gone.before.is_some() && gone.after.is_none());
    assert!(index.past_grants(9).is_empty());
}

fn policy(version: u64, mode: PolicyMode) -> Value {
    json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "JitPolicy",
        "metadata": {"name": "shop", "uid": "p", "generation": version, "resourceVersion": "1"},
        "spec": {
            "mode": mode, "requesters": [{"kind": "User", "name": "alice"}],
            "targets": [{"kubernetes": {
                "roles": [{"kind": "ClusterRole", "name": "edit"}], "namespaces": {"names": ["shop"]},
            }}],
            "duration": {"max": "1h"},
        },
    })
}

#[test]
fn policies_are_compiled_once_and_found_by_the_roles_that_they_name() {
    let index = index();
    let first: Stored<JitPolicy> = stored(&policy(1, PolicyMode::Enforce));
    index.apply_policy(&first);
    let role = RoleRef { kind: RoleKind::ClusterRole, name: "edit".into() };
    assert_eq!(index.policies_naming(&role, None), ["shop"]);
    assert_eq!(index.compile(&first), index.policy("shop").unwrap().state);
    let change = index.apply_policy(&stored(&policy(2, PolicyMode::Disabled)));
    assert!(!change.before.unwrap().says_the_same(&change.after.unwrap()));
    let now = index.policies();
    assert_eq!(now.found().unwrap().get("shop").unwrap().mode, PolicyMode::Disabled);
    index.delete_policy(&first);
    assert!(index.policies_naming(&role, None).is_empty());
    assert!(index.policies().found().unwrap().get("shop").is_none());
}
