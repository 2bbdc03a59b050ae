//! The duration lies within the policy's bounds.

use super::{CheckResult, Context};
use crate::policy::Bounds;
use crate::policy::{bounds, requested_duration};

pub(super) fn check(context: &Context<'_>) -> CheckResult {
    let Bounds { min, max, .. } = bounds(context.spec, context.policy);
    let Some(asked) = requested_duration(context.spec, context.policy) else {
        return CheckResult::Fail(format!(
            "No duration was requested, and JitPolicy {} has no default; set spec.duration to a value between {min} \
             and {max}.",
            context.policy.name()
        ));
    };
    let when = if context.spec.emergency { " in an emergency" } else { "" };
    let origin = if context.spec.duration.is_some() { "" } else { " (the policy's default)" };
    if asked < min {
        CheckResult::Fail(format!("{asked} was requested, but the minimum is {min}."))
    } else if asked > max {
        CheckResult::Fail(format!(
            "{asked} was requested, but at most {max} is allowed{when}; request less, and request again if you need \
             more."
        ))
    } else {
        CheckResult::Pass(format!("{asked}{origin} is within {min}..{max}{when}."))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::testing::Fixture;

    #[rstest]
    #[case(Some("1h"), "Pass(\"1h is within 5m..8h.\")")]
    #[case(Some("5m"), "Pass(\"5m is within 5m..8h.\")")]
    #[case(Some("480m"), "Pass(\"8h is within 5m..8h.\")")]
    #[case(None, "Pass(\"30m (the policy's default) is within 5m..8h.\")")]
    #[case(Some("4m59s"), "Fail(\"4m59s was requested, but the minimum is 5m.\")")]
    #[case(
        Some("8h1s"),
        "Fail(\"8h1s was requested, but at most 8h is allowed; request less, and request again if you need more.\")"
    )]
    fn keeps_within_bounds(#[case] asked: Option<&str>, #[case] expected: &str) {
        let mut fixture = Fixture::default();
        fixture.spec.duration = asked.map(|text| text.parse().unwrap());
        assert_eq!(format!("{:?}", fixture.outcome(check)), expected);
    }

    #[test]
    fn without_a_default_the_request_must_say() {
        let mut fixture = Fixture::default();
        fixture.spec.duration = None;
        fixture.policy.spec.duration.as_mut().unwrap().default = None;
        insta::assert_debug_snapshot!(fixture.outcome(check), @r#"
        Fail(
            "No duration was requested, and JitPolicy shop-debug has no default; set spec.duration to a value between 5m and 8h.",
        )
        "#);
    }
}
