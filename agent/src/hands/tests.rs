//! On a host that is a folder: what is a file there is a file here, and programs do what they would to the files.

mod elevations;
mod fake;

use std::panic::{AssertUnwindSafe, catch_unwind};

use rstest::rstest;

use self::fake::Fake;
use super::*;
use crate::right::Elevation;

/// A host that is there as long as its folder, and what works on it.
fn host() -> (tempfile::TempDir, Fake, Hands) {
    let folder = tempfile::tempdir().unwrap();
    let fake = Fake::new(folder.path());
    let hands = fake.hands();
    (folder, fake, hands)
}

fn admin() -> Elevation {
    Elevation::Admin
}

fn group() -> Elevation {
    Elevation::Group { name: "ops".into(), gid: 5 }
}

fn is_over(round: &Round, grant: &str) -> bool {
    round.records.iter().all(|record| record.grant != grant || record.stage == Stage::Over)
}

#[rstest]
#[case::sudo(admin(), (true, false, true))]
#[case::group(group(), (false, true, true))]
fn a_right_is_given_and_ends_on_time(
    #[case] elevation: Elevation,
    #[case] given: (bool, bool, bool),
) {
    let (_folder, fake, hands) = host();
    hands.remember(&fake.order("g", elevation, 60)).unwrap();
    let round = hands.round().unwrap();
    assert_eq!(round.records[0].stage, Stage::Active);
    assert_eq!(round.due, round.records[0].right.as_ref().map(|right| right.expires_at));
    assert_eq!(fake.traces("g"), given);
    fake.pass(59);
    assert_eq!(hands.round().unwrap().records[0].stage, Stage::Active);
    fake.pass(1);
    let round = hands.round().unwrap();
    assert_eq!((round.records[0].stage, round.records[0].failed), (Stage::Over, false));
    assert_eq!(fake.traces("g"), (false, false, false));
}

/// The power goes at each step of a life, before its effect and after it. Then an end comes by whoever is left: the
/// agent that starts again, or a timer that calls `expire`.
#[rstest]
fn nothing_is_left_whenever_the_power_goes(
    #[values(admin(), group())] elevation: Elevation,
    #[values(true, false)] by_the_agent: bool,
) {
    let life = |fake: &Fake| {
        let hands = fake.hands();
        hands.remember(&fake.order("g", elevation.clone(), 60)).unwrap();
        hands.round().unwrap();
        fake.pass(60);
        hands.round().unwrap();
    };
    let folder = tempfile::tempdir().unwrap();
    let whole = Fake::new(folder.path());
    life(&whole);
    let steps = whole.0.lock().unwrap().steps;
    assert!(steps > 15, "{steps}");
    for (step, after) in (0..steps).flat_map(|step| [(step, false), (step, true)]) {
        let folder = tempfile::tempdir().unwrap();
        let fake = Fake::new(folder.path());
        fake.0.lock().unwrap().crash = Some((step, after));
        assert!(catch_unwind(AssertUnwindSafe(|| life(&fake))).is_err(), "{step}");
        fake.0.lock().unwrap().crash = None;
        let (rule, member, timers) = fake.traces("g");
        let known = fake.hands().journal().read(&Id::of("g")).unwrap();
        if rule || member {
            assert!(timers, "a right without its ends, at {step}");
            assert!(
                known.is_some_and(|record| record.is_in_force()),
                "a right that nobody knows of, at {step}"
            );
        }
        fake.pass(60);
        if by_the_agent {
            let hands = fake.hands();
            hands.settle().unwrap();
            assert!(is_over(&hands.round().unwrap(), "g"), "{step}");
        } else {
            assert!(fake.hands().end_now(&Id::of("g"), None).unwrap(), "{step}");
        }
        assert_eq!(fake.traces("g"), (false, false, false), "{step}");
        assert_eq!(fake.members("adm"), ["bo"], "others keep what they have");
    }
}

/// And within its time it is given, not lost.
#[test]
fn what_was_being_given_is_given_after_a_crash() {
    for step in 1..10 {
        let folder = tempfile::tempdir().unwrap();
        let fake = Fake::new(folder.path());
        fake.hands().remember(&fake.order("g", group(), 60)).unwrap();
        fake.0.lock().unwrap().crash = Some((step, true));
        let _ = catch_unwind(AssertUnwindSafe(|| fake.hands().round()));
        fake.0.lock().unwrap().crash = None;
        let round = fake.hands().settle().unwrap();
        assert_eq!(round.records[0].stage, Stage::Active, "{step}");
        assert_eq!(
            round.records[0].undo.as_ref().map(|undo| undo.was_member),
            Some(false),
            "{step}"
        );
    }
}

