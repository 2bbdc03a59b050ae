//! Applications and accounts, on the same host.

mod accounts;

use std::collections::BTreeMap;

use lapse_crds::{AccountAction, Program};

use super::*;
use crate::numbers::FIRST;
use crate::right::{LocalGroup, UNMADE};

/// al, whose account has expired and whose password is locked; bo, who is in a group.
const SHADOW: &str = "al:!$y$x:1:0:99999:7::100:\nbo:$y$y:1:0:99999:7:::\n";
/// The day of the end of what is given here for less than a day, and the one after it.
const DAY: i64 = 20_000;

fn host() -> (tempfile::TempDir, Fake, Hands) {
    let (folder, fake, hands) = super::host();
    fs::create_dir_all(folder.path().join("usr/bin")).unwrap();
    fs::create_dir_all(folder.path().join("home")).unwrap();
    fs::write(folder.path().join("usr/bin/dump"), "").unwrap();
    fs::write(folder.path().join("etc/shadow"), SHADOW).unwrap();
    (folder, fake, hands)
}

fn application() -> Elevation {
    let path = "/usr/bin/dump".to_owned();
    let program = Program { path, sha256: None, package: None, args: vec![], env: vec![] };
    Elevation::Application { name: "dump".into(), program }
}

fn account(action: AccountAction, groups: &[(&str, u32)]) -> Elevation {
    let local = |(name, gid): &(&str, u32)| LocalGroup { name: (*name).into(), gid: *gid };
    let authorized_keys =
        if action == AccountAction::Provision { vec!["key".into()] } else { vec![] };
    Elevation::Account { action, groups: groups.iter().map(local).collect(), authorized_keys }
}

fn enable() -> Elevation {
    account(AccountAction::Enable, &[])
}

fn provision() -> Elevation {
    account(AccountAction::Provision, &[("adm", 4), ("ops", 5)])
}

fn raise() -> Elevation {
    account(AccountAction::Raise, &[("adm", 4), ("ops", 5)])
}

/// An order for al; for pat, who is nobody yet, if an account is made.
fn order(fake: &Fake, grant: &str, elevation: &Elevation, seconds: i64) -> Record {
    let mut record = fake.order(grant, elevation.clone(), seconds);
    let right = record.right.as_mut().unwrap();
    if matches!(elevation, Elevation::Account { action: AccountAction::Provision, .. }) {
        (right.user, right.uid) = ("pat".into(), UNMADE);
    }
    record
}

/// All that makes a difference to who may do what: the files of the accounts, the homes, and the timers.
fn seen(places: &Places) -> BTreeMap<String, String> {
    let files = ["/etc/passwd", "/etc/shadow", "/etc/group"].map(|path| places.at(path));
    let mut all: BTreeMap<String, String> = files
        .iter()
        .map(|path| (path.display().to_string(), fs::read_to_string(path).unwrap()))
        .collect();
    for folder in ["/home", "/etc/systemd/system", "/run/systemd/system"] {
        for entry in fs::read_dir(places.at(folder)).into_iter().flatten().flatten() {
            let name = entry.path().display().to_string();
            if !name.ends_with("timers.target.wants") {
                all.insert(name, String::new());
            }
        }
    }
    all
}

fn places(fake: &Fake) -> Places {
    fake.0.lock().unwrap().places.clone()
}

fn line(fake: &Fake, file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(places(fake).at(file)).unwrap();
    text.lines().find(|line| line.starts_with(&format!("{name}:"))).map(str::to_owned)
}

fn kinds() -> [Elevation; 4] {
    [application(), enable(), provision(), raise()]
}

/// What a failing test is about.
fn named(elevation: &Elevation) -> String {
    elevation.to_string()
}

#[test]
fn each_is_given_and_leaves_a_host_as_it_was() {
    for elevation in kinds() {
        let (_folder, fake, hands) = host();
        let before = seen(&places(&fake));
        hands.remember(&order(&fake, "g", &elevation, 60)).unwrap();
        let round = hands.round().unwrap();
        assert_eq!(round.records[0].stage, Stage::Active, "{:?}", round.records[0].message);
        assert_ne!(seen(&places(&fake)), before, "{}: its timers at least", named(&elevation));
        assert_eq!(hands.thorough_round().unwrap().records[0].stage, Stage::Active);
        fake.pass(60);
        let record = &hands.round().unwrap().records[0];
        assert_eq!((record.stage, record.failed), (Stage::Over, false), "{:?}", record.message);
        assert_eq!(seen(&places(&fake)), before, "{}", named(&elevation));
        assert!(!places(&fake).closed(&Id::of("g")).exists());
    }
}

