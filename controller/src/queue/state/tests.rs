use super::*;

fn request(name: &str, requester: &str) -> Item {
    let text = |text: &str| text.to_owned();
    Item::Request { namespace: text("shop"), name: text(name), requester: text(requester) }
}

fn grant(name: &str) -> Item {
    Item::Grant(name.to_owned())
}

fn time(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

/// So many seconds after a time, by both clocks.
fn after(start: Instant, seconds: i64) -> Moment {
    let monotonic = start + Duration::from_secs(seconds.unsigned_abs());
    Moment { monotonic, wall: time(seconds) }
}

fn take(state: &mut State, pool: Pool) -> Option<Item> {
    state.take(pool).map(|job| job.item)
}

#[test]
fn what_is_urgent_comes_first_and_each_once() {
    let mut state = State::default();
    state.push(request("fix", "alice"), Lane::Give);
    state.push(request("help", "bob"), Lane::Emergency);
    state.push(request("fix", "alice"), Lane::Give);
    state.push(grant("g"), Lane::Follow);
    state.push(grant("g"), Lane::End);
    assert_eq!(take(&mut state, Pool::Give), Some(request("help", "bob")));
    assert_eq!(take(&mut state, Pool::Give), Some(request("fix", "alice")));
    assert_eq!(take(&mut state, Pool::Give), None);
    assert_eq!(take(&mut state, Pool::Follow), None, "it has become urgent");
    assert_eq!(take(&mut state, Pool::End), Some(grant("g")));
}

#[test]
fn what_happens_meanwhile_is_looked_at_after() {
    let mut state = State::default();
    state.push(grant("g"), Lane::Follow);
    let job = state.take(Pool::Follow).unwrap();
    state.push(grant("g"), Lane::Follow);
    state.push(grant("g"), Lane::End);
    assert_eq!(take(&mut state, Pool::End), None, "one at a time");
    assert_eq!(state.done(&job), [Pool::End]);
    assert_eq!(take(&mut state, Pool::End), Some(grant("g")));
}

#[test]
fn one_at_a_time_for_each_person_and_nobody_waits_for_another() {
    let mut state = State::default();
    for index in 0..500 {
        state.push(request(&format!("many-{index}"), "alice"), Lane::Give);
    }
    state.push(request("one", "bob"), Lane::Give);
    let first = state.take(Pool::Give).unwrap();
    assert_eq!(first.item, request("many-0", "alice"));
    assert_eq!(take(&mut state, Pool::Give), Some(request("one", "bob")));
    assert_eq!(take(&mut state, Pool::Give), None, "it is not yet the turn of her second");
    state.done(&first);
    assert_eq!(take(&mut state, Pool::Give), Some(request("many-1", "alice")));
}

#[test]
fn what_is_kept_apart_has_one_turn_for_all() {
    let mut state = State::default();
    let items = [request("a", "alice"), request("b", "bob")];
    let looked_at = items.map(|item| {
        state.push(item, Lane::Give);
        state.take(Pool::Give).unwrap()
    });
    for job in looked_at {
        state.done(&job);
        state.push_in_common_turn(job.item, Lane::Give);
    }
    let first = state.take(Pool::Give).unwrap();
    assert!(first.has_common_turn);
    assert!(state.take(Pool::Give).is_none(), "it is not yet the turn of the second");
    state.done(&first);
    let second = state.take(Pool::Give).unwrap();
    assert!(second.has_common_turn && second.item != first.item);
}

#[test]
fn an_earlier_time_stands_until_it_is_looked_at() {
    let mut state = State::default();
    let start = Instant::now();
    let at = |seconds| after(start, seconds);
    state.postpone(grant("g"), Lane::End, at(10));
    state.postpone(grant("g"), Lane::End, at(20));
    assert_eq!(state.take_due(at(9)), (vec![], Some(Duration::from_secs(1))));
    assert_eq!(state.take_due(at(10)), (vec![(grant("g"), Lane::End)], None));
    state.postpone(grant("g"), Lane::Follow, at(30));
    state.push(grant("g"), Lane::End);
    state.take(Pool::End).unwrap();
    assert_eq!(state.take_due(at(40)), (vec![], None), "it says itself when to look again");
    state.postpone(grant("h"), Lane::Follow, at(10));
    state.postpone(grant("h"), Lane::End, at(20));
    let due = state.take_due(at(10)).0;
    assert_eq!(due, [(grant("h"), Lane::End)], "an end that failed is no less urgent for it");
}

#[test]
fn what_is_due_by_either_clock_is_due_once() {
    let start = Instant::now();
    let at = |seconds| after(start, seconds);
    let by_wall = |seconds| Moment { monotonic: start, wall: time(seconds) };
    for now in [Moment { wall: time(0), ..at(20) }, by_wall(20), at(20)] {
        let mut state = State::default();
        for (name, seconds) in [("late", 20), ("early", 10), ("later", 30)] {
            state.postpone(grant(name), Lane::End, at(seconds));
        }
        let (due, wait) = state.take_due(now);
        assert_eq!(due, ["early", "late"].map(|name| (grant(name), Lane::End)));
        assert_eq!(wait, Some(Duration::from_secs(10)), "by that which is further");
        assert_eq!(state.take_due(now), (vec![], wait));
        assert_eq!(state.take_due(at(30)), (vec![(grant("later"), Lane::End)], None));
    }
}

#[test]
fn failures_are_counted_in_a_row() {
    let mut state = State::default();
    let mut fails = |is_failure: bool| {
        state.push(grant("g"), Lane::End);
        let job = state.take(Pool::End).unwrap();
        if is_failure {
            state.failed(&job).0
        } else {
            state.done(&job);
            0
        }
    };
    assert_eq!([true, true, false, true].map(&mut fails), [1, 2, 0, 1]);
}

/// What waits for a turn costs nothing while somebody has it, however much it is, and comes in its order.
#[test]
fn of_those_that_wait_for_a_turn_one_moves() {
    let mut state = State::default();
    for index in 0..100 {
        state.push(request(&format!("many-{index}"), "alice"), Lane::Give);
    }
    let first = state.take(Pool::Give).unwrap();
    assert!(state.take(Pool::Give).is_none());
    state.push(request("help", "alice"), Lane::Emergency);
    state.push(request("many-7", "alice"), Lane::Emergency);
    assert!(state.take(Pool::Give).is_none(), "they wait for her turn, too");
    assert_eq!(state.done(&first), [Pool::Give]);
    let in_lanes = state.lanes.values().map(VecDeque::len).sum::<usize>();
    assert_eq!(in_lanes, 1);
    let mut order = Vec::new();
    while let Some(job) = state.take(Pool::Give) {
        order.push(job.item.to_string());
        state.done(&job);
    }
    assert_eq!(order.len(), 101 - 1, "each once: {order:?}");
    assert_eq!(order[..4], ["shop/help", "shop/many-7", "shop/many-1", "shop/many-2"]);
}

/// Whatever gives, and however much has to be written down, it takes no place from what may end a right.
#[test]
fn what_may_end_a_right_waits_behind_nothing_that_is_given() {
    let mut state = State::default();
    for index in 0..100 {
        state.push(request(&format!("many-{index}"), &format!("person-{index}")), Lane::Check);
        state.push(grant(&format!("other-{index}")), Lane::Follow);
    }
    state.push(grant("banned"), Lane::Held);
    state.push(grant("denied"), Lane::End);
    state.push(grant("unsure"), Lane::Again);
    for (pool, item) in [(Pool::End, "denied"), (Pool::Held, "banned"), (Pool::Again, "unsure")] {
        assert_eq!(take(&mut state, pool), Some(grant(item)));
        assert_eq!(take(&mut state, pool), None);
    }
}

/// What ends it is known, whatever could not be told until then.
#[test]
fn an_end_waits_for_no_look_that_failed() {
    let mut state = State::default();
    state.push(grant("g"), Lane::Held);
    let job = state.take(Pool::Held).unwrap();
    assert_eq!(state.failed(&job).0, 1);
    state.push(grant("g"), Lane::Again);
    state.push(grant("g"), Lane::End);
    let job = state.take(Pool::End).unwrap();
    assert_eq!(state.failed(&job).0, 1, "its pauses begin anew");
    assert_eq!(take(&mut state, Pool::Again), None, "once");
}

/// Ends that fail again and again, as where somebody's webhook hangs on deletions, leave half of the places to others.
#[test]
fn ends_that_fail_keep_no_other_from_its_place() {
    let mut state = State::default();
    let failing: Vec<_> = (0..40).map(|index| format!("failing-{index}")).collect();
    for name in &failing {
        state.push(grant(name), Lane::End);
        let job = state.take(Pool::End).unwrap();
        state.failed(&job);
    }
    for name in &failing {
        state.push(grant(name), Lane::End);
    }
    state.push(grant("denied"), Lane::End);
    let first: Vec<_> = (0..8).map(|_| state.take(Pool::End).unwrap()).collect();
    let names = first.iter().map(|job| job.item.clone());
    assert_eq!(
        names.collect::<Vec<_>>(),
        failing[..8].iter().map(|n| grant(n)).collect::<Vec<_>>()
    );
    assert_eq!(take(&mut state, Pool::End), Some(grant("denied")));
    assert_eq!(take(&mut state, Pool::End), None, "the rest waits");
    state.failed(&first[0]);
    assert_eq!(take(&mut state, Pool::End), Some(grant("failing-8")), "in its order");
    // One that succeeds after all is as any other.
    state.done(&first[1]);
    assert_eq!(take(&mut state, Pool::End), Some(grant("failing-9")));
    // One that waits for its answer leaves its place to the next.
    assert_eq!(take(&mut state, Pool::End), None);
    state.gives_place_back(&first[2]);
    assert_eq!(take(&mut state, Pool::End), Some(grant("failing-10")));
    state.failed(&first[2]);
    assert_eq!(take(&mut state, Pool::End), None);
}

/// Thousands of ends fail and are queued again while as many as may be are tried. That another comes costs no look at them.
#[test]
fn ends_that_are_held_back_are_passed_once() {
    let mut state = State::default();
    let failing: Vec<_> = (0..1000).map(|index| grant(&format!("failing-{index}"))).collect();
    for item in &failing {
        state.push(item.clone(), Lane::End);
        let job = state.take(Pool::End).unwrap();
        state.failed(&job);
    }
    for item in &failing {
        state.push(item.clone(), Lane::End);
    }
    while state.take(Pool::End).is_some() {}
    state.push(grant("denied"), Lane::End);
    assert_eq!(state.lanes.values().map(VecDeque::len).sum::<usize>(), 1);
    assert_eq!(take(&mut state, Pool::End), Some(grant("denied")));
}

/// Rights that cannot be given, and hang when that is tried again, are no ends, and have no place of theirs.
#[test]
fn what_could_not_be_given_keeps_no_end_that_is_tried_again() {
    let mut state = State::default();
    let mut fails = |item: Item, lane: Lane| {
        state.push(item, lane);
        let job = state.take(lane.pool()).unwrap();
        state.failed(&job);
    };
    let given: Vec<_> = (0..8).map(|index| grant(&format!("given-{index}"))).collect();
    for item in &given {
        fails(item.clone(), Lane::Give);
    }
    fails(grant("denied"), Lane::End);
    for item in &given {
        state.push(item.clone(), Lane::Give);
        assert_eq!(take(&mut state, Pool::Give).as_ref(), Some(item));
    }
    state.push(grant("denied"), Lane::End);
    assert_eq!(take(&mut state, Pool::End), Some(grant("denied")));
}

/// One whose giving failed again and again has not failed to end.
#[test]
fn an_end_is_no_second_try_of_what_was_given() {
    let mut state = State::default();
    let failing: Vec<_> =
        (0..MOST_FAILING).map(|index| grant(&format!("failing-{index}"))).collect();
    for item in &failing {
        state.push(item.clone(), Lane::End);
        let job = state.take(Pool::End).unwrap();
        state.failed(&job);
    }
    for item in failing {
        state.push(item, Lane::End);
        state.take(Pool::End).unwrap();
    }
    state.push(grant("denied"), Lane::Give);
    let job = state.take(Pool::Give).unwrap();
    assert_eq!(state.failed(&job).0, 1);
    state.push(grant("denied"), Lane::End);
    let job = state.take(Pool::End).expect("it has a place");
    assert_eq!(state.failed(&job).0, 1, "the pauses of an end begin anew");
}
