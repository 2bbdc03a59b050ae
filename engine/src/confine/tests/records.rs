//! Decisions go when what they are about is over, and not before.

use super::*;

pub(super) const DAY: i64 = 24 * 3600;

/// Of a Deny: the request and the Grant, as they stand, and whether it may go at this time.
pub(super) fn may_go(
    request: &Read<AccessRequest>,
    grant: &Read<Grant>,
    now: i64,
) -> Result<(), Unconfirmed> {
    let mut policy = policy("shop-debug");
    policy.spec.retention = "24h".parse().ok();
    let deny: Attested<AccessDecision> = life::decision(Verdict::Deny, bob(), 5);
    let mut deny = deny.object;
    let created = serde_json::to_value(time(0)).unwrap();
    deny.metadata.creation_timestamp = serde_json::from_value(created).unwrap();
    decision(&deny, request, grant, Retentions::of([Ok(&policy)]), time(now))
}

fn request_in(phase: RequestPhase) -> AccessRequest {
    let mut request = asked().request.object;
    let status = request.status.get_or_insert_default();
    status.phase = phase;
    status.policy = Some(life::reference(1));
    status.ended_at = Some(time(0).into());
    request
}

#[test]
fn a_decision_goes_when_what_it_is_about_is_over_and_its_retention_has_passed() {
    let denied = Read::Found(request_in(RequestPhase::Denied));
    may_go(&denied, &Read::Missing, DAY).unwrap();
    may_go(&Read::Missing, &Read::Missing, DAY).unwrap();
    assert!(refusal(may_go(&denied, &Read::Missing, DAY - 60)).contains("not over"));
    assert!(refusal(may_go(&Read::Missing, &Read::Missing, DAY - 60)).contains("not over"));
}

#[rstest]
#[case::open(Read::Found(request_in(RequestPhase::Pending)), Read::Missing)]
#[case::held(Read::Found(request_in(RequestPhase::Active)), Read::Found(active().grant))]
#[case::over_with_a_grant_that_is_not(
    Read::Found(request_in(RequestPhase::Ended)),
    Read::Found(active().grant)
)]
fn what_is_not_over_keeps_its_decisions(
    #[case] request: Read<AccessRequest>,
    #[case] grant: Read<Grant>,
) {
    assert!(refusal(may_go(&request, &grant, 365 * DAY)).contains("not over"));
}

#[test]
fn a_decision_stays_while_it_is_not_known_what_it_is_about() {
    let down = || Unconfirmed::Unknown("down".into());
    let failed = Read::Failed("down".into());
    assert_eq!(may_go(&failed, &Read::Missing, DAY), Err(down()));
    let failed = Read::Failed("down".into());
    assert_eq!(may_go(&Read::Missing, &failed, DAY), Err(down()));
}
