//! The mark by which the API server knows that somebody holds a right.
//!
//! Admission policies and the configuration of the webhook ask the API server's own authorizer, so nothing
//! is looked up elsewhere and nothing is stale. They do not ask it about the person, who may hold every
//! permission there is (a cluster administrator, a GitOps controller) and yet no right of Lapse's. They ask
//! about a service account that nobody has ever made, whose name is made of the person's: a binding of
//! the grant, in the namespace of Lapse, gives it verbs on `sessions.lapse.dev`, and nothing else does.
//!
//! The chart makes the same names in CEL (`charts/lapse/templates/_helpers.tpl`).

use std::collections::BTreeSet;

use lapse_crds::{EVERY_ACCOUNT, GrantSession, Guard, RoleKind, RoleRef, Subject, SubjectKind};

use crate::identity::{service_account_name, username_of};
use crate::role::hex;
use crate::target::{ResolvedTarget, Scope};

/// How many bytes of a user name one mark spells out. The name of a service account has 253 characters, and a byte
/// takes two.
const SPELLED_OUT: usize = 110;
/// Of a longer name, how many bytes of its head and of its tail are spelled out, in a mark each.
const OF_EACH_END: usize = 100;
/// How many service accounts are marked by their own names; more are marked with all others of their namespaces.
const MOST_ACCOUNTS: usize = 16;

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

/// Who is marked by a grant: its holder, and the service accounts that its holder may impersonate.
#[must_use]
pub fn mark(
    subject: &Subject,
    target: &ResolvedTarget,
    session: &GrantSession,
    home: &str,
) -> Vec<Subject> {
    let of_name = |name| Subject {
        kind: SubjectKind::ServiceAccount,
        name,
        namespace: Some(home.to_owned()),
        endpoint: None,
    };
    let holder = spelled_out("person", &username_of(subject)).into_iter();
    let accounts = accounts(target, &session.impersonates);
    let somewhere = somewhere(subject, target, &session.impersonates);
    holder.chain(accounts).chain(somewhere).map(of_name).collect()
}

/// The namespaces of the service accounts that may be the holder: what asks the webhook, which knows them by name,
/// asks for no more.
fn somewhere(subject: &Subject, target: &ResolvedTarget, names: &[String]) -> Vec<String> {
    let mut namespaces: BTreeSet<&String> = subject.namespace.iter().collect();
    if let (Scope::Namespaces(within), false) = (&target.scope, names.is_empty()) {
        namespaces.extend(within);
    }
    namespaces.into_iter().map(|name| format!("some-in-{name}-elevated")).collect()
}

fn accounts(target: &ResolvedTarget, names: &[String]) -> Vec<String> {
    let namespaces = match &target.scope {
        _ if names.is_empty() => return Vec::new(),
        Scope::Cluster => return vec!["accounts-anywhere-elevated".to_owned()],
        Scope::Namespaces(namespaces) => namespaces,
        Scope::Endpoint(_) => return Vec::new(),
    };
    let are_all = names.iter().any(|name| name == EVERY_ACCOUNT);
    if are_all || namespaces.len() * names.len() > MOST_ACCOUNTS {
        return namespaces.iter().map(|name| format!("accounts-in-{name}-elevated")).collect();
    }
    let each = namespaces.iter().flat_map(|namespace| {
        names.iter().flat_map(|name| spelled_out("account", &service_account_name(namespace, name)))
    });
    each.collect()
}

/// The user names by which the API server is asked whether a person holds a right: who is allowed by all of them does.
#[must_use]
pub fn marks_of(username: &str, home: &str) -> Vec<String> {
    let names = spelled_out("person", username).into_iter();
    names.map(|name| service_account_name(home, &name)).collect()
}

/// The names that stand for a user name, as hexadecimal digits: one, or two for what is too long for one. Two user
/// names share all of theirs only if they are longer than both ends, equally long, and the same at both.
fn spelled_out(kind: &str, username: &str) -> Vec<String> {
    let bytes = username.as_bytes();
    let length = bytes.len();
    if length <= SPELLED_OUT {
        return vec![format!("{kind}-{}-elevated", hex(bytes))];
    }
    let (head, tail) = (hex(&bytes[..OF_EACH_END]), hex(&bytes[length - OF_EACH_END..]));
    vec![
        format!("{kind}-{length}-head-{head}-elevated"),
        format!("{kind}-{length}-tail-{tail}-elevated"),
    ]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("alice", &["person-616c696365-elevated"])]
    #[case("\u{738b}\u{4f1f}", &["person-e78e8be4bc9f-elevated"])]
    fn a_mark_spells_out_the_name_of_its_person(#[case] username: &str, #[case] expected: &[&str]) {
        assert_eq!(spelled_out("person", username), expected);
    }

    #[test]
    fn of_a_long_name_both_ends_are_spelled_out() {
        let account = "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_PRODUCTION-CLUSTER-ADMIN_0123456789abcdef/";
        let names = ["ana@example.com", "bob@example.com"];
        let [ana, bob] = names.map(|name| spelled_out("person", &format!("{account}{name}")));
        assert_eq!(ana.len(), 2);
        assert_ne!(ana, bob);
    }

    fn accounts_of(accounts: &[&str], target: &ResolvedTarget) -> Vec<String> {
        let session = GrantSession {
            guard: Guard::Enforce,
            started_workloads: None,
            open_streams: None,
            local_sessions: None,
            changes: None,
            record: None,
            warnings: None,
            max_grace_period: None,
            impersonates: accounts.iter().map(ToString::to_string).collect(),
        };
        let subject = Subject {
            kind: SubjectKind::User,
            name: "alice".to_owned(),
            namespace: None,
            endpoint: None,
        };
        let names = mark(&subject, target, &session, "lapse-system").into_iter();
        let names = names.map(|subject| subject.name).skip(1);
        names.filter(|name| !name.starts_with("some-in-")).collect()
    }

    #[test]
    fn accounts_are_marked_as_far_as_the_holder_can_act_as_them() {
        let within = |names: &[&str]| crate::testing::edit_in(names);
        assert!(accounts_of(&[], &within(&["shop"])).is_empty());
        let all = accounts_of(&["*"], &within(&["shop", "web"]));
        assert_eq!(all, ["accounts-in-shop-elevated", "accounts-in-web-elevated"]);
        let one = accounts_of(&["bot"], &within(&["ci"]));
        assert_eq!(one, spelled_out("account", "system:serviceaccount:ci:bot"));
        let many: Vec<String> = (0..20).map(|i| format!("bot-{i}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(accounts_of(&many, &within(&["ci"])), ["accounts-in-ci-elevated"]);
    }

    proptest! {
        /// Whoever differs in anything is somebody else, in whatever script.
        #[test]
        fn names_that_differ_are_marked_differently(one in "\\PC{1,36}", other in "\\PC{1,36}") {
            prop_assert_eq!(spelled_out("person", &one) == spelled_out("person", &other), one == other);
        }

        /// The API server refuses a binding whose subject has no such name (RFC 1123 subdomain).
        #[test]
        fn whatever_the_name_the_mark_has_one_that_is_valid(username in "\\PC{1,1024}") {
            for name in spelled_out("account", &username) {
                prop_assert!(name.len() <= 253);
                let is_valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
                prop_assert!(name.chars().all(is_valid), "{name}");
            }
        }
    }
}
