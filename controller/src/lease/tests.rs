use prometheus_client::registry::Registry;
use rstest::rstest;

use super::*;
use crate::fake::{api_server, refusal};

#[tokio::test]
async fn a_candidate_that_panics_leads_no_more() {
    let metrics = Arc::new(Metrics::register(&mut Registry::default()));
    let client = api_server(async |_| refusal(500, "InternalError"));
    let revision = Arc::new(Revision::new(|| ()).0);
    let (candidate, leadership) = Candidate::new(&client, "lapse", "me", &metrics, &revision);
    candidate.publish(Some(moment().after(DURATION)));
    assert_eq!((leadership.is_held(), metrics.leader.get()), (true, 1));
    let ended = tokio::spawn(async move {
        let _candidate = candidate;
        panic!("a mistake");
    });
    ended.await.unwrap_err();
    assert_eq!((leadership.is_held(), metrics.leader.get()), (false, 0));
}

#[rstest]
#[case(Some("me"), 0, Move::Renew)]
#[case(Some("me"), 60, Move::Renew)]
#[case(None, 0, Move::Acquire)]
#[case(Some(""), 0, Move::Acquire)]
#[case(Some("other"), 7, Move::Wait)]
#[case(Some("other"), 8, Move::Acquire)]
fn takes_over_only_what_has_lapsed(
    #[case] holder: Option<&str>,
    #[case] seconds: u64,
    #[case] expected: Move,
) {
    let at = Instant::now();
    let record = (holder.map(ToOwned::to_owned), None);
    let seen = Seen { record, at, counts_for: DURATION };
    assert_eq!(next_move(&seen, "me", at + Duration::from_secs(seconds)), expected);
}

#[rstest]
#[case::it_says_nothing(None, 8)]
#[case::what_a_holder_writes(Some(8), 8)]
#[case::too_little(Some(1), 8)]
#[case::nonsense(Some(-1), 8)]
#[case::a_drain_is_over(Some(600), 600)]
#[case::for_ever(Some(i32::MAX), 600)]
fn a_record_counts_for_as_long_as_it_says(#[case] says: Option<i32>, #[case] seconds: u64) {
    let spec = LeaseSpec { lease_duration_seconds: says, ..LeaseSpec::default() };
    let counts_for = counts_for(&spec);
    assert_eq!(counts_for, Duration::from_secs(seconds));
    let (at, record) = (Instant::now(), (Some("other".to_owned()), None));
    let seen = Seen { record, at, counts_for };
    assert_eq!(
        next_move(&seen, "me", at + counts_for.saturating_sub(Duration::from_secs(1))),
        Move::Wait
    );
    assert_eq!(next_move(&seen, "me", at + counts_for), Move::Acquire);
}

#[test]
fn a_lease_that_is_gone_counts_as_it_said_and_for_a_while() {
    let start = Instant::now();
    let at = |seconds: u64| start + Duration::from_secs(seconds);
    let gone = Gone { since: at(0) };
    let seen = |seconds: u64| {
        let record = (Some("other".to_owned()), None);
        Seen { record, at: at(0), counts_for: Duration::from_secs(seconds) }
    };
    assert_eq!([29, 30].map(|now| gone.is_over(None, at(now))), [false, true]);
    assert_eq!([29, 30].map(|now| gone.is_over(Some(&seen(8)), at(now))), [false, true]);
    let drained = seen(LONGEST.as_secs());
    assert_eq!([599, 600].map(|now| gone.is_over(Some(&drained), at(now))), [false, true]);
}

#[test]
fn a_lease_that_lapsed_is_gained_anew() {
    let start = moment();
    let at = |seconds: u64| start.after(Duration::from_secs(seconds));
    let held = Standing::default().becomes(Some(at(6)), at(0));
    assert_eq!((held.gained, held.is_held(at(5)), held.is_held(at(6))), (1, true, false));
    let renewed = held.becomes(Some(at(8)), at(2));
    assert_eq!(renewed.gained, 1);
    let late = renewed.becomes(Some(at(20)), at(15));
    assert_eq!((late.gained, late.is_held(at(16))), (2, true), "nobody said that it was lost");
    assert_eq!(late.becomes(None, at(17)).becomes(Some(at(30)), at(25)).gained, 3);
    assert_eq!(late.becomes(Some(at(18)), at(19)).gained, 2, "it lapsed before it was known");
}

/// A machine that was suspended for a minute has lived through a moment, by the one clock. The other may be set.
#[test]
fn a_lease_lapses_by_either_clock() {
    let start = moment();
    let held = Standing::default().becomes(Some(start.after(DURATION)), start);
    let minute = Duration::from_mins(1);
    let resumed = Moment { monotonic: start.monotonic, ..start.after(minute) };
    let set_back = Moment { wall: start.wall - minute, ..start.after(minute) };
    assert_eq!([start, resumed, set_back].map(|now| held.is_held(now)), [true, false, false]);
}

#[test]
fn a_holder_stops_before_others_may_start() {
    assert!(DURATION > MARGIN + 2 * PERIOD, "one lost renewal must not lose the lease");
    assert!(DURATION + PERIOD < Duration::from_secs(10), "a new holder within 10 s");
}
