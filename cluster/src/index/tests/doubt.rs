//! What is known in part, what the program panicked over, and what may never have been.

use lapse_crds::AccessRequest;

use super::*;

/// What a sweep has read counts where no watch has shown it, and never what a watch has shown since.
#[test]
fn a_policy_is_caught_up_with_unless_a_watch_was_faster() {
    let index = index();
    let at = |version, mode| stored::<JitPolicy>(&policy(version, mode));
    let mode = |index: &Index| index.policies().found()?.get("shop").map(|state| state.mode);
    let first = at(1, PolicyMode::Enforce);
    assert!(index.catch_up_policy("shop", None, Some(&first)).is_some());
    let seen = index.policy("shop");
    assert!(index.catch_up_policy("shop", seen.as_ref(), Some(&first)).is_none(), "it is known");
    let off = at(2, PolicyMode::Disabled);
    assert!(index.catch_up_policy("shop", seen.as_ref(), Some(&off)).is_some());
    assert_eq!(mode(&index), Some(PolicyMode::Disabled));
    // What was read before the last event.
    assert!(index.catch_up_policy("shop", seen.as_ref(), Some(&first)).is_none());
    assert!(index.catch_up_policy("shop", seen.as_ref(), None).is_none());
    assert_eq!(mode(&index), Some(PolicyMode::Disabled));
    assert!(index.catch_up_policy("shop", index.policy("shop").as_ref(), None).is_some());
    assert_eq!(mode(&index), None);
}

/// Nothing is given by what is known in part; what ends a right is found in it.
#[test]
fn what_was_said_is_known_before_all_is() {
    let index = index();
    index.apply_request(&stored(&request("fix", 1, "Active")));
    index.lost(Indexed::Decisions);
    let said = stored(&decision("no", "fix", LONG_AGO));
    assert!(!index.has_decision(UID, kube::Resource::meta(&said)));
    index.apply_decision(&said);
    assert!(index.has_decision(UID, kube::Resource::meta(&said)));
    assert!(matches!(index.decisions(UID), Read::Failed(_)));
    assert_eq!(index.decisions_known(UID).len(), 1);
}

/// It may be a Deny, so it is not as if nobody had said anything.
#[test]
fn a_decision_over_which_the_program_panicked_is_not_known() {
    let index = index();
    let odd: Stored<AccessDecision> = stored(&decision("odd", "fix", LONG_AGO));
    for name in ["fix", "help"] {
        index.apply_request(&stored(&request(name, 1, "Pending")));
    }
    let about = index.write().decisions.panicked(&odd).unwrap();
    assert_eq!((about.name.as_str(), about.verdict), ("fix", Verdict::Approve));
    let Read::Failed(why) = index.decisions(UID) else { panic!("it is as if it were not there") };
    assert!(why.contains("AccessDecision shop/odd"), "{why}");
    assert!(index.decisions("uid-of-help").found().is_some());
    // It stands in the next list as well, and is gone in the one after that.
    for is_there in [true, false] {
        index.begin(Indexed::Decisions);
        if is_there {
            index.write().decisions.panicked(&odd);
        }
        index.done(Indexed::Decisions);
        assert_eq!(index.decisions(UID).found().is_none(), is_there);
    }
    // One that does not even say what it is about may be about any.
    index.write().decisions.panicked(&stored(&json!({"metadata": {"name": "odd"}, "spec": 1})));
    assert!(index.decisions("uid-of-help").found().is_none());
}

/// It stands, and is no policy that allows; what it may forbid is told by the engine.
#[test]
fn a_policy_over_which_the_program_panicked_stands() {
    let mut object = policy(1, PolicyMode::Enforce);
    for (effect, may_ban) in [(json!("Deny"), true), (json!("Allow"), false), (json!(7), true)] {
        object["spec"]["effect"] = effect;
        let known = KnownPolicy::panicked(&stored(&object));
        assert_eq!((known.state.may_ban, &*known.state.name), (may_ban, "shop"));
        assert!(known.unreadable.unwrap().contains("panicked"));
    }
    object["spec"] = json!({"effect": "Deny", "mode": "Disabled"});
    let off = KnownPolicy::panicked(&stored(&object)).state;
    assert_eq!((off.may_ban, off.mode), (false, PolicyMode::Disabled));
}