#[rstest]
#[case::rule("sudoers.d")]
#[case::timers("lapse-end-")]
#[case::systemd("systemctl start")]
#[case::check("visudo")]
#[case::candidate("candidate")]
fn what_cannot_be_given_fails_whole(#[case] fails: &'static str) {
    let (_folder, fake, hands) = host();
    hands.remember(&fake.order("g", admin(), 60)).unwrap();
    fake.0.lock().unwrap().fails = vec![fails];
    hands.round().unwrap();
    fake.0.lock().unwrap().fails = vec![];
    let round = hands.round().unwrap();
    assert_eq!((round.records[0].stage, round.records[0].failed), (Stage::Over, true), "{round:?}");
    assert!(round.records[0].message.as_ref().unwrap().contains("no space left"));
    assert_eq!(fake.traces("g"), (false, false, false));
}

#[test]
fn a_full_disk_keeps_no_right_from_its_end() {
    let (_folder, fake, hands) = host();
    hands.remember(&fake.order("g", admin(), 60)).unwrap();
    hands.round().unwrap();
    fake.0.lock().unwrap().fails = vec!["var/lib/lapse"];
    fake.pass(60);
    let round = hands.round().unwrap();
    assert_eq!(fake.traces("g"), (false, false, false));
    assert_eq!(round.records[0].stage, Stage::Active, "nobody is told before it is written");
    assert!(round.problem.unwrap().contains("no space left"));
    fake.0.lock().unwrap().fails = vec![];
    assert_eq!(hands.round().unwrap().records[0].stage, Stage::Over);
}

/// What can be neither given nor written down is left for later, and keeps nobody waiting.
#[test]
fn a_full_disk_does_not_keep_a_round_from_its_end() {
    let (_folder, fake, hands) = host();
    hands.remember(&fake.order("a", admin(), 60)).unwrap();
    hands.remember(&fake.order("b", admin(), 90)).unwrap();
    fake.0.lock().unwrap().fails = vec!["var/lib/lapse"];
    let round = hands.round().unwrap();
    assert!(round.problem.unwrap().contains("no space left"));
    assert!(round.records.iter().all(|record| record.stage == Stage::Received));
    fake.0.lock().unwrap().fails = vec![];
    let round = hands.round().unwrap();
    assert!(round.records.iter().all(|record| record.stage == Stage::Active), "{round:?}");
}

#[test]
fn an_end_that_fails_is_tried_again_and_says_why() {
    let (_folder, fake, hands) = host();
    hands.remember(&fake.order("g", group(), 60)).unwrap();
    hands.round().unwrap();
    fake.0.lock().unwrap().fails = vec!["gpasswd"];
    fake.pass(60);
    let record = &hands.round().unwrap().records[0];
    assert_eq!(record.stage, Stage::Ending);
    assert_eq!(record.message.as_deref(), Some("no space left"));
    assert_eq!(fake.traces("g"), (false, true, true), "its timers stay as long as it is there");
    fake.0.lock().unwrap().fails = vec![];
    assert_eq!(hands.round().unwrap().records[0].stage, Stage::Over);
    assert_eq!(fake.traces("g"), (false, false, false));
}

#[test]
fn who_was_a_member_stays_one() {
    let folder = tempfile::tempdir().unwrap();
    let fake = Fake::new(folder.path());
    fs::write(folder.path().join("etc/group"), "adm:x:4:bo\nops:x:5:al\n").unwrap();
    let hands = fake.hands();
    hands.remember(&fake.order("g", group(), 60)).unwrap();
    hands.round().unwrap();
    fake.pass(60);
    hands.round().unwrap();
    assert_eq!(fake.members("ops"), ["al"]);
}

