//! The ticket is as the policy wants it.

use super::{CheckResult, Context};

pub(super) fn check(context: &Context<'_>) -> CheckResult {
    let Some(rule) = context.policy.ticket() else {
        return CheckResult::NotApplicable("The policy requires no ticket.".to_owned());
    };
    match (context.spec.ticket.as_deref(), &rule.pattern) {
        (None, _) if rule.required => {
            CheckResult::Fail("A ticket is required; name it in spec.ticket.".to_owned())
        }
        (None, _) => CheckResult::Pass("No ticket is required.".to_owned()),
        (Some(ticket), Some(pattern)) if !pattern.is_match(ticket) => CheckResult::Fail(format!(
            "The ticket {ticket} does not match the pattern of the policy, {pattern}; correct spec.ticket."
        )),
        (Some(ticket), _) => CheckResult::Pass(format!("It is for ticket {ticket}.")),
    }
}

#[cfg(test)]
mod tests {
    use lapse_crds::TicketRule;
    use rstest::rstest;

    use super::*;
    use crate::testing::Fixture;

    #[rstest]
    #[case(
        true,
        Some("(INC|CHG)[0-9]+"),
        Some("INC0012345"),
        "Pass(\"It is for ticket INC0012345.\")"
    )]
    #[case(true, None, Some("anything"), "Pass(\"It is for ticket anything.\")")]
    #[case(true, None, None, "Fail(\"A ticket is required; name it in spec.ticket.\")")]
    #[case(false, Some("INC[0-9]+"), None, "Pass(\"No ticket is required.\")")]
    #[case(
        false,
        Some("INC[0-9]+"),
        Some("INC1 or so"),
        "Fail(\"The ticket INC1 or so does not match the pattern of the policy, INC[0-9]+; correct spec.ticket.\")"
    )]
    fn wants_a_ticket(
        #[case] required: bool,
        #[case] pattern: Option<&str>,
        #[case] ticket: Option<&str>,
        #[case] expected: &str,
    ) {
        let mut fixture = Fixture::default();
        let pattern = pattern.map(ToOwned::to_owned);
        fixture.policy.spec.ticket = Some(TicketRule { required, pattern });
        fixture.spec.ticket = ticket.map(ToOwned::to_owned);
        assert_eq!(format!("{:?}", fixture.outcome(check)), expected);
    }

    #[test]
    fn a_policy_without_the_rule_asks_for_none() {
        assert!(matches!(Fixture::default().outcome(check), CheckResult::NotApplicable(_)));
    }
}
