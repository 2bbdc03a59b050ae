//! A cluster in memory, and two controllers that crash, stand still and read at awkward moments.
//!
//! It speaks for the engine as the controller uses it: a Grant is created with POST, a status is
//! written over the version that was read, a binding is deleted by its UID. Between any two reads and
//! any two writes anything may happen, also that a controller stands still and goes on much later.

mod controller;
mod model;
mod world;

use lapse_crds::{EndReason, GrantPhase, RequestPhase};
use proptest::prelude::*;

use controller::{Controller, settle};
use world::{Event, World};

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    /// Somebody does something, or time goes on.
    Event(Event),
    /// A controller goes the whole way undisturbed.
    Reconcile(usize, Kind),
    /// A controller starts to look at the request, or at the Grant.
    Begin(usize, Kind),
    /// It reads the rest, one thing in vain perhaps, and decides.
    Decide(usize, Option<LookUp>),
    /// It does the next thing that it decided to do.
    Write(usize),
    /// It is killed.
    Crash(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Request,
    Grant,
}

/// A look-up that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LookUp {
    Role,
    Decisions,
    /// The Grant of a request, the request of a Grant.
    Counterpart,
    Bindings,
}

const CONTROLLERS: usize = 2;

fn any_step(events: BoxedStrategy<Event>) -> impl Strategy<Value = Step> {
    let who = || 0..CONTROLLERS;
    let kind = || prop_oneof![Just(Kind::Request), Just(Kind::Grant)];
    let look_ups = vec![LookUp::Role, LookUp::Decisions, LookUp::Counterpart, LookUp::Bindings];
    let failing = prop::option::weighted(0.15, prop::sample::select(look_ups));
    prop_oneof![
        2 => events.prop_map(Step::Event),
        6 => (who(), kind()).prop_map(|(who, kind)| Step::Reconcile(who, kind)),
        4 => (who(), kind()).prop_map(|(who, kind)| Step::Begin(who, kind)),
        4 => (who(), failing).prop_map(|(who, failing)| Step::Decide(who, failing)),
        6 => who().prop_map(Step::Write),
        1 => who().prop_map(Step::Crash),
    ]
}

/// People who want the right to be given, and time that goes on.
fn kind_events() -> BoxedStrategy<Event> {
    prop_oneof![Just(Event::Approve), (1..60i64).prop_map(Event::Wait)].boxed()
}

/// All that may happen to a right.
fn any_event() -> BoxedStrategy<Event> {
    prop_oneof![
        4 => Just(Event::Approve),
        2 => (1..2000i64).prop_map(Event::Wait),
        1 => Just(Event::Deny),
        1 => Just(Event::End),
        1 => Just(Event::DeleteGrant),
        1 => Just(Event::DeleteRequest),
        1 => Just(Event::DeleteBinding),
        1 => Just(Event::ChangeBinding),
        1 => Just(Event::EditPolicy),
        1 => Just(Event::BreakPolicy),
        1 => Just(Event::DeletePolicy),
        1 => Just(Event::ChangeRole),
    ]
    .boxed()
}

fn run(steps: &[Step]) -> World {
    let mut world = World::default();
    let mut controllers: [Controller; CONTROLLERS] = Default::default();
    for step in steps {
        match step {
            Step::Event(event) => world.happens(*event),
            Step::Reconcile(who, kind) => controllers[*who].reconcile(&mut world, *kind),
            Step::Begin(who, kind) => controllers[*who].begin(&world, *kind),
            Step::Decide(who, failing) => controllers[*who].decide(&world, *failing),
            Step::Write(who) => controllers[*who].write(&mut world),
            Step::Crash(who) => controllers[*who] = Controller::default(),
        }
    }
    // Whatever the controllers still meant to do, they may do late, or never.
    for controller in &mut controllers[..1] {
        while controller.is_busy() {
            controller.write(&mut world);
        }
    }
    world
}

