//! The mark by which the API server knows that somebody holds a right.
//!
//! Admission policies and the configuration of the webhook ask the API server's own authorizer, so nothing
//! is looked up elsewhere and nothing is stale. They do not ask it about the person, who may hold every
//! permission there is (a cluster administrator, a GitOps controller) and yet no right of Lapse's. They ask
//! about a service account that nobody has ever made, whose name is made of the person's: a binding of
//! the grant, in the namespace of Lapse, gives it verbs on `sessions.lapse.dev`, and nothing else does.
//!
//! The chart makes the same names in CEL (`lapse.holds` in `charts/lapse/templates/_helpers.tpl`).

use lapse_crds::{GrantSpec, Guard, RoleKind, RoleRef, Subject, SubjectKind};

use crate::identity::username_of;
use crate::target::{ResolvedTarget, Scope};

/// How many characters of a user name the name of its mark keeps. The name of a service account has 253.
const KEPT: usize = 200;

/// The role that a marker binds, in the namespace of Lapse: its verbs say what is asked of the person.
#[must_use]
pub fn marker_role(guard: Guard) -> RoleRef {
    let name = match guard {
        Guard::Enforce => "lapse-elevated-enforce",
        Guard::Audit => "lapse-elevated-audit",
        Guard::Off => "lapse-elevated-off",
    };
    RoleRef { kind: RoleKind::Role, name: name.to_owned() }
}

/// Who is marked by a grant: its holder, and the service accounts of its namespaces. As one of these the
/// holder can act where the role allows impersonation, or pods.
#[must_use]
pub fn mark(grant: &GrantSpec, target: &ResolvedTarget, home: &str) -> Vec<Subject> {
    let accounts = match &target.scope {
        Scope::Cluster => vec!["accounts-anywhere-elevated".to_owned()],
        Scope::Namespaces(names) => {
            names.iter().map(|name| format!("accounts-in-{name}-elevated")).collect()
        }
    };
    let of_name = |name| Subject {
        kind: SubjectKind::ServiceAccount,
        name,
        namespace: Some(home.to_owned()),
    };
    let holder = person(&username_of(&grant.subject));
    std::iter::once(holder).chain(accounts).map(of_name).collect()
}

/// The name of the mark of a person. Different user names may have the same; the grants tell them apart.
fn person(username: &str) -> String {
    let lower = username.to_ascii_lowercase();
    let is_kept = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let runs: Vec<&str> = lower.split(|c| !is_kept(c)).filter(|run| !run.is_empty()).collect();
    let mut name = runs.join("-");
    name.truncate(KEPT);
    format!("person-{name}-elevated")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("alice", "person-alice-elevated")]
    #[case("Alice@Example.com", "person-alice-example-com-elevated")]
    #[case("oidc:https://id#alice", "person-oidc-https-id-alice-elevated")]
    #[case("system:serviceaccount:ci:bot", "person-system-serviceaccount-ci-bot-elevated")]
    #[case("愛麗絲", "person--elevated")]
    fn a_mark_is_named_after_its_person(#[case] username: &str, #[case] expected: &str) {
        assert_eq!(person(username), expected);
    }

    proptest! {
        /// The API server refuses a binding whose subject has no such name (RFC 1123 subdomain).
        #[test]
        fn whatever_the_name_the_mark_has_one_that_is_valid(username in "\\PC{1,1024}") {
            let name = person(&username);
            prop_assert!(name.len() <= 253);
            let is_valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            prop_assert!(name.chars().all(is_valid), "{name}");
        }
    }
}
