use chrono::{DateTime, TimeDelta, Utc};
use rstest::rstest;

use super::*;
use crate::asked::Asked;
use crate::clock::Reading;
use crate::right::{Elevation, Right};

const AL: Peer = Peer { uid: 1000, pid: Some(7) };
const BO: Peer = Peer { uid: 1001, pid: Some(8) };
const ROOT: Peer = Peer { uid: 0, pid: Some(9) };
const NOBODY: Peer = Peer { uid: 1002, pid: None };

fn wall() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000)
}

fn record(grant: &str, uid: u32, stage: Stage) -> Record {
    let now = Reading { wall: wall(), boottime_ms: 0, boot_id: "a".into() };
    let right = Right {
        user: format!("u{uid}"),
        uid,
        starts_at: now.wall,
        expires_at: now.wall + TimeDelta::hours(1),
        elevation: Elevation::Admin,
        log_off: false,
        containment: None,
        records_children: false,
    };
    let asked = Asked {
        request: format!("ops/asked-{grant}"),
        ticket: None,
        approved_by: vec![],
        warnings: None,
    };
    let record = Record::received(grant.into(), "u".into(), right, &now);
    Record { stage, asked: Some(asked), ..record }
}

fn all() -> Vec<Record> {
    vec![
        record("of-al", 1000, Stage::Active),
        record("of-al-too", 1000, Stage::Ending),
        record("was-al's", 1000, Stage::Over),
        record("of-bo", 1001, Stage::Active),
    ]
}

fn asked(name: &str, phase: Option<RequestPhase>) -> Requested {
    Requested {
        name: name.into(),
        namespace: "ops".into(),
        user: "al".into(),
        what: "sudo".into(),
        since: wall(),
        phase,
        waiting_for: None,
        why: None,
    }
}

fn chosen(
    known: &[Record],
    requested: &[Requested],
    grant: Option<&str>,
    peer: Peer,
) -> Result<String, String> {
    let end = End { grant: grant.map(str::to_owned) };
    choose(known, requested, &end, peer).map(|wanted| name_of(wanted).to_owned())
}

#[rstest]
#[case::the_only_one(BO, None, Ok("of-bo"))]
#[case::by_name(AL, Some("of-al"), Ok("of-al"))]
#[case::by_its_request(AL, Some("asked-of-al"), Ok("of-al"))]
#[case::by_its_whole_name(AL, Some("ops/asked-of-al"), Ok("of-al"))]
#[case::one_of_several(AL, None, Err("say which one: lapse end of-al, or lapse end of-al-too"))]
#[case::anothers(
    AL,
    Some("of-bo"),
    Err(
        "you neither hold of-bo on this host nor have requested it here: `lapse status` shows what there is"
    )
)]
#[case::none_at_all(
    AL,
    Some("x\u{1b}"),
    Err(
        "you neither hold x? on this host nor have requested it here: `lapse status` shows what there is"
    )
)]
#[case::what_is_over(
    AL,
    Some("was-al's"),
    Err(
        "you neither hold was-al's on this host nor have requested it here: `lapse status` shows what there is"
    )
)]
#[case::what_ends_already(
    AL,
    Some("of-al-too"),
    Err("of-al-too is being ended already, and not gone yet")
)]
#[case::nothing(
    NOBODY,
    None,
    Err("you hold nothing on this host that could end, and have requested nothing")
)]
#[case::root_names_it(ROOT, Some("of-bo"), Ok("of-bo"))]
#[case::root_is_not_guessed_for(
    ROOT,
    None,
    Err("say which one: lapse end of-al, or lapse end of-al-too, or lapse end of-bo")
)]
fn who_ends_what(
    #[case] peer: Peer,
    #[case] grant: Option<&str>,
    #[case] expected: Result<&str, &str>,
) {
    let expected = expected.map(str::to_owned).map_err(str::to_owned);
    assert_eq!(chosen(&all(), &[], grant, peer), expected);
}

#[rstest]
#[case::the_only_one(None, Ok("new"))]
#[case::by_name(Some("new"), Ok("new"))]
#[case::by_its_whole_name(Some("ops/new"), Ok("new"))]
#[case::what_is_decided(
    Some("old"),
    Err(
        "you neither hold old on this host nor have requested it here: `lapse status` shows what there is"
    )
)]
fn who_gives_up_what(#[case] name: Option<&str>, #[case] expected: Result<&str, &str>) {
    let requested = [asked("new", None), asked("old", Some(RequestPhase::Denied))];
    let expected = expected.map(str::to_owned).map_err(str::to_owned);
    assert_eq!(chosen(&all(), &requested, name, NOBODY), expected);
}

#[test]
fn who_holds_and_requests_says_which() {
    let said = chosen(&all(), &[asked("new", None)], None, BO);
    assert_eq!(said, Err("say which one: lapse end of-bo, or lapse end new".to_owned()));
}

/// A gateway that says that something waits which is held must not have it go on when somebody ends it.
#[test]
fn what_is_held_is_ended_whatever_a_gateway_says_of_its_request() {
    let known = all();
    let claimed = vec![asked("asked-of-al", Some(RequestPhase::Pending))];
    let shown: Vec<Requested> = requested(&known, claimed.clone()).collect();
    assert!(shown.is_empty());
    for requested in [shown, claimed] {
        let end = End { grant: Some("asked-of-al".into()) };
        let wanted = choose(&known, &requested, &end, AL).unwrap();
        assert_eq!(wanted, Wanted::Held(&known[0]));
    }
}

/// What the host knows better: whether it was given, and how that ended.
#[test]
fn what_came_to_nothing_here_is_said() {
    let mut failed = record("g", 1000, Stage::Over);
    (failed.failed, failed.message) = (true, Some("no such\u{7} group".into()));
    let known = [failed, record("h", 1000, Stage::Over), record("i", 1000, Stage::Active)];
    let active = |name: &str| asked(name, Some(RequestPhase::Active));
    let all = ["asked-g", "asked-h", "asked-i", "on-its-way"].map(active).to_vec();
    let shown: Vec<_> = requested(&known, all)
        .map(|requested| (requested.name, requested.phase.unwrap(), requested.why))
        .collect();
    let why = Some("no such? group".to_owned());
    assert_eq!(
        shown,
        [
            ("asked-g".to_owned(), RequestPhase::Failed, why),
            ("asked-h".to_owned(), RequestPhase::Ended, None),
            ("on-its-way".to_owned(), RequestPhase::Active, None),
        ]
    );
}