#[rstest]
fn rights_that_overlap_take_nothing_from_one_another(#[values(60, 90)] second: i64) {
    let (_folder, fake, hands) = host();
    hands.remember(&fake.order("a", group(), 75)).unwrap();
    hands.round().unwrap();
    hands.remember(&fake.order("b", group(), second)).unwrap();
    hands.round().unwrap();
    fake.pass(60.max(second.min(75)));
    hands.round().unwrap();
    assert_eq!(fake.members("ops"), ["al"], "one of the two goes on");
    fake.pass(30);
    hands.round().unwrap();
    assert!(fake.members("ops").is_empty());
}

#[test]
fn what_is_taken_away_on_the_host_ends() {
    let (_folder, fake, hands) = host();
    hands.remember(&fake.order("g", admin(), 60)).unwrap();
    hands.round().unwrap();
    fs::remove_file(hands.places().rule(&Id::of("g"))).unwrap();
    let round = hands.thorough_round().unwrap();
    assert_eq!(round.records[0].message.as_deref(), Some("it was removed or changed on the host"));
    assert_eq!(round.records[0].receipt().state, lapse_crds::OrderState::Ended);
}

#[test]
fn a_rule_that_nobody_knows_of_goes_at_a_start_and_others_rules_stay() {
    let (folder, _fake, hands) = host();
    let orphan = hands.places().rule(&Id::of("x"));
    fs::write(&orphan, "#1000 ALL=(root) NOPASSWD: ALL\n").unwrap();
    let own = folder.path().join("etc/sudoers.d/lapse-of-somebody-else");
    fs::write(&own, "").unwrap();
    hands.settle().unwrap();
    assert!(!orphan.exists() && own.exists());
}

#[test]
fn a_record_that_cannot_be_read_ends_what_can_be_told() {
    let (_folder, fake, hands) = host();
    hands.remember(&fake.order("g", admin(), 60)).unwrap();
    hands.remember(&fake.order("h", admin(), 60)).unwrap();
    hands.round().unwrap();
    fs::write(hands.places().records().join(format!("{}.json", Id::of("g"))), "{").unwrap();
    let round = hands.round().unwrap();
    assert_eq!(fake.traces("g"), (false, false, false));
    assert_eq!(fake.traces("h"), (true, false, true), "others go on");
    assert!(round.problem.unwrap().contains("cannot be understood"));
}

#[test]
fn a_clock_that_was_set_back_ends_all_and_gives_nothing_until_it_is_accepted() {
    let (_folder, fake, hands) = host();
    hands.remember(&fake.order("g", admin(), 600)).unwrap();
    hands.round().unwrap();
    fake.0.lock().unwrap().now.wall -= TimeDelta::hours(1);
    let round = hands.round().unwrap();
    assert_eq!(round.records[0].stage, Stage::Over);
    assert!(round.problem.unwrap().contains("`lapse-agent clock accept`"));
    hands.remember(&fake.order("h", admin(), 60)).unwrap();
    assert!(is_over(&hands.round().unwrap(), "h"));
    let now = hands.now().unwrap();
    hands.journal().accept_clock(hands.system(), MaxSeen { wall: now.wall }).unwrap();
    hands.remember(&fake.order("i", admin(), 60)).unwrap();
    let round = hands.round().unwrap();
    assert!(!is_over(&round, "i") && round.problem.is_none());
}

#[test]
fn until_when_rights_last_is_there_for_the_script() {
    let (_folder, fake, hands) = host();
    hands.remember(&fake.order("a", admin(), 600)).unwrap();
    hands.round().unwrap();
    hands.remember(&fake.order("b", admin(), 60)).unwrap();
    hands.round().unwrap();
    let until: i64 = fs::read_to_string(hands.places().until()).unwrap().trim().parse().unwrap();
    assert_eq!(until, hands.now().unwrap().wall.timestamp() + 601);
}

/// Once, when the right is gone, and not for what was never given.
#[rstest]
#[case::of_a_right_that_was_held(true, false, 1)]
#[case::where_nobody_asked_for_it(false, false, 0)]
#[case::of_a_right_that_could_not_be_given(true, true, 0)]
fn who_had_a_right_is_logged_off_at_its_end(
    #[case] log_off: bool,
    #[case] fails: bool,
    #[case] expected: usize,
) {
    let (_folder, fake, hands) = host();
    let mut order = fake.order("g", admin(), 60);
    order.right.as_mut().unwrap().log_off = log_off;
    hands.remember(&order).unwrap();
    if fails {
        fake.0.lock().unwrap().fails = vec!["visudo"];
    }
    hands.round().unwrap();
    assert_eq!(fake.logged_off(), 0, "while it lasts");
    fake.0.lock().unwrap().fails = vec!["user-1000.slice/cgroup.kill"];
    fake.pass(60);
    let round = hands.round().unwrap();
    assert_eq!(round.records[0].stage == Stage::Over, expected == 0);
    fake.0.lock().unwrap().fails = vec![];
    assert!(is_over(&hands.round().unwrap(), "g"));
    hands.round().unwrap();
    assert_eq!(fake.logged_off(), expected);
}

