//! The power goes at each step of a life, before its effect and after it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rstest::rstest;

use super::fake::Fake;
use super::{account, dump, expire, give, raise, settle};
use crate::order::{AccountAction, Elevation, Order};
use crate::record::{Record, Stage};
use crate::steps::Outcome;

/// One of each kind.
fn order(fake: &Fake, kind: usize) -> Order {
    let (user, elevation) = match kind {
        0 => ("al", Elevation::Admin),
        1 => ("bo", raise(&["ops", "Administratoren"])),
        2 => ("off", account(AccountAction::Enable, &[])),
        3 => ("new", account(AccountAction::Provision, &["ops"])),
        _ => ("al", dump()),
    };
    fake.order('a', user, elevation)
}

/// A right is given, and ends on time.
fn life(fake: &Fake, kind: usize) {
    let order = order(fake, kind);
    give(fake, &order);
    fake.pass(60);
    assert_eq!(expire(fake, &order), Outcome::Gone);
}

/// How many steps something has.
fn steps_of(work: impl FnOnce(&Fake)) -> usize {
    let whole = Fake::new();
    work(&whole);
    whole.state.borrow().steps
}

/// Has the power go at a step.
fn crash(fake: &Fake, at: (usize, bool), work: impl FnOnce()) {
    fake.state.borrow_mut().crash = Some(at);
    assert!(catch_unwind(AssertUnwindSafe(work)).is_err(), "{at:?}");
    fake.state.borrow_mut().crash = None;
}

/// Then an end comes by whoever is left: the agent that starts again, or a task.
#[rstest]
fn nothing_is_left_whenever_the_power_goes(
    #[values(0, 1, 2, 3, 4)] kind: usize,
    #[values(true, false)] by_the_agent: bool,
) {
    let steps = steps_of(|fake| life(fake, kind));
    assert!(steps > 15, "{steps}");
    for at in (0..steps).flat_map(|step| [(step, false), (step, true)]) {
        let fake = Fake::new();
        let (before, order) = (fake.people(), order(&fake, kind));
        crash(&fake, at, || life(&fake, kind));
        if fake.people() != before {
            assert_eq!(fake.tasks().len(), 2, "a right without its ends, at {at:?}");
            let known = fake.record(&order.id);
            assert!(
                known.is_some_and(|record| record.is_in_force()),
                "nobody knows of it, at {at:?}"
            );
        }
        fake.pass(60);
        if by_the_agent {
            assert_eq!(settle(&fake), Ok(Vec::new()), "{at:?}");
        } else {
            assert_eq!(expire(&fake, &order), Outcome::Gone, "{at:?}");
        }
        assert_eq!((fake.people(), fake.tasks().len()), (before, 0), "{at:?}");
        let known = fake.record(&order.id);
        assert!(known.is_none_or(|record| record.stage == Stage::Over && !record.armed), "{at:?}");
    }
}

/// And within its time it is given, not lost; what was there before is still known.
#[rstest]
fn what_was_being_given_is_given_after_a_crash(#[values(0, 1, 2, 3, 4)] kind: usize) {
    let given = Fake::new();
    let undo = |record: Option<Record>| record.and_then(|record| record.undo);
    give(&given, &order(&given, kind));
    let (whole, steps) = (given.people(), given.state.borrow().steps);
    for step in 0..steps {
        let fake = Fake::new();
        let (before, order) = (fake.people(), order(&fake, kind));
        crash(&fake, (step, true), || give(&fake, &order));
        assert_eq!(settle(&fake), Ok(Vec::new()), "{step}");
        let record = fake.record(&order.id);
        assert_eq!(record.as_ref().map(|record| record.stage), Some(Stage::Active), "{step}");
        assert_eq!(undo(record), undo(given.record(&order.id)), "{step}");
        assert_eq!((fake.people(), fake.tasks().len()), (whole.clone(), 2), "{step}");
        fake.pass(60);
        assert_eq!(expire(&fake, &order), Outcome::Gone, "{step}");
        assert_eq!(fake.people(), before, "{step}");
    }
}
