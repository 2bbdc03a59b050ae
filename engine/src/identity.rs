//! Whether a person is who a policy names.

use lapse_crds::{Grant, Identity, Subject, SubjectKind};

/// How the API server writes the user name of a service account
/// (<https://kubernetes.io/docs/reference/access-authn-authz/authentication/#service-account-tokens>).
const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";

/// How the API server calls a service account.
#[must_use]
pub fn service_account_name(namespace: &str, name: &str) -> String {
    format!("{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}")
}

/// The groups that the API server gives with the token of the service account of this user name; none to anybody else.
#[must_use]
pub fn service_account_groups(username: &str) -> Vec<String> {
    let name = username.strip_prefix(SERVICE_ACCOUNT_PREFIX).and_then(|rest| rest.split_once(':'));
    let groups = |(namespace, _)| {
        let all = "system:serviceaccounts";
        vec![all.to_owned(), format!("{all}:{namespace}")]
    };
    name.map(groups).unwrap_or_default()
}

/// Whether the identity is the subject, or in the group.
///
/// A `User` never matches a service account and the other way round, whatever their names look like.
#[must_use]
pub fn matches(identity: &Identity, subject: &Subject) -> bool {
    match subject.kind {
        SubjectKind::User => {
            service_account(identity).is_none()
                && !identity.username.starts_with(SERVICE_ACCOUNT_PREFIX)
                && identity.username == subject.name
        }
        SubjectKind::Group => identity.groups.contains(&subject.name),
        SubjectKind::ServiceAccount => {
            let named = subject.namespace.as_deref().map(|namespace| (namespace, &*subject.name));
            named.is_some() && service_account(identity) == named
        }
    }
}

/// Whether the identity may be the subject, as far as its stamp tells: it [`matches`] it, or the subject is a group that
/// may be among those that did not fit into the stamp.
#[must_use]
pub fn may_match(identity: &Identity, subject: &Subject) -> bool {
    matches(identity, subject)
        || (subject.kind == SubjectKind::Group
            && identity.groups_omitted.is_some()
            && !identity.not_in_groups.contains(&subject.name))
}

/// Every subject that [`matches`] an identity: itself, and each of its groups.
pub fn subjects_of(identity: &Identity) -> impl Iterator<Item = Subject> {
    let group =
        |name: &String| Subject { kind: SubjectKind::Group, name: name.clone(), namespace: None };
    subject_of(identity).into_iter().chain(identity.groups.iter().map(group))
}

/// Whether the identity is any of the subjects.
#[must_use]
pub fn matches_any(identity: &Identity, subjects: &[Subject]) -> bool {
    subjects.iter().any(|subject| matches(identity, subject))
}

/// Namespace and name of a service account, if that is who the identity is. A certificate can carry
/// the user name of a service account; the groups that the API server gives with a token tell the
/// two apart.
pub(crate) fn service_account(identity: &Identity) -> Option<(&str, &str)> {
    let (namespace, name) =
        identity.username.strip_prefix(SERVICE_ACCOUNT_PREFIX)?.split_once(':')?;
    let group = format!("system:serviceaccounts:{namespace}");
    (!name.contains(':') && identity.groups.contains(&group)).then_some((namespace, name))
}

/// The user name of a subject that is no group, as the API server writes it.
#[must_use]
pub fn username_of(subject: &Subject) -> String {
    match &subject.namespace {
        Some(namespace) => format!("{SERVICE_ACCOUNT_PREFIX}{namespace}:{}", subject.name),
        None => subject.name.clone(),
    }
}

/// The subject of a binding for this identity; `None` if the name is that of a service account and
/// the identity is not one.
#[must_use]
pub fn subject_of(identity: &Identity) -> Option<Subject> {
    if let Some((namespace, name)) = service_account(identity) {
        return Some(Subject {
            kind: SubjectKind::ServiceAccount,
            name: name.to_owned(),
            namespace: Some(namespace.to_owned()),
        });
    }
    let user =
        Subject { kind: SubjectKind::User, name: identity.username.clone(), namespace: None };
    (!identity.username.starts_with(SERVICE_ACCOUNT_PREFIX)).then_some(user)
}

/// Whose emergency it is, by the name that the API server calls them. A certificate may carry the name
/// of a service account: to a reviewer, both are the same person.
#[must_use]
pub fn holder(grant: &Grant) -> String {
    let subject = &grant.spec.subject;
    match (subject.kind, &subject.namespace) {
        (SubjectKind::ServiceAccount, Some(namespace)) => {
            service_account_name(namespace, &subject.name)
        }
        _ => subject.name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::testing::{group, person, service_account as account, user};

    #[rstest]
    #[case(person("alice", &["dev"]), user("alice"), true)]
    #[case(person("Alice", &["dev"]), user("alice"), false)]
    #[case(person("alice", &["dev"]), group("dev"), true)]
    #[case(person("dev", &[]), group("dev"), false)]
    #[case(person("alice", &["dev"]), user("dev"), false)]
    #[case(person("system:serviceaccount:ci:bot", &["system:serviceaccounts:ci"]), account("ci", "bot"), true)]
    #[case(person("system:serviceaccount:ci:bot", &[]), account("ci", "bot"), false)]
    #[case(person("system:serviceaccount:ci:bot", &["system:serviceaccounts:ci"]), user("system:serviceaccount:ci:bot"), false)]
    #[case(person("ci:bot", &[]), account("ci", "bot"), false)]
    #[case(person("bot", &["system:serviceaccounts:ci"]), user("bot"), true)]
    fn tells_who_is_who(#[case] who: Identity, #[case] subject: Subject, #[case] expected: bool) {
        assert_eq!(matches(&who, &subject), expected);
    }

    #[rstest]
    #[case("dev", true)]
    #[case("contractors", false)]
    #[case("others", true)]
    fn a_group_may_be_among_those_that_did_not_fit(#[case] name: &str, #[case] expected: bool) {
        let mut who = person("alice", &["dev"]);
        assert!(!may_match(&who, &group("others")));
        who.groups_omitted = Some(3);
        who.not_in_groups = vec!["contractors".into()];
        assert_eq!(may_match(&who, &group(name)), expected);
        assert!(!may_match(&who, &user("others")));
    }

    #[test]
    fn a_look_alike_of_a_service_account_is_no_subject() {
        assert_eq!(subject_of(&person("system:serviceaccount:ci:bot", &[])), None);
        let bot = person("system:serviceaccount:ci:bot", &["system:serviceaccounts:ci"]);
        assert_eq!(subject_of(&bot), Some(account("ci", "bot")));
        assert_eq!(username_of(&account("ci", "bot")), bot.username);
        assert_eq!(subject_of(&person("alice", &[])), Some(user("alice")));
        let groups = service_account_groups(&bot.username);
        assert!(
            groups.contains(&bot.groups[0]) && groups.contains(&"system:serviceaccounts".into())
        );
        assert!(service_account_groups("alice").is_empty());
    }
}
