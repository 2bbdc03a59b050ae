//! What a first policy says.

use std::path::PathBuf;

use clap::Args;
use lapse_crds::{GrantDuration, Subject, SubjectKind};

pub(super) const EXAMPLES: &str = "\
Examples:
  kubectl jit init                       # asks, on a terminal
  kubectl jit init shop-edit --role edit --target-namespace shop --requesters shop-developers \\
    --approvers shop-managers --max 4h | kubectl apply -f -
  kubectl jit init --role view --target-namespace shop --requesters user/alice --no-approval --file shop.yaml";

/// What a first policy says. What is missing is asked for on a terminal.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct First {
    /// The name of the policy. Default: that of the first namespace and of the first role
    #[arg(value_name = "POLICY")]
    pub(crate) name: Option<String>,
    /// Who may request: a group, or user/NAME, or serviceaccount/NAMESPACE/NAME; may be given several times
    #[arg(long, value_name = "SUBJECT", value_parser = parse_subject)]
    pub(crate) requesters: Vec<Subject>,
    /// For which role, such as edit; role/NAME is a Role; may be given several times
    #[arg(long = "role", value_name = "ROLE")]
    pub(crate) roles: Vec<String>,
    /// In which namespace; may be given several times
    #[arg(long = "target-namespace", value_name = "NAMESPACE")]
    pub(crate) namespaces: Vec<String>,
    /// Who approves, one of them; written as --requesters is
    #[arg(long, value_name = "SUBJECT", value_parser = parse_subject)]
    pub(crate) approvers: Vec<Subject>,
    /// Nobody approves
    #[arg(long, conflicts_with = "approvers")]
    pub(crate) no_approval: bool,
    /// For how long at most. Default: 4h
    #[arg(long, value_name = "DURATION")]
    pub(crate) max: Option<GrantDuration>,
    /// Access for this long in an emergency, without approval; it is reviewed afterwards
    #[arg(long, value_name = "DURATION", requires = "reviewers")]
    pub(crate) emergency: Option<GrantDuration>,
    /// Who reviews emergencies; written as --requesters is
    #[arg(long, value_name = "SUBJECT", requires = "emergency", value_parser = parse_subject)]
    pub(crate) reviewers: Vec<Subject>,
    /// Write it to this file, which must not exist, and not to standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

/// A group, `user/NAME` or `serviceaccount/NAMESPACE/NAME`. Names of groups may have a `/` themselves: `group/NAME`.
pub(crate) fn parse_subject(text: &str) -> Result<Subject, String> {
    let (kind, rest) = match text.split_once('/') {
        Some((kind @ ("user" | "group" | "serviceaccount"), rest)) => (kind, rest),
        _ => ("group", text),
    };
    let named = |kind, name: &str, namespace: Option<&str>| Subject {
        kind,
        name: name.to_owned(),
        namespace: namespace.map(ToOwned::to_owned),
        endpoint: None,
    };
    let subject = match (kind, rest.split_once('/')) {
        ("user", _) => named(SubjectKind::User, rest, None),
        ("serviceaccount", Some((namespace, name))) if !namespace.is_empty() => {
            named(SubjectKind::ServiceAccount, name, Some(namespace))
        }
        ("serviceaccount", _) => return Err("write serviceaccount/NAMESPACE/NAME".to_owned()),
        _ => named(SubjectKind::Group, rest, None),
    };
    if subject.name.trim().is_empty() {
        return Err(
            "write the name of a group, or user/NAME, or serviceaccount/NAMESPACE/NAME".to_owned()
        );
    }
    Ok(subject)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("shop-developers", "group shop-developers")]
    #[case("oidc:shop/developers", "group oidc:shop/developers")]
    #[case("group/user/x", "group user/x")]
    #[case("user/alice@example.org", "user alice@example.org")]
    #[case("serviceaccount/ci/deployer", "service account ci/deployer")]
    fn subjects_are_groups_unless_they_say_otherwise(#[case] text: &str, #[case] subject: &str) {
        assert_eq!(parse_subject(text).unwrap().to_string(), subject);
    }
}
