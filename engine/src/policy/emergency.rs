//! Break-glass: what a policy gives at once, and who reviews it afterwards.

use lapse_crds::{Emergency, EmergencyReview, GrantDuration, Subject, SubjectKind};

use super::approval::unsatisfiable;
use super::{Bounds, Policies, PolicyError, PolicyErrorReason, describe};
use crate::Settings;

/// What a policy gives in an emergency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmergencyRules {
    /// The longest that it may last.
    pub max_duration: GrantDuration,
    /// How many emergencies of one person may await their review.
    pub max_unreviewed: usize,
    /// How long after its start it must be reviewed.
    pub within: GrantDuration,
    /// Who may review it.
    pub reviewers: Vec<Subject>,
}

impl EmergencyRules {
    /// The bounds of an emergency by a policy with these bounds.
    #[must_use]
    pub fn bounds(&self, policy: Bounds) -> Bounds {
        let default = policy.default.map(|default| default.min(self.max_duration));
        Bounds { min: policy.min, default, max: self.max_duration }
    }
}

/// Compiles the rules, and refuses those by which nothing could be given or nobody could review.
pub(super) fn emergency_rules(
    emergency: &Emergency,
    requesters: &[Subject],
    bounds: Bounds,
    settings: &Settings,
) -> Result<EmergencyRules, PolicyError> {
    // Destructured without `..`: a field that is added to the API must be compiled here.
    let Emergency { max_duration, max_unreviewed, review } = emergency;
    let EmergencyReview { within, reviewers } = review;
    let out_of_bounds = |message| PolicyError::new(PolicyErrorReason::DurationOutOfBounds, message);
    let longest = settings.duration.max;
    if *max_duration > longest {
        return Err(out_of_bounds(format!(
            "spec.emergency.maxDuration is {max_duration}, but the installation allows at most {longest}; \
             change it, or the chart's value duration"
        )));
    }
    if *max_duration < bounds.min {
        return Err(out_of_bounds(format!(
            "spec.emergency.maxDuration is {max_duration}, but at least {} must be requested; raise it, or lower \
             spec.duration.min",
            bounds.min
        )));
    }
    if reviewers.is_empty() {
        return Err(unsatisfiable(
            "spec.emergency.review.reviewers is empty: nobody could review an emergency; name reviewers"
                .to_owned(),
        ));
    }
    if !requesters.is_empty() && requesters.iter().all(|who| has_no_reviewer(who, reviewers)) {
        return Err(unsatisfiable(format!(
            "spec.emergency.review.reviewers: {} is the only requester and the only reviewer, and nobody may review \
             their own emergency; name more reviewers",
            describe(&requesters[..1])
        )));
    }
    Ok(EmergencyRules {
        max_duration: *max_duration,
        max_unreviewed: max_unreviewed.unwrap_or(1) as usize,
        within: *within,
        reviewers: reviewers.clone(),
    })
}

/// Whether nobody could review the emergencies of a requester. Who is in a group is not known.
pub(super) fn has_no_reviewer(requester: &Subject, reviewers: &[Subject]) -> bool {
    requester.kind != SubjectKind::Group && reviewers.iter().all(|reviewer| reviewer == requester)
}

/// Who reviews the emergencies that a policy gave, in words. When the policy does not say any more,
/// somebody must be able to, or the debt could never be paid.
#[must_use]
pub fn describe_reviewers(policies: &Policies, name: &str) -> String {
    match policies.policy(name).and_then(super::Policy::emergency) {
        Some(rules) => describe(&rules.reviewers),
        None => format!("somebody who holds the verb review on jitpolicies/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::policy::{Policy, PolicyState};
    use crate::testing::{emergency, group, policy, service_account, settings, user};

    fn error(change: impl FnOnce(&mut lapse_crds::JitPolicySpec)) -> Option<String> {
        let mut policy = policy("p");
        policy.spec.emergency = Some(emergency());
        change(&mut policy.spec);
        let error = Policy::compile(&policy, &settings()).err()?;
        Some(format!("{}: {}", error.reason, error.message))
    }

    fn reviewed_by(reviewers: Vec<Subject>) -> Emergency {
        let mut emergency = emergency();
        emergency.review.reviewers = reviewers;
        emergency
    }

    #[rstest]
    #[case::a_group(vec![user("olga")], vec![group("security")], true)]
    #[case::somebody_else(vec![user("olga")], vec![user("carol")], true)]
    #[case::one_more(vec![user("olga")], vec![user("olga"), user("carol")], true)]
    #[case::another_requester(vec![user("olga"), user("alice")], vec![user("olga")], true)]
    #[case::the_only_one(vec![user("olga")], vec![user("olga")], false)]
    #[case::named_twice(vec![user("olga")], vec![user("olga"), user("olga")], false)]
    #[case::an_account(vec![service_account("ci", "bot")], vec![service_account("ci", "bot")], false)]
    #[case::members_of_one_group(vec![group("security")], vec![group("security")], true)]
    #[case::nobody(vec![user("olga")], vec![], false)]
    fn somebody_must_be_able_to_review(
        #[case] requesters: Vec<Subject>,
        #[case] reviewers: Vec<Subject>,
        #[case] accepted: bool,
    ) {
        let error = error(|spec| {
            spec.requesters = requesters;
            spec.emergency = Some(reviewed_by(reviewers));
        });
        assert_eq!(error.is_none(), accepted, "{error:?}");
        assert!(
            error.is_none_or(|error| error.starts_with("Unsatisfiable: spec.emergency.review"))
        );
    }

    #[test]
    fn says_why_nobody_could_review() {
        let error = error(|spec| {
            spec.requesters = vec![user("olga")];
            spec.emergency = Some(reviewed_by(vec![user("olga")]));
        });
        insta::assert_snapshot!(error.unwrap(), @"Unsatisfiable: spec.emergency.review.reviewers: user olga is the only requester and the only reviewer, and nobody may review their own emergency; name more reviewers");
    }

    #[rstest]
    #[case("5m", None)]
    #[case("24h", None)]
    #[case(
        "4m59s",
        Some("DurationOutOfBounds: spec.emergency.maxDuration is 4m59s, but at least 5m")
    )]
    #[case(
        "24h1s",
        Some("DurationOutOfBounds: spec.emergency.maxDuration is 24h1s, but the installation")
    )]
    fn keeps_its_bound_within_the_others(#[case] max: &str, #[case] expected: Option<&str>) {
        let max = max.parse().unwrap();
        let error = error(|spec| spec.emergency.as_mut().unwrap().max_duration = max);
        match (&error, expected) {
            (Some(error), Some(expected)) => assert!(error.starts_with(expected), "{error}"),
            _ => assert_eq!(error, None),
        }
    }

    #[test]
    fn who_reviews_can_always_be_told() {
        let mut policy = policy("p");
        policy.spec.emergency = Some(emergency());
        let state = PolicyState::of(&policy, &settings());
        let told = |states: &[PolicyState]| {
            describe_reviewers(&states.iter().cloned().collect::<Policies>(), "p")
        };
        assert_eq!(told(&[state]), "group security");
        policy.spec.emergency = None;
        let state = PolicyState::of(&policy, &settings());
        assert_eq!(told(&[state]), "somebody who holds the verb review on jitpolicies/p");
        assert_eq!(told(&[]), told(&[PolicyState::unreadable("p".into(), "u".into(), "x")]));
    }
}