fn phase(world: &World) -> Option<RequestPhase> {
    let request = world.request.as_ref()?;
    Some(request.status.as_ref().map(|status| status.phase).unwrap_or_default())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn no_right_outlives_its_end(steps in prop::collection::vec(any_step(any_event()), 0..80)) {
        let mut world = run(&steps);
        settle(&mut world);
        let status = |grant: &lapse_crds::Grant| grant.status.clone().unwrap_or_default().phase;
        // A Grant waits with half of its bindings when its policy breaks in between.
        let is_live = match world.grant.as_ref().map(status) {
            Some(GrantPhase::Pending) => world.bindings.len() < world::OBJECTS,
            Some(GrantPhase::Active) => phase(&world).is_none_or(|p| p == RequestPhase::Active),
            Some(GrantPhase::Ending | GrantPhase::Ended) | None => false,
        };
        prop_assert!(is_live || world.bindings.is_empty(), "{:?}", world.bindings);
        prop_assert!(world.given.len() <= 1, "it was given by {:?}", world.given);

        // At the end of its time nothing of it is left, and everything is told.
        world.happens(Event::Wait(100_000));
        settle(&mut world);
        prop_assert!(world.bindings.is_empty(), "{:?}", world.bindings);
        prop_assert!(phase(&world).is_none_or(RequestPhase::is_terminal), "{:?}", phase(&world));
        prop_assert!(world.given.len() <= 1, "it was given by {:?}", world.given);
    }

    #[test]
    fn what_is_approved_is_held_and_then_expires(
        steps in prop::collection::vec(any_step(kind_events()), 0..60),
    ) {
        let mut world = run(&steps);
        let has_waited_long = world.now >= 3600;
        prop_assume!(!has_waited_long);
        world.happens(Event::Approve);
        settle(&mut world);
        prop_assert_eq!(phase(&world), Some(RequestPhase::Active));
        prop_assert_eq!(world.bindings.len(), world::OBJECTS);
        prop_assert_eq!(world.given.len(), 1);

        world.happens(Event::Wait(3600));
        settle(&mut world);
        prop_assert!(world.bindings.is_empty());
        let status = world.request.and_then(|request| request.status).unwrap();
        prop_assert_eq!(status.end_reason, Some(EndReason::Expired));
    }

    /// Once somebody said no and everything has settled, there is no right.
    #[test]
    fn a_no_ends_it(
        steps in prop::collection::vec(any_step(any_event()), 0..60),
        deny: bool,
    ) {
        let mut world = run(&steps);
        world.happens(if deny { Event::Deny } else { Event::End });
        settle(&mut world);
        prop_assert!(world.bindings.is_empty(), "{:?}", world.bindings);
        prop_assert!(phase(&world).is_none_or(RequestPhase::is_terminal));
    }
}

/// A controller stands still before it writes the Grant. Meanwhile another gives the right, the Grant
/// is deleted, and its end is recorded. The Grant that the first writes at last gives nothing.
#[test]
fn a_controller_that_stood_still_gives_nothing_anew() {
    let mut world = World::default();
    world.happens(Event::Approve);
    let mut late = Controller::default();
    late.begin(&world, Kind::Request);
    late.decide(&world, None);

    settle(&mut world);
    assert_eq!(world.bindings.len(), world::OBJECTS);
    world.happens(Event::DeleteGrant);
    settle(&mut world);
    assert!(world.grant.is_none() && world.bindings.is_empty());

    late.write(&mut world);
    assert!(world.grant.is_some());
    settle(&mut world);
    assert!(world.bindings.is_empty());
    assert_eq!(world.given.len(), 1);
}

/// The same before it makes the bindings: they come when the Grant is gone, and are swept away.
#[test]
fn a_binding_that_comes_late_does_not_stay() {
    let mut world = World::default();
    world.happens(Event::Approve);
    let mut late = Controller::default();
    late.reconcile(&mut world, Kind::Request);
    late.begin(&world, Kind::Grant);
    late.decide(&world, None);

    for event in [Event::Wait(10), Event::DeleteGrant] {
        world.happens(event);
        settle(&mut world);
    }
    assert!(world.grant.is_none());
    while late.is_busy() {
        late.write(&mut world);
    }
    assert!(!world.bindings.is_empty());
    settle(&mut world);
    assert!(world.bindings.is_empty());
}

/// A controller made the bindings and was killed; then the policy broke. The right is held, and is
/// said to be.
#[test]
fn what_stood_before_the_policy_broke_is_told() {
    let mut world = World::default();
    world.happens(Event::Approve);
    let mut controller = Controller::default();
    controller.reconcile(&mut world, Kind::Request);
    controller.reconcile(&mut world, Kind::Grant);
    world.happens(Event::BreakPolicy);
    settle(&mut world);
    assert_eq!(phase(&world), Some(RequestPhase::Active));
    assert_eq!(world.bindings.len(), world::OBJECTS);
}
