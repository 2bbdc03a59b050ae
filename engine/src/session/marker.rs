//! The mark by which the API server knows that somebody holds a right.
//!
//! Admission policies and the configuration of the webhook ask the API server's own authorizer, so nothing
//! is looked up elsewhere and nothing is stale. They do not ask it about the person, who may hold every
//! permission there is (a cluster administrator, a GitOps controller) and yet no right of Lapse's. They ask
//! about a service account that nobody has ever made, whose name is made of the person's: a binding of
//! the grant, in the namespace of Lapse, gives it verbs on `sessions.lapse.dev`, and nothing else does.
//!
//! The chart makes the same names in CEL (`lapse.holds` in `charts/lapse/templates/_helpers.tpl`).

use std::collections::BTreeSet;

use lapse_crds::{Guard, RoleKind, RoleRef, Subject, SubjectKind};

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

/// Who is marked by a grant: its holder, and the service accounts of its namespaces and of its holder. As one of these the
/// holder can act where the role allows impersonation, or pods.
#[must_use]
pub fn mark(subject: &Subject, target: &ResolvedTarget, home: &str) -> Vec<Subject> {
    let accounts = match &target.scope {
        Scope::Cluster => vec!["accounts-anywhere-elevated".to_owned()],
        Scope::Namespaces(names) => {
            // A service account that holds the right and shows no credential cannot be told from one that
            // somebody impersonates.
            let own = subject.namespace.iter();
            let namespaces: BTreeSet<&String> = names.iter().chain(own).collect();
            namespaces.into_iter().map(|name| format!("accounts-in-{name}-elevated")).collect()
        }
    };
    let of_name = |name| Subject {
        kind: SubjectKind::ServiceAccount,
        name,
        namespace: Some(home.to_owned()),
    };
    let holder = person(&username_of(subject));
    std::iter::once(holder).chain(accounts).map(of_name).collect()
}

/// The characters of user names that the name of a service account cannot have, each written as its place
/// in this list.
const WRITTEN_AS_NUMBERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ.@-_:/+#|=,;!$%&*()[]<>?^~ ";

/// The user name by which the API server is asked whether a person holds a right.
#[must_use]
pub fn mark_of(username: &str, home: &str) -> String {
    format!("system:serviceaccount:{home}:{}", person(username))
}

/// The name of the mark of a person. Two user names have the same only if they differ in characters of other
/// alphabets, or after a great many.
fn person(username: &str) -> String {
    let written = |c: char| match WRITTEN_AS_NUMBERS.find(c) {
        _ if c.is_ascii_lowercase() || c.is_ascii_digit() => c.to_string(),
        Some(place) => format!("-{place}-"),
        None => "-x-".to_owned(),
    };
    let mut name: String = username.chars().map(written).collect();
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
    #[case("Alice@example.com", "person--0-lice-27-example-26-com-elevated")]
    #[case("system:serviceaccount:ci:bot", "person-system-30-serviceaccount-30-ci-30-bot-elevated")]
    #[case("愛", "person--x--elevated")]
    fn a_mark_is_named_after_its_person(#[case] username: &str, #[case] expected: &str) {
        assert_eq!(person(username), expected);
    }

    proptest! {
        /// Who differs by a letter's case, or a dot and a dash, is somebody else.
        #[test]
        fn names_that_differ_are_marked_differently(one in "[ -~&&[^'\"\\\\`{}]]{1,40}", other in "[ -~&&[^'\"\\\\`{}]]{1,40}") {
            prop_assert_eq!(person(&one) == person(&other), one == other);
        }

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
