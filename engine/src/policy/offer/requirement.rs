//! What an entry requires of the agent of a host.

use std::cmp::Ordering;

use lapse_crds::{AgentRequirement, Capability};
use semver::Version;

use crate::endpoint::EndpointFacts;

/// How the agent of a host falls short of what is required, as the rest of a sentence about it; `None` if it does not.
pub(super) fn unmet(required: &AgentRequirement, facts: &EndpointFacts) -> Option<String> {
    // Destructured without `..`: a field that is added to the API must be required here.
    let AgentRequirement { min_version, capabilities } = required;
    let older = min_version.as_deref().and_then(|least| is_older(facts, least));
    older.or_else(|| {
        let has =
            |one: &Capability| facts.capabilities.as_ref().is_some_and(|all| all.contains(one));
        let lacking: Vec<String> =
            capabilities.iter().filter(|one| !has(one)).map(Capability::to_string).collect();
        (!lacking.is_empty()).then(|| format!("does not have {}", lacking.join(", ")))
    })
}

/// How its version is too old, if it is. What cannot be compared is: an agent that nobody knows is no newer one.
fn is_older(facts: &EndpointFacts, least: &str) -> Option<String> {
    let Some(version) = facts.agent_version.as_deref() else {
        return Some(format!("has not said its version, and counts as older than {least}"));
    };
    match (Version::parse(version), Version::parse(least)) {
        (Ok(agent), Ok(oldest)) => (agent.cmp_precedence(&oldest) == Ordering::Less)
            .then(|| format!("is version {version}, older than {least}")),
        _ => Some(format!(
            "calls its version {version:?}, which cannot be compared and counts as older than {least}"
        )),
    }
}

/// What is required, in words: `agent 0.3.0 or later with RuleCarriesEnd`.
pub(super) fn describe(required: &AgentRequirement) -> String {
    let AgentRequirement { min_version, capabilities } = required;
    let version = min_version.iter().map(|least| format!(" {least} or later"));
    let all: Vec<String> = capabilities.iter().map(Capability::to_string).collect();
    let capabilities = (!all.is_empty()).then(|| format!(" with {}", all.join(", ")));
    let parts: String = version.chain(capabilities).collect();
    format!("agent{parts}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rstest::rstest;

    use super::*;

    fn facts(version: Option<&str>) -> EndpointFacts {
        EndpointFacts {
            agent_version: version.map(ToOwned::to_owned),
            capabilities: Some(BTreeSet::from([Capability::Group, Capability::Admin])),
            ..EndpointFacts::default()
        }
    }

    fn required(least: Option<&str>, capabilities: &[Capability]) -> AgentRequirement {
        AgentRequirement {
            min_version: least.map(ToOwned::to_owned),
            capabilities: capabilities.to_vec(),
        }
    }

    #[rstest]
    #[case::the_same("0.3.0", "0.3.0", None)]
    #[case::newer("0.10.0", "0.3.0", None)]
    #[case::older("0.2.9", "0.3.0", Some("is version 0.2.9, older than 0.3.0"))]
    #[case::a_candidate("0.3.0-rc.1", "0.3.0", Some("is version 0.3.0-rc.1, older than 0.3.0"))]
    #[case::beyond_a_candidate("0.3.0", "0.3.0-rc.1", None)]
    #[case::another_build("0.3.0+a", "0.3.0+b", None)]
    #[case::no_version(
        "nightly",
        "0.3.0",
        Some(
            "calls its version \"nightly\", which cannot be compared and counts as older than 0.3.0"
        )
    )]
    #[case::half_a_version(
        "0.3",
        "0.3.0",
        Some("calls its version \"0.3\", which cannot be compared and counts as older than 0.3.0")
    )]
    #[case::nothing_to_compare_with(
        "0.3.0",
        "latest",
        Some(
            "calls its version \"0.3.0\", which cannot be compared and counts as older than latest"
        )
    )]
    fn versions_are_compared_as_versions(
        #[case] agent: &str,
        #[case] least: &str,
        #[case] expected: Option<&str>,
    ) {
        let unmet = unmet(&required(Some(least), &[]), &facts(Some(agent)));
        assert_eq!(unmet.as_deref(), expected);
    }

    #[rstest]
    #[case::all_of_them(&[Capability::Admin, Capability::Group], None)]
    #[case::one_more(&[Capability::Admin, Capability::RuleCarriesEnd], Some("does not have RuleCarriesEnd"))]
    #[case::two_more(&[Capability::Account, Capability::RuleCarriesEnd], Some("does not have Account, RuleCarriesEnd"))]
    fn all_capabilities_are_required(
        #[case] capabilities: &[Capability],
        #[case] expected: Option<&str>,
    ) {
        let unmet = unmet(&required(None, capabilities), &facts(None));
        assert_eq!(unmet.as_deref(), expected);
    }

    #[test]
    fn an_agent_that_says_nothing_meets_nothing() {
        let silent = EndpointFacts::default();
        let said = unmet(&required(Some("0.3.0"), &[]), &silent);
        assert_eq!(
            said.as_deref(),
            Some("has not said its version, and counts as older than 0.3.0")
        );
        let said = unmet(&required(None, &[Capability::Group]), &silent);
        assert_eq!(said.as_deref(), Some("does not have Group"));
    }

    #[test]
    fn what_is_required_is_said() {
        let [group, rule] = [Capability::Group, Capability::RuleCarriesEnd];
        assert_eq!(describe(&required(Some("0.3.0"), &[])), "agent 0.3.0 or later");
        assert_eq!(describe(&required(None, &[group])), "agent with Group");
        let both = required(Some("0.3.0"), &[group, rule]);
        assert_eq!(describe(&both), "agent 0.3.0 or later with Group, RuleCarriesEnd");
    }
}
