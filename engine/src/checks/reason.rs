//! The reason is as the policy wants it.

use super::{CheckResult, Context};

pub(super) fn check(context: &Context<'_>) -> CheckResult {
    let reason = context.spec.reason.as_deref().unwrap_or_default().trim();
    let Some(rule) = context.policy.reason() else {
        return CheckResult::NotApplicable("The policy requires no reason.".to_owned());
    };
    let length = u32::try_from(reason.chars().count()).unwrap_or(u32::MAX);
    if length == 0 && rule.required {
        return CheckResult::Fail(
            "A reason is required; say in spec.reason what it is for.".to_owned(),
        );
    }
    if length > 0 && length < rule.min_length {
        return CheckResult::Fail(format!(
            "The reason has {length} characters, but at least {} are required; say more about what it is for.",
            rule.min_length
        ));
    }
    CheckResult::Pass(
        if length == 0 { "No reason is required." } else { "A reason is given." }.to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use lapse_crds::ReasonRule;
    use rstest::rstest;

    use super::*;
    use crate::testing::Fixture;

    #[rstest]
    #[case(true, 10, Some("Checkout fails"), "Pass(\"A reason is given.\")")]
    #[case(true, 10, None, "Fail(\"A reason is required; say in spec.reason what it is for.\")")]
    #[case(
        true,
        0,
        Some(" \n "),
        "Fail(\"A reason is required; say in spec.reason what it is for.\")"
    )]
    #[case(
        true,
        10,
        Some("  bug  "),
        "Fail(\"The reason has 3 characters, but at least 10 are required; say more about what it is for.\")"
    )]
    #[case(false, 0, None, "Pass(\"No reason is required.\")")]
    #[case(true, 4, Some("größ"), "Pass(\"A reason is given.\")")]
    fn wants_a_reason(
        #[case] required: bool,
        #[case] min_length: u32,
        #[case] reason: Option<&str>,
        #[case] expected: &str,
    ) {
        let mut fixture = Fixture::default();
        fixture.policy.spec.reason = Some(ReasonRule { required, min_length: Some(min_length) });
        fixture.spec.reason = reason.map(ToOwned::to_owned);
        assert_eq!(format!("{:?}", fixture.outcome(check)), expected);
    }

    #[test]
    fn a_policy_without_the_rule_asks_for_none() {
        let mut fixture = Fixture::default();
        fixture.policy.spec.reason = None;
        assert!(matches!(fixture.outcome(check), CheckResult::NotApplicable(_)));
    }
}
