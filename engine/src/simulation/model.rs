//! Every order of events up to a bound: a model checker visits all states that two controllers, people
//! and time can reach. One controller may stand still between any two of its reads and writes, read what is
//! out of date, or be killed; the other goes the whole way each time.

use std::hash::{Hash, Hasher};
use std::sync::LazyLock;

use lapse_crds::{GrantPhase, RequestPhase, Verdict};
use regex::{Captures, Regex};
use rstest::rstest;
use stateright::{Checker, Model, Property};

use super::controller::{Controller, settle};
use super::world::{Event, World};
use super::{Kind, phase};
use crate::testing::life::time;

/// A name with a number, as the cluster gives them.
static NUMBERED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("(version|nonce|grant|binding)-[0-9]+").unwrap());

/// Longer than the right lasts, in seconds.
const TOO_LATE: i64 = 4000;

/// What may happen, each thing once and in any order, and one crash.
#[derive(Clone, Debug)]
struct Lives {
    events: &'static [Event],
}

/// The cluster, what the controllers are about to do, and what has not happened yet.
#[derive(Clone, Debug)]
struct State {
    world: World,
    /// One that may stand still between any two steps, for as long as it likes, or be killed.
    slow: Controller,
    left: Vec<Event>,
    crashes: usize,
}

/// One thing that happens.
#[derive(Clone, Debug, PartialEq)]
enum Action {
    Event(usize),
    /// The other controller looks, decides and does it all.
    Reconcile(Kind),
    /// The slow one reads the object itself.
    Begin(Kind),
    /// It reads the rest and decides. Out of date: without the last decision.
    Decide(Sight),
    /// It does the next thing that it decided.
    Write,
    /// It is killed.
    Crash,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Sight {
    Clear,
    OutOfDate,
}

impl State {
    /// The state in words, in which the numbers in the names of versions, nonces and UIDs are those of their
    /// first appearance: they are compared with one another, and nothing else is done with them.
    fn describe(&self) -> String {
        let Self { world, slow, left, crashes } = self;
        let text = format!("{} {} {left:?} {crashes}", world.describe(), slow.describe());
        let mut known: Vec<String> = Vec::new();
        let renumber = |found: &Captures<'_>| {
            let name = &found[0];
            let number = known.iter().position(|other| other == name).unwrap_or_else(|| {
                known.push(name.to_owned());
                known.len() - 1
            });
            format!("#{number}")
        };
        NUMBERED.replace_all(&text, renumber).into_owned()
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.describe().hash(state);
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.describe() == other.describe()
    }
}

impl Model for Lives {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            world: World::default(),
            slow: Controller::default(),
            left: self.events.to_vec(),
            crashes: 1,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.extend((0..state.left.len()).map(Action::Event));
        actions.extend([Action::Reconcile(Kind::Request), Action::Reconcile(Kind::Grant)]);
        if state.slow.is_busy() {
            actions.push(Action::Write);
            actions.extend((state.crashes > 0).then_some(Action::Crash));
        } else if state.slow.is_looking() {
            actions.push(Action::Decide(Sight::Clear));
            if !state.world.decisions.is_empty() {
                actions.push(Action::Decide(Sight::OutOfDate));
            }
        } else {
            actions.extend([Action::Begin(Kind::Request), Action::Begin(Kind::Grant)]);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        let State { world, slow, left, crashes } = &mut next;
        match action {
            Action::Event(which) => world.happens(left.remove(which)),
            Action::Reconcile(kind) => Controller::default().reconcile(world, kind),
            Action::Begin(kind) => slow.begin(world, kind),
            Action::Decide(Sight::Clear) => slow.decide(world, None),
            Action::Decide(Sight::OutOfDate) => {
                let mut seen = world.clone();
                seen.decisions.pop();
                slow.decide(&seen, None);
            }
            Action::Write => slow.write(world),
            Action::Crash => {
                *slow = Controller::default();
                *crashes -= 1;
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("nothing is bound that nobody approved", |_, state: &State| {
                state.world.bindings.is_empty() || said(&state.world, Verdict::Approve)
            }),
            Property::always("a request is granted once", |_, state: &State| {
                state.world.given.len() <= 1
            }),
            Property::always("when all has settled it is held or gone", Self::comes_right),
            Property::sometimes("a right is held", |_, state: &State| is_held(&state.world)),
            Property::sometimes("a right has ended", |_, state: &State| {
                let is_over = |grant: &lapse_crds::Grant| {
                    grant.status.as_ref().is_some_and(|status| status.phase == GrantPhase::Ended)
                };
                state.world.grant.as_ref().is_some_and(is_over)
            }),
        ]
    }
}

impl Lives {
    /// What comes of it when a healthy controller works until nothing is left to do: what was denied or has
    /// expired is gone and told, and what was approved is held, if nobody did anything against it.
    fn comes_right(&self, state: &State) -> bool {
        // What the slow one is about to do, it may never do: that is the state after its end.
        if state.slow.is_busy() && state.crashes > 0 {
            return true;
        }
        let mut world = state.world.clone();
        settle(&mut world);
        let is_over = expires_at(&world).is_some_and(|end| world.now >= end);
        let is_kind = |event: &Event| matches!(event, Event::Approve | Event::Wait(_));
        if is_over || said(&world, Verdict::Deny) {
            world.bindings.is_empty() && phase(&world).is_none_or(RequestPhase::is_terminal)
        } else {
            !said(&world, Verdict::Approve) || !self.events.iter().all(is_kind) || is_held(&world)
        }
    }
}

fn said(world: &World, verdict: Verdict) -> bool {
    world.decisions.iter().any(|said| said.object.spec.verdict == verdict)
}

/// When the right ends, if it was approved: an hour later.
fn expires_at(world: &World) -> Option<i64> {
    let approval =
        world.decisions.iter().find(|said| said.object.spec.verdict == Verdict::Approve)?;
    let at = approval.attestation.as_ref().ok()?.admitted_at.time();
    Some((at - time(0)).num_seconds() + 3600)
}

fn is_held(world: &World) -> bool {
    phase(world) == Some(RequestPhase::Active) && !world.bindings.is_empty()
}

/// Nothing goes wrong in any order: all there is was searched.
#[rstest]
#[case::time(&[Event::Approve, Event::Wait(TOO_LATE)])]
#[case::a_deny(&[Event::Approve, Event::Deny])]
#[case::the_grant_is_deleted(&[Event::Approve, Event::DeleteGrant])]
#[case::a_binding_is_deleted(&[Event::Approve, Event::DeleteBinding])]
#[case::the_role_grows(&[Event::Approve, Event::ChangeRole])]
fn every_order_is_safe(#[case] events: &'static [Event]) {
    let checker = Lives { events }.checker().spawn_bfs().join();
    checker.assert_properties();
    assert!(checker.is_done() && checker.unique_state_count() > 500, "the search was cut short");
}
