//! On a Windows that is a few maps.

mod crashes;
mod fake;
mod lints;
mod programs;
mod refused;

use chrono::TimeDelta;
use rstest::rstest;

use self::fake::{DUMP, Fake, sid};
use super::sid::Sid;
use super::*;
use crate::order::Program;
use crate::record::Stage;
use crate::steps::{Outcome, Steps};

fn raise(groups: &[&str]) -> Elevation {
    account(AccountAction::Raise, groups)
}

fn account(action: AccountAction, groups: &[&str]) -> Elevation {
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    Elevation::Account { action, groups, authorized_keys: Vec::new() }
}

fn dump() -> Elevation {
    Elevation::Application(program(DUMP.0, Some(DUMP.1)))
}

fn program(path: &str, sha256: Option<&str>) -> Program {
    let sha256 = sha256.map(str::to_owned);
    Program { path: path.to_owned(), args: Vec::new(), env: [].into(), sha256 }
}

/// Does something with what carries out orders there.
fn with_steps<T>(fake: &Fake, work: impl FnOnce(&Steps<'_>) -> T) -> T {
    let (windows, ledger) = (fake.windows(), fake.ledger());
    work(&Steps { host: &windows, ledger: &ledger, files: fake, clock: fake })
}

/// Gives what must be given.
fn give(fake: &Fake, order: &Order) {
    let record = with_steps(fake, |steps| steps.give(order)).unwrap();
    assert_eq!((record.stage, record.why), (Stage::Active, None));
}

/// Why an order is refused, or what it asks for cannot be given.
fn refused(fake: &Fake, order: &Order) -> String {
    match with_steps(fake, |steps| steps.give(order)) {
        Ok(record) => {
            assert_eq!((record.stage, record.failed), (Stage::Over, true));
            record.why.unwrap()
        }
        Err(why) => why,
    }
}

/// What comes of a start of the agent.
fn settle(fake: &Fake) -> Result<Vec<String>, String> {
    with_steps(fake, |steps: &Steps<'_>| Steps::settle(steps))
}

/// What comes of the end of an order, as Windows calls for it.
fn expire(fake: &Fake, order: &Order) -> Outcome {
    with_steps(fake, |steps| steps.expire(&order.id)).unwrap()
}

#[rstest]
#[case::administrators("al", Elevation::Admin)]
#[case::a_group("al", Elevation::Group("ops".into()))]
#[case::a_group_by_its_sid("al", Elevation::Group("S-1-5-32-544".into()))]
#[case::an_application("al", dump())]
#[case::raised("al", raise(&["ops", "Administratoren"]))]
#[case::enabled("off", account(AccountAction::Enable, &[]))]
#[case::enabled_that_had_expired("old", account(AccountAction::Enable, &[]))]
#[case::made("new", account(AccountAction::Provision, &["ops"]))]
fn a_right_is_given_and_ends_on_time(#[case] user: &str, #[case] elevation: Elevation) {
    let (fake, is_account) = (Fake::new(), !matches!(elevation, Elevation::Application(_)));
    let (before, order) = (fake.people(), fake.order('a', user, elevation));
    give(&fake, &order);
    assert_eq!(fake.people() != before, is_account);
    assert_eq!(fake.tasks().len(), 2);
    fake.pass(59);
    assert_eq!(expire(&fake, &order), Outcome::Lasts(TimeDelta::seconds(1)));
    fake.pass(1);
    assert_eq!(expire(&fake, &order), Outcome::Gone);
    assert_eq!(fake.people(), before);
    assert_eq!(fake.tasks(), [""; 0]);
    assert_eq!(fake.record(&order.id).unwrap().stage, Stage::Over);
    // And once more is no harm.
    assert_eq!(expire(&fake, &order), Outcome::Gone);
    assert_eq!(settle(&fake), Ok(Vec::new()));
}

#[test]
fn administrators_are_known_by_their_number_in_every_language() {
    let fake = Fake::new();
    give(&fake, &fake.order('a', "al", Elevation::Admin));
    assert!(fake.is_in(&Sid::administrators(), &sid(1001)));
}

#[test]
fn with_a_membership_goes_what_runs_by_it_and_nobody_elses() {
    let fake = Fake::new();
    let order = fake.order('a', "al", Elevation::Group("ops".into()));
    give(&fake, &order);
    fake.pass(60);
    assert_eq!(expire(&fake, &order), Outcome::Gone);
    let state = fake.state.borrow();
    assert_eq!(state.sessions, [(2, sid(1002))].into());
    assert_eq!(state.processes, [(20, sid(1002))].into());
}

#[test]
fn who_was_in_a_group_before_stays_and_is_not_logged_off() {
    let fake = Fake::new();
    let order = fake.order('a', "bo", raise(&["ops"]));
    give(&fake, &order);
    fake.pass(60);
    assert_eq!(expire(&fake, &order), Outcome::Gone);
    assert!(fake.is_in(&sid(2000), &sid(1002)));
    assert_eq!(fake.state.borrow().sessions.len(), 2);
}

#[test]
fn who_is_to_be_logged_off_is_once() {
    let fake = Fake::new();
    let order = Order { log_off: true, ..fake.order('a', "bo", raise(&["ops"])) };
    give(&fake, &order);
    fake.pass(60);
    assert_eq!(expire(&fake, &order), Outcome::Gone);
    assert_eq!(fake.state.borrow().sessions, [(1, sid(1001))].into());
    assert!(fake.record(&order.id).unwrap().logged_off);
}

#[rstest]
#[case::the_first_ends_first(60, 120)]
#[case::the_last_ends_first(120, 60)]
fn overlapping_rights_take_nothing_from_one_another(#[case] first: i64, #[case] second: i64) {
    let fake = Fake::new();
    let before = fake.people();
    let until = |letter, seconds| {
        let order = fake.order(letter, "al", Elevation::Group("ops".into()));
        let expires_at = order.expires_at + TimeDelta::seconds(seconds - 60);
        Order { expires_at, ..order }
    };
    let orders = [until('a', first), until('b', second)];
    for order in &orders {
        give(&fake, order);
    }
    fake.pass(60);
    for order in &orders {
        let _ = expire(&fake, order);
    }
    assert!(fake.is_in(&sid(2000), &sid(1001)), "one of them lasts");
    fake.pass(60);
    for order in &orders {
        assert_eq!(expire(&fake, order), Outcome::Gone);
    }
    assert_eq!(fake.people(), before);
}

#[test]
fn two_who_enable_an_account_leave_it_on_until_the_last_end() {
    let fake = Fake::new();
    let before = fake.people();
    let enable = || account(AccountAction::Enable, &[]);
    let first = fake.order('a', "off", enable());
    let second = fake.order('b', "off", enable());
    let second = Order { expires_at: second.expires_at + TimeDelta::minutes(1), ..second };
    give(&fake, &first);
    give(&fake, &second);
    let last = second.expires_at.timestamp();
    assert_eq!(fake.user_now("off").expires, Some(last));
    fake.pass(60);
    assert_eq!(expire(&fake, &first), Outcome::Gone);
    let now = fake.user_now("off");
    assert_eq!((now.is_off, now.expires), (false, Some(last)));
    fake.pass(60);
    assert_eq!(expire(&fake, &second), Outcome::Gone);
    assert_eq!(fake.people(), before);
}

#[test]
fn an_account_that_is_made_is_on_until_its_end_and_no_longer() {
    let fake = Fake::new();
    let order = fake.order('a', "new", account(AccountAction::Provision, &["ops"]));
    give(&fake, &order);
    let made = fake.user_now("new");
    assert_eq!((made.is_off, made.expires), (false, Some(order.expires_at.timestamp())));
    assert_eq!(made.comment, format!("Made by Lapse for a time ({})", order.id));
    assert!(fake.is_in(&sid(2000), &made.sid) && fake.is_in(&Sid::users(), &made.sid));
}

#[test]
fn an_account_that_somebody_made_in_its_place_is_not_removed() {
    let fake = Fake::new();
    let order = fake.order('a', "new", account(AccountAction::Provision, &[]));
    give(&fake, &order);
    fake.state.borrow_mut().people.users.get_mut("new").unwrap().comment = "Anna".into();
    fake.pass(60);
    let Outcome::Left(said) = expire(&fake, &order) else { panic!("it is gone") };
    let expected = "the local user new does not have the comment by which Lapse knows the one that it has made: look whose it is, \
                    and remove it or rename it";
    assert_eq!(said, [expected; 2].join("; "));
    assert!(fake.state.borrow().people.users.contains_key("new"));
    assert_eq!(fake.tasks().len(), 2, "it is tried again");
}

#[test]
fn what_was_taken_away_by_hand_ends_and_is_not_given_back() {
    let fake = Fake::new();
    let order = fake.order('a', "al", Elevation::Admin);
    give(&fake, &order);
    let administrators = Sid::administrators();
    fake.state.borrow_mut().people.groups.get_mut(&administrators).unwrap().1.remove(&sid(1001));
    assert_eq!(settle(&fake), Ok(Vec::new()));
    let record = fake.record(&order.id).unwrap();
    let why = record.why.as_deref();
    assert_eq!((record.stage, why), (Stage::Over, Some("it was removed or changed on the host")));
    assert!(!fake.is_in(&administrators, &sid(1001)));
}

#[test]
fn a_name_that_is_anothers_by_now_gives_them_nothing() {
    let fake = Fake::new();
    let order = fake.order('a', "al", Elevation::Admin);
    give(&fake, &order);
    fake.state.borrow_mut().people.users.get_mut("al").unwrap().sid = sid(3000);
    assert_eq!(settle(&fake), Ok(Vec::new()));
    let why = fake.record(&order.id).unwrap().why.unwrap();
    assert_eq!(why, "the local user al is not S-1-5-21-1-2-3-1001 any more");
    assert!(!fake.is_in(&Sid::administrators(), &sid(1001)));
}

#[test]
fn a_clock_that_is_set_back_gives_no_time() {
    let fake = Fake::new();
    let order = fake.order('a', "al", Elevation::Admin);
    give(&fake, &order);
    fake.state.borrow_mut().now.wall -= TimeDelta::hours(1);
    assert_eq!(settle(&fake), Ok(Vec::new()));
    assert_eq!(fake.record(&order.id).unwrap().stage, Stage::Over);
    assert!(!fake.is_in(&Sid::administrators(), &sid(1001)));
}

#[test]
fn an_end_that_comes_too_early_is_set_anew() {
    let fake = Fake::new();
    let order = fake.order('a', "al", Elevation::Admin);
    give(&fake, &order);
    fake.state.borrow_mut().tasks.clear();
    fake.pass(30);
    assert_eq!(expire(&fake, &order), Outcome::Lasts(TimeDelta::seconds(30)));
    let counting = fake.state.borrow().tasks[&ends::names(&order.id)[1]].clone();
    assert!(counting.contains("<Delay>PT30S</Delay>"), "{counting}");
}

#[test]
fn an_order_that_nobody_knows_has_its_tasks_removed() {
    let fake = Fake::new();
    let order = fake.order('a', "al", Elevation::Admin);
    for name in ends::names(&order.id) {
        fake.state.borrow_mut().tasks.insert(name, String::new());
    }
    assert_eq!(expire(&fake, &order), Outcome::Gone);
    assert_eq!(fake.tasks(), [""; 0]);
}

#[test]
fn an_order_is_not_carried_out_twice() {
    let fake = Fake::new();
    let order = fake.order('a', "al", Elevation::Admin);
    give(&fake, &order);
    assert_eq!(
        with_steps(&fake, |steps| steps.end(&order.id, "ended by an owner")),
        Ok(Outcome::Gone)
    );
    let again = with_steps(&fake, |steps| steps.give(&order)).unwrap();
    assert_eq!((again.stage, again.why.as_deref()), (Stage::Over, Some("ended by an owner")));
    assert!(!fake.is_in(&Sid::administrators(), &sid(1001)));
}

#[test]
fn an_order_is_forgotten_when_it_could_not_be_carried_out_again() {
    let fake = Fake::new();
    let order = fake.order('a', "al", Elevation::Admin);
    let forget = || with_steps(&fake, |steps| steps.forget(&order.id)).unwrap();
    give(&fake, &order);
    assert!(!forget(), "it is in force");
    with_steps(&fake, |steps| steps.end(&order.id, "ended by an owner")).unwrap();
    assert!(!forget(), "it could come again");
    fake.pass(60);
    fake.state.borrow_mut().now.wall -= TimeDelta::hours(1);
    assert!(!forget(), "by this clock it is not over");
    fake.pass(3600);
    assert!(forget() && fake.record(&order.id).is_none());
    assert!(forget(), "nobody knows of it");
}

#[rstest]
#[case::the_calendar("task \\Lapse\\end-")]
#[case::the_counter("task \\Lapse\\after-")]
#[case::the_group("join S-1-5-32-544")]
fn what_cannot_be_given_fails_whole(#[case] fails: &'static str) {
    let fake = Fake::new();
    let before = fake.people();
    fake.state.borrow_mut().fails = Some(fails);
    let order = fake.order('a', "al", raise(&["ops", "Administratoren"]));
    let said = refused(&fake, &order);
    assert!(
        said.contains("failed with 5 (access denied)") || said.contains("ended with 1"),
        "{said}"
    );
    assert_eq!((fake.people(), fake.tasks().len()), (before, 0));
}

#[test]
fn what_cannot_be_taken_back_is_said_and_tried_again() {
    let fake = Fake::new();
    let before = fake.people();
    let order = fake.order('a', "al", Elevation::Admin);
    give(&fake, &order);
    fake.pass(60);
    fake.state.borrow_mut().fails = Some("leave ");
    let said =
        "changing the group Administrators: NetLocalGroupDelMembers failed with 5 (access denied)";
    assert_eq!(expire(&fake, &order), Outcome::Left(said.to_owned()));
    assert_eq!(settle(&fake), Ok(vec![said.to_owned()]));
    fake.state.borrow_mut().fails = None;
    assert_eq!(expire(&fake, &order), Outcome::Gone);
    assert_eq!(fake.people(), before);
}

#[test]
fn a_full_disk_keeps_nothing_from_its_end() {
    let fake = Fake::new();
    let before = fake.people();
    let order = fake.order('a', "al", Elevation::Admin);
    give(&fake, &order);
    fake.pass(60);
    fake.state.borrow_mut().fails = Some("write ");
    let Outcome::Left(said) = expire(&fake, &order) else { panic!("what is not written is told") };
    assert!(said.ends_with("no space left"), "{said}");
    assert_eq!(fake.people(), before);
    fake.state.borrow_mut().fails = None;
    assert_eq!(expire(&fake, &order), Outcome::Gone);
}

#[test]
fn people_are_told_in_each_of_their_sessions() {
    let fake = Fake::new();
    fake.state.borrow_mut().sessions.insert(7, sid(1001));
    let text = "Your access ends in 5 minutes.\nSave\u{7} your work.";
    assert_eq!(messages::tell(&fake, &sid(1001), "Lapse", text), 2);
    let told = |session| (session, "Lapse".to_owned(), text.replace('\u{7}', " "));
    assert_eq!(fake.state.borrow().told, [told(1), told(7)]);
    assert_eq!(messages::tell(&fake, &sid(1003), "Lapse", text), 0, "who is not logged on");
}
