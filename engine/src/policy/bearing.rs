//! What a change of a policy bears on.

use lapse_crds::{PolicyMode, Subject};

use super::{PolicyState, Rule};

impl PolicyState {
    /// Whether it bears on what others decide: it bans rights whoever gives them, keeps policies apart, or is
    /// on trial, which requests are told whatever policy they name; or what it says is not known. Any other bears
    /// on the requests that it may decide, and on the rights that it gave.
    #[must_use]
    pub fn bears_on_others(&self) -> bool {
        !self.is_askable()
            || self.mode == PolicyMode::Audit
            || self.keeps_apart
            || self.is_unreadable()
    }

    /// Whether it forbids something to somebody by name. Who else it is for, by a group, follows from their requests.
    #[must_use]
    pub fn bans_by_name(&self, who: &Subject) -> bool {
        let is_named = |rule: &Rule| match rule {
            Rule::Deny(ban) => ban.requesters().contains(who),
            Rule::Allow(_) => false,
        };
        self.mode == PolicyMode::Enforce && self.compiled.as_ref().is_ok_and(is_named)
    }
}

/// Whether a policy may decide a request that names this one, or none.
#[must_use]
pub fn may_decide(policy: &str, named: Option<&str>) -> bool {
    named.is_none_or(|named| named == policy)
}

#[cfg(test)]
mod tests {
    use lapse_crds::{JitPolicySpec as Spec, PolicyEffect, PolicyMode, Separation};
    use rstest::rstest;

    use super::may_decide;
    use crate::Read;
    use crate::request::decide;
    use crate::testing::life::{self, APPROVED_AT, time};
    use crate::testing::{group, policy, user};

    /// What is decided for a request that names another policy changes with this one only if it says so.
    #[rstest]
    #[case::allows(|_: &mut Spec| (), false)]
    #[case::comes_first(|spec: &mut Spec| spec.priority = 1, false)]
    #[case::asks_nobody(|spec: &mut Spec| spec.approval = None, false)]
    #[case::is_for_others(|spec: &mut Spec| spec.requesters = vec![group("bank")], false)]
    #[case::is_off(|spec: &mut Spec| spec.mode = PolicyMode::Disabled, false)]
    #[case::is_on_trial(|spec: &mut Spec| spec.mode = PolicyMode::Audit, true)]
    #[case::bans(|spec: &mut Spec| spec.effect = PolicyEffect::Deny, true)]
    #[case::keeps_apart(
        |spec: &mut Spec| {
            spec.separation_of_duties = vec![Separation { policy: "shop-debug".to_owned() }];
        },
        true
    )]
    fn only_what_bears_on_others_changes_what_they_decide(
        #[case] change: fn(&mut Spec),
        #[case] expected: bool,
    ) {
        let mut other = policy("other");
        change(&mut other.spec);
        assert_eq!(life::state(&other).bears_on_others(), expected);
        for alone in [life::asked(), life::approved()] {
            let mut alone = alone;
            alone.request.object.spec.policy = Some("shop-debug".to_owned());
            let mut beside = alone.clone();
            let policies = [policy("shop-debug"), other.clone()];
            beside.policies = Read::Found(policies.iter().map(life::state).collect());
            let now = time(APPROVED_AT);
            let changes = decide(&alone, now) != decide(&beside, now);
            assert!(expected || !changes, "{:?}", decide(&beside, now));
        }
    }

    #[rstest]
    #[case::bans(|_: &mut Spec| (), true)]
    #[case::is_for_others(|spec: &mut Spec| spec.requesters = vec![user("bob")], false)]
    #[case::allows(|spec: &mut Spec| spec.effect = PolicyEffect::Allow, false)]
    #[case::is_on_trial(|spec: &mut Spec| spec.mode = PolicyMode::Audit, false)]
    fn who_is_locked_out_is_known_by_name(#[case] change: fn(&mut Spec), #[case] expected: bool) {
        let mut lockout = policy("lockout");
        lockout.spec.effect = PolicyEffect::Deny;
        lockout.spec.requesters = vec![group("developers"), user("mallory")];
        change(&mut lockout.spec);
        assert_eq!(life::state(&lockout).bans_by_name(&user("mallory")), expected);
    }

    #[test]
    fn what_is_on_trial_is_told_to_requests_that_name_another() {
        let mut alone = life::asked();
        alone.request.object.spec.policy = Some("shop-debug".to_owned());
        let mut trial = policy("other");
        trial.spec.mode = PolicyMode::Audit;
        let mut beside = alone.clone();
        let policies = [policy("shop-debug"), trial];
        beside.policies = Read::Found(policies.iter().map(life::state).collect());
        assert_ne!(decide(&alone, time(0)), decide(&beside, time(0)));
    }

    #[test]
    fn a_request_that_names_no_policy_may_be_decided_by_any() {
        assert!(may_decide("shop", None));
        assert!(may_decide("shop", Some("shop")));
        assert!(!may_decide("shop", Some("shop-2")));
    }
}