/// Whatever cannot be written down, who logs in again stays.
#[test]
fn nobody_is_logged_off_twice_for_a_full_disk() {
    let (_folder, fake, hands) = host();
    let mut order = fake.order("g", admin(), 60);
    order.right.as_mut().unwrap().log_off = true;
    hands.remember(&order).unwrap();
    hands.round().unwrap();
    fake.pass(60);
    fake.0.lock().unwrap().fails = vec!["/var/lib/lapse"];
    for _ in 0..3 {
        let _ = hands.round();
    }
    assert_eq!(fake.logged_off(), 1);
    fake.0.lock().unwrap().fails = vec![];
    assert!(is_over(&hands.round().unwrap(), "g"));
    assert_eq!(fake.logged_off(), 1);
}

/// Who was given the number of somebody who is gone has nothing to do with it.
#[test]
fn nobody_is_logged_off_for_another_who_had_their_number() {
    let (_folder, fake, hands) = host();
    let mut order = fake.order("g", admin(), 60);
    order.right.as_mut().unwrap().log_off = true;
    hands.remember(&order).unwrap();
    hands.round().unwrap();
    let passwd = fake.0.lock().unwrap().places.at("/etc/passwd");
    std::fs::write(passwd, "cy:x:1000:1000::/:/bin/sh\n").unwrap();
    fake.pass(60);
    assert!(is_over(&hands.round().unwrap(), "g"));
    assert_eq!(fake.logged_off(), 0);
}

/// The cluster is told that it was the holder, also after a crash in between; and of nobody else's end that it was.
#[rstest]
#[case::the_holder(1000, true)]
#[case::somebody_else(1001, false)]
fn who_holds_a_right_ends_it(#[case] uid: u32, #[case] expected: bool) {
    let (_folder, fake, hands) = host();
    hands.remember(&fake.order("g", admin(), 600)).unwrap();
    hands.round().unwrap();
    assert_eq!(hands.end_by_holder(&Id::of("g"), uid).unwrap(), expected);
    assert_eq!(fake.traces("g"), (!expected, false, !expected));
    let receipt = hands.journal().read(&Id::of("g")).unwrap().unwrap().receipt();
    assert_eq!(receipt.ended_by_holder, expected);
    let why = expected.then_some("ended on the host by al");
    assert_eq!(receipt.message.as_deref(), why);
}

#[test]
fn what_ends_anyway_was_not_ended_by_its_holder() {
    let (_folder, fake, hands) = host();
    hands.remember(&fake.order("g", group(), 600)).unwrap();
    hands.round().unwrap();
    fake.0.lock().unwrap().fails = vec!["gpasswd"];
    assert!(!hands.end_now(&Id::of("g"), Some("denied")).unwrap());
    assert!(!hands.end_by_holder(&Id::of("g"), 1000).unwrap());
    fake.0.lock().unwrap().fails = vec![];
    let record = &hands.round().unwrap().records[0];
    assert_eq!((record.stage, record.ended_by_holder), (Stage::Over, false));
}

#[test]
fn what_its_holder_ends_stays_ended_by_them_until_it_is_gone() {
    let (_folder, fake, hands) = host();
    hands.remember(&fake.order("g", group(), 600)).unwrap();
    hands.round().unwrap();
    fake.0.lock().unwrap().fails = vec!["gpasswd"];
    assert!(!hands.end_by_holder(&Id::of("g"), 1000).unwrap());
    fake.0.lock().unwrap().fails = vec![];
    let again = fake.hands();
    again.settle().unwrap();
    let record = &again.round().unwrap().records[0];
    assert_eq!((record.stage, record.ended_by_holder), (Stage::Over, true));
}