#[test]
fn what_is_lost_or_reset_says_nothing_until_it_is_listed_again() {
    let index = index();
    index.apply_grant(&stored(&grant("fix", 1, "Active")));
    index.lost(Indexed::Grants);
    assert!(matches!(index.held(&alice()), Read::Failed(_)));
    assert!(matches!(index.peers(&alice(), None), Read::Failed(_)));
    assert!(index.policies().found().is_some(), "other kinds go on");
    index.begin(Indexed::Grants);
    index.apply_grant(&stored(&grant("fix", 1, "Active")));
    index.done(Indexed::Grants);
    assert_eq!(index.held(&alice()).found().unwrap().len(), 1);
    index.doubt();
    assert!(!index.is_complete());
    assert!(matches!(index.policies(), Read::Failed(_)));
    index.forget(Indexed::Grants);
    assert!(index.live_grants().is_empty());
    index.begin(Indexed::Grants);
    let older = index.apply_grant(&stored(&grant("fix", 1, "Active")));
    assert!(older.is_some(), "versions of a restored cluster may be lower");
}

/// A webhook keeps nothing of what is over, and of what was said about it neither.
#[test]
fn what_was_said_about_what_is_over_goes_whoever_keeps_the_past() {
    for keeps_past in [true, false] {
        let (_, keys) = watch::channel(KeySet::default());
        let index = Index::new(settings(), keys, keeps_past);
        all_is_listed(&index);
        index.apply_request(&stored(&request("fix", 1, "Pending")));
        index.apply_decision(&stored(&decision("no", "fix", LONG_AGO)));
        assert_eq!(said(&index, "fix").len(), 1);
        index.apply_request(&stored(&request("fix", 2, "Denied")));
        assert_eq!(said(&index, "fix").len(), 0, "keeps_past: {keeps_past}");

        index.apply_request(&stored(&request("held", 1, "Active")));
        index.apply_grant(&stored(&grant("held", 1, "Active")));
        index.apply_decision(&stored(&decision("yes", "held", LONG_AGO)));
        assert_eq!(said(&index, "held").len(), 1);
        index.apply_grant(&stored(&grant("held", 2, "Ended")));
        index.apply_request(&stored(&request("held", 2, "Ended")));
        assert_eq!(said(&index, "held").len(), 0, "keeps_past: {keeps_past}");
        index.apply_decision(&stored(&decision("late", "held", LONG_AGO)));
        assert_eq!(said(&index, "held").len(), 0, "keeps_past: {keeps_past}");
    }
}

/// In a cluster that was restored from a backup whose revisions were raised, objects have the versions of then.
#[test]
fn what_a_list_names_is_so_whatever_its_version() {
    let index = index();
    index.apply_grant(&stored(&grant("fix", 9, "Ended")));
    index.apply_request(&stored(&request("fix", 9, "Denied")));
    index.apply_request(&stored(&request("other", 9, "Active")));
    assert!(index.apply_grant(&stored(&grant("fix", 5, "Active"))).is_none(), "it is older");
    index.begin(Indexed::Grants);
    assert!(index.apply_grant(&stored(&grant("fix", 5, "Active"))).is_some());
    assert!(index.apply_grant(&stored(&grant("fix", 4, "Ended"))).is_none(), "it was listed");
    index.done(Indexed::Grants);
    assert_eq!(index.live_grants().len(), 1);
    index.begin(Indexed::Requests);
    assert!(index.apply_request(&stored(&request("other", 5, "Pending"))).is_some());
    index.done(Indexed::Requests);
    assert!(index.request("uid-of-other").unwrap().waits());
}

/// The answer to a write comes after the events of what happened since.
#[test]
fn what_was_written_of_a_request_that_is_gone_displaces_no_other() {
    let index = index();
    let of = |uid: &str, version: u64| {
        let mut request = request("fix", version, "Pending");
        request["metadata"]["uid"] = json!(uid);
        stored::<AccessRequest>(&request)
    };
    index.apply_request(&of("first", 1));
    index.delete_request(&of("first", 3));
    index.apply_request(&of("second", 4));
    assert!(index.apply_request(&of("first", 2)).is_none());
    assert_eq!(index.request_named("shop", "fix").unwrap().uid, "second");
    assert!(index.request("first").is_none());
}
