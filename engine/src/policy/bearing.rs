//! What a change of a policy bears on.

use lapse_crds::{JitPolicySpec, PolicyEffect};

/// Whether a policy bears on what others decide: it bans rights whoever gives them, or keeps policies apart.
/// Any other bears on the requests that it may decide, and on the rights that it gave.
#[must_use]
pub fn bears_on_others(spec: &JitPolicySpec) -> bool {
    spec.effect == PolicyEffect::Deny || !spec.separation_of_duties.is_empty()
}

/// Whether a policy may decide a request that names this one, or none.
#[must_use]
pub fn may_decide(policy: &str, named: Option<&str>) -> bool {
    named.is_none_or(|named| named == policy)
}

#[cfg(test)]
mod tests {
    use lapse_crds::{JitPolicySpec, PolicyEffect, Separation};
    use rstest::rstest;

    use super::{bears_on_others, may_decide};
    use crate::testing::policy;

    #[rstest]
    #[case::allows(|_: &mut JitPolicySpec| (), false)]
    #[case::bans(|spec: &mut JitPolicySpec| spec.effect = PolicyEffect::Deny, true)]
    #[case::keeps_apart(
        |spec: &mut JitPolicySpec| {
            spec.separation_of_duties = vec![Separation { policy: "other".to_owned() }];
        },
        true
    )]
    fn bans_and_separations_bear_on_others(
        #[case] change: fn(&mut JitPolicySpec),
        #[case] expected: bool,
    ) {
        let mut spec = policy("shop").spec;
        change(&mut spec);
        assert_eq!(bears_on_others(&spec), expected);
    }

    #[test]
    fn a_request_that_names_no_policy_may_be_decided_by_any() {
        assert!(may_decide("shop", None));
        assert!(may_decide("shop", Some("shop")));
        assert!(!may_decide("shop", Some("shop-2")));
    }
}