/// The power goes at each step of a life, before its effect and after it, and then at each step of what puts that right.
/// Whoever is left ends it: the agent that starts again, or a timer.
#[rstest]
#[case::application(application())]
#[case::enable(enable())]
#[case::provision(provision())]
#[case::raise(raise())]
fn nothing_is_left_whenever_the_power_goes(
    #[case] elevation: Elevation,
    #[values(true, false)] by_the_agent: bool,
) {
    let life = |fake: &Fake| {
        let hands = fake.hands();
        hands.remember(&order(fake, "g", &elevation, 60)).unwrap();
        hands.round().unwrap();
        fake.pass(60);
        hands.round().unwrap();
    };
    let end = |fake: &Fake| {
        if by_the_agent {
            let hands = fake.hands();
            hands.settle().unwrap();
            is_over(&hands.round().unwrap(), "g")
        } else {
            fake.hands().end_now(&Id::of("g"), None).unwrap()
        }
    };
    let (_folder, whole, _) = host();
    let before = seen(&places(&whole)).into_values().collect::<Vec<_>>();
    life(&whole);
    let steps = whole.0.lock().unwrap().steps;
    assert!(steps > 10, "{steps}");
    for (step, after) in (0..steps).flat_map(|step| [(step, false), (step, true)]) {
        for again in [None, Some(step % 13)] {
            let (_folder, fake, _) = host();
            fake.0.lock().unwrap().crash = Some((step, after));
            assert!(catch_unwind(AssertUnwindSafe(|| life(&fake))).is_err(), "{step}");
            fake.0.lock().unwrap().crash = None;
            let is_changed = seen(&places(&fake)).into_values().collect::<Vec<_>>() != before;
            let known = fake.hands().journal().read(&Id::of("g")).unwrap();
            if is_changed {
                let is_known = known.is_some_and(|record| record.is_in_force());
                assert!(is_known, "something that nobody knows of, at {step}");
            }
            fake.pass(60);
            if let Some(more) = again {
                let now = fake.0.lock().unwrap().steps;
                fake.0.lock().unwrap().crash = Some((now + more, after));
                // It may be done before.
                let _ = catch_unwind(AssertUnwindSafe(|| end(&fake)));
                fake.0.lock().unwrap().crash = None;
            }
            assert!(end(&fake), "{step}, {again:?}");
            let left: Vec<String> = seen(&places(&fake)).into_values().collect();
            assert_eq!(left, before, "{step}, {again:?}");
        }
    }
}

/// Within its time it is given after a crash, and whole.
#[test]
fn what_was_being_given_is_given_after_a_crash() {
    for elevation in kinds() {
        for step in 1..25 {
            let (_folder, fake, hands) = host();
            hands.remember(&order(&fake, "g", &elevation, 60)).unwrap();
            fake.0.lock().unwrap().crash = Some((step, true));
            let _ = catch_unwind(AssertUnwindSafe(|| fake.hands().round()));
            fake.0.lock().unwrap().crash = None;
            let round = fake.hands().settle().unwrap();
            let record = &round.records[0];
            let told = format!("{}, {step}: {:?}", named(&elevation), record.message);
            assert_eq!(record.stage, Stage::Active, "{told}");
            let undo = record.undo.as_ref().unwrap();
            assert!(undo.was_in.is_empty(), "{told}");
            assert_eq!(undo.made.map_or(FIRST, |made| made.uid), FIRST, "{told}");
        }
    }
}

