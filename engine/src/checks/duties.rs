//! The requester neither holds nor has approved a right by a policy that is kept apart.

use super::{CheckResult, Context};
use crate::identity::names_of;

pub(super) fn check(context: &Context<'_>) -> CheckResult {
    let Context { policy, duties, requester, .. } = context;
    let apart = duties.apart();
    if apart.is_empty() {
        return CheckResult::NotApplicable(
            "No other policy is under separation of duties with this one.".to_owned(),
        );
    }
    let others = apart.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    if let Err(why) = duties.is_known() {
        return CheckResult::Pending(format!(
            "Who holds access under {others}, and who approved it, cannot be read: {why}."
        ));
    }
    if let Some(engagement) = names_of(requester).find_map(|name| duties.engagement(name)) {
        return CheckResult::Fail(format!(
            "{}, and nobody may hold or approve access under both that policy and JitPolicy {} (separationOfDuties); \
             request again when it has ended, or let somebody else request access.",
            engagement.of_you(),
            policy.name()
        ));
    }
    CheckResult::Pass(format!(
        "You hold no access under {others}, and have approved none that is held now (separationOfDuties)."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Read;
    use crate::duties::Duties;
    use crate::testing::life::{duties, state};
    use crate::testing::{Fixture, local, policy};

    fn outcome(holder: &str, approver: &str) -> CheckResult {
        Fixture { duties: duties(holder, approver), ..Fixture::default() }.outcome(check)
    }

    #[test]
    fn who_is_engaged_elsewhere_is_told_in_what() {
        insta::assert_debug_snapshot!(outcome("alice", "bob"), @r#"
        Fail(
            "You hold access under JitPolicy shop-payments until 2026-11-18T12:06:50.000000Z (Grant shop-fix-checkout-4a49acf8a6), and nobody may hold or approve access under both that policy and JitPolicy shop-debug (separationOfDuties); request again when it has ended, or let somebody else request access.",
        )
        "#);
        insta::assert_debug_snapshot!(outcome("carol", "alice"), @r#"
        Fail(
            "You have approved access under JitPolicy shop-payments that is held until 2026-11-18T12:06:50.000000Z (Grant shop-fix-checkout-4a49acf8a6), and nobody may hold or approve access under both that policy and JitPolicy shop-debug (separationOfDuties); request again when it has ended, or let somebody else request access.",
        )
        "#);
        insta::assert_debug_snapshot!(outcome("carol", "bob"), @r#"
        Pass(
            "You hold no access under shop-payments, and have approved none that is held now (separationOfDuties).",
        )
        "#);
    }

    /// Who asks on a host is whose local user they are, and may be who is called the same in the cluster.
    #[test]
    fn nobody_is_somebody_else_on_a_host() {
        for (username, engaged) in
            [("alice", "alice"), ("alice", "al"), ("lapse:endpoint:web-1:al", "al")]
        {
            for duties in [duties(engaged, "bob"), duties("carol", engaged)] {
                let requester = local("web-1", "al", username);
                let outcome = Fixture { requester, duties, ..Fixture::default() }.outcome(check);
                assert!(matches!(outcome, CheckResult::Fail(_)), "{username}: {outcome:?}");
            }
        }
    }

    #[test]
    fn without_a_separation_nothing_is_asked() {
        let outcome = Fixture::default().outcome(check);
        assert!(matches!(outcome, CheckResult::NotApplicable(_)), "{outcome:?}");
    }

    #[test]
    fn what_cannot_be_read_waits_where_it_matters() {
        let mut apart = policy("shop-debug");
        apart.spec.separation_of_duties =
            vec![lapse_crds::Separation { policy: "shop-payments".into() }];
        let failed = Read::Failed("timeout".to_owned());
        let duties = Duties::apart_from("shop-debug", &[state(&apart)].into(), &failed);
        let outcome = Fixture { duties, ..Fixture::default() }.outcome(check);
        assert!(matches!(outcome, CheckResult::Pending(_)), "{outcome:?}");
        let duties = Duties::apart_from("other", &[state(&apart)].into(), &failed);
        let outcome = Fixture { duties, ..Fixture::default() }.outcome(check);
        assert!(matches!(outcome, CheckResult::NotApplicable(_)), "{outcome:?}");
    }
}
