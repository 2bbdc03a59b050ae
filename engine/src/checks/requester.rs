//! The policy lets the requester ask.

use super::{CheckResult, Context};
use crate::identity;

pub(super) fn check(context: &Context<'_>) -> CheckResult {
    let Context { requester, policy, .. } = context;
    let username = &requester.username;
    if identity::subject_of(requester).is_none() {
        return CheckResult::Fail(format!(
            "{username} is the name of a service account, but the credential does not belong to one; request with the \
             service account's own token."
        ));
    }
    if policy.allows_requester(requester) {
        CheckResult::Pass(format!("{username} may request access."))
    } else {
        CheckResult::Fail(format!(
            "{username} is not among the requesters of JitPolicy {} ({}); request under another policy, or ask its \
             owner to add you.",
            policy.name(),
            policy.describe_requesters()
        ))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::testing::{Fixture, person};

    #[rstest]
    #[case("alice", &["shop-developers"], true)]
    #[case("mallory", &["bank-developers"], false)]
    #[case("shop-developers", &[], false)]
    #[case("system:serviceaccount:ci:bot", &["shop-developers"], false)]
    fn lets_those_in_the_list_ask(
        #[case] name: &str,
        #[case] groups: &[&str],
        #[case] passes: bool,
    ) {
        let fixture = Fixture { requester: person(name, groups), ..Fixture::default() };
        let outcome = fixture.outcome(check);
        assert_eq!(matches!(outcome, CheckResult::Pass(_)), passes, "{outcome:?}");
    }

    #[test]
    fn says_who_may() {
        let fixture = Fixture { requester: person("mallory", &[]), ..Fixture::default() };
        insta::assert_debug_snapshot!(fixture.outcome(check), @r#"
        Fail(
            "mallory is not among the requesters of JitPolicy shop-debug (group shop-developers); request under another policy, or ask its owner to add you.",
        )
        "#);
    }
}