/// What an administrator of the host changes meanwhile ends it, and what was there before is restored.
#[rstest]
#[case::expired_by_hand(
    enable(),
    "/etc/shadow",
    "al:$y$x:1:0:99999:7::20001:",
    "al:$y$x:1:0:99999:7::0:"
)]
#[case::never_to_expire(
    enable(),
    "/etc/shadow",
    "al:$y$x:1:0:99999:7::20001:",
    "al:$y$x:1:0:99999:7:::"
)]
#[case::locked_by_hand(enable(), "/etc/shadow", "al:$y$x", "al:!$y$x")]
#[case::taken_out_of_a_group(raise(), "/etc/group", "ops:x:5:al", "ops:x:5:")]
#[case::removed_by_hand(provision(), "/etc/passwd", "pat:x:50000:50000::/home/pat:/bin/bash\n", "")]
#[case::never_to_expire_once_made(
    provision(),
    "/etc/shadow",
    "pat:!:1:0:99999:7::20001:",
    "pat:!:1:0:99999:7:::"
)]
fn what_is_changed_on_the_host_ends(
    #[case] elevation: Elevation,
    #[case] file: &str,
    #[case] from: &str,
    #[case] to: &str,
) {
    let (_folder, fake, hands) = host();
    let before = seen(&places(&fake));
    hands.remember(&order(&fake, "g", &elevation, 600)).unwrap();
    hands.round().unwrap();
    let path = places(&fake).at(file);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(&path, text.replace(from, to)).unwrap();
    let record = hands.thorough_round().unwrap().records.remove(0);
    let told = Some("it was removed or changed on the host");
    assert_eq!((record.stage, record.message.as_deref()), (Stage::Over, told));
    assert_eq!(seen(&places(&fake)), before);
}

/// Each program that fails is tried again, and until then it is said what is not gone.
#[rstest]
#[case::enable(enable(), "chage")]
#[case::enable_lock(enable(), "usermod")]
#[case::provision_expiry(provision(), "chage")]
#[case::provision_home(provision(), "timeout")]
#[case::provision_user(provision(), "userdel")]
#[case::raise(raise(), "gpasswd")]
#[case::application(application(), "closed-")]
fn an_end_that_fails_is_tried_again(#[case] elevation: Elevation, #[case] fails: &'static str) {
    let (_folder, fake, hands) = host();
    let before = seen(&places(&fake));
    hands.remember(&order(&fake, "g", &elevation, 60)).unwrap();
    hands.round().unwrap();
    fake.0.lock().unwrap().fails = vec![fails];
    fake.pass(60);
    let record = &hands.round().unwrap().records[0];
    assert_eq!(record.stage, Stage::Ending);
    assert!(record.message.as_ref().unwrap().contains("no space left"), "{:?}", record.message);
    fake.0.lock().unwrap().fails = vec![];
    assert_eq!(hands.round().unwrap().records[0].stage, Stage::Over);
    assert_eq!(seen(&places(&fake)), before);
}

/// And each that fails as it is given leaves nothing behind.
#[rstest]
#[case::enable(enable(), "chage")]
#[case::enable_unlock(enable(), "usermod")]
#[case::provision_number(provision(), "numbers.json")]
#[case::provision_group(provision(), "groupadd")]
#[case::provision_user(provision(), "useradd /etc/shadow")]
#[case::provision_home(provision(), "useradd the home")]
#[case::provision_membership(provision(), "gpasswd --add")]
#[case::provision_keys(provision(), "setpriv")]
#[case::raise(raise(), "gpasswd --add al ops")]
#[case::reserve(raise(), "etc/lapse/reserve")]
fn what_cannot_be_given_leaves_nothing(#[case] elevation: Elevation, #[case] fails: &'static str) {
    let (_folder, fake, hands) = host();
    let before = seen(&places(&fake));
    hands.remember(&order(&fake, "g", &elevation, 60)).unwrap();
    fake.0.lock().unwrap().fails = vec![fails];
    hands.round().unwrap();
    fake.0.lock().unwrap().fails = vec![];
    let record = &hands.round().unwrap().records[0];
    assert_eq!((record.stage, record.failed), (Stage::Over, true), "{:?}", record.message);
    assert!(record.message.as_ref().unwrap().contains("no space left"), "{:?}", record.message);
    assert_eq!(seen(&places(&fake)), before);
}

/// An application that is being ended starts nothing, whatever can be written down.
#[test]
fn a_full_disk_keeps_an_application_from_starting_after_its_end() {
    let (_folder, fake, hands) = host();
    hands.remember(&order(&fake, "g", &application(), 600)).unwrap();
    hands.round().unwrap();
    fake.0.lock().unwrap().fails = vec!["var/lib/lapse"];
    assert!(hands.end_now(&Id::of("g"), Some("denied")).is_err());
    assert_eq!(hands.journal().read(&Id::of("g")).unwrap().unwrap().stage, Stage::Active);
    assert!(places(&fake).closed(&Id::of("g")).exists());
    fake.0.lock().unwrap().fails = vec![];
    assert!(hands.end_now(&Id::of("g"), Some("denied")).unwrap());
}
