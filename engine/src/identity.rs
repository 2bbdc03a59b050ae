//! Whether a person is who a policy names.

use lapse_crds::{EndpointUser, Grant, Identity, Subject, SubjectKind};

/// How the API server writes the user name of a service account
/// (<https://kubernetes.io/docs/reference/access-authn-authz/authentication/#service-account-tokens>).
const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";

/// The group of all service accounts. That of those of a namespace has a colon and the namespace behind it.
pub(crate) const SERVICE_ACCOUNTS: &str = "system:serviceaccounts";

/// What the user name of a local user of a host begins with who belongs to nobody of the cluster. The API server
/// authenticates nobody by such a name of whom a policy would know: see [`matches`].
const ENDPOINT_USER_PREFIX: &str = "lapse:endpoint:";

/// The user name of a local user of a host who belongs to nobody of the cluster. Neither part has a colon.
#[must_use]
pub fn endpoint_username(EndpointUser { endpoint, local_user }: &EndpointUser) -> String {
    format!("{ENDPOINT_USER_PREFIX}{endpoint}:{local_user}")
}

/// How the API server calls a service account.
#[must_use]
pub fn service_account_name(namespace: &str, name: &str) -> String {
    format!("{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}")
}

/// The groups that the API server gives with the token of the service account of this user name; none to anybody else.
#[must_use]
pub fn service_account_groups(username: &str) -> Vec<String> {
    let groups = |(namespace, _)| vec![SERVICE_ACCOUNTS.to_owned(), accounts_of(namespace)];
    named_account(username).map(groups).unwrap_or_default()
}

/// The group of the service accounts of a namespace.
pub(crate) fn accounts_of(namespace: &str) -> String {
    format!("{SERVICE_ACCOUNTS}:{namespace}")
}

/// Namespace and name of the service account that a user name is of.
pub(crate) fn named_account(username: &str) -> Option<(&str, &str)> {
    username.strip_prefix(SERVICE_ACCOUNT_PREFIX)?.split_once(':')
}

/// Whether the identity is the subject, or in the group.
///
/// A `User` never matches a service account and the other way round, whatever their names look like. Who has asked on a
/// host is an `EndpointUser` and nothing else: whose local user they are the owners of the Endpoint say, and no credential.
#[must_use]
pub fn matches(identity: &Identity, subject: &Subject) -> bool {
    if let Some(who) = &identity.endpoint_user {
        return is_local_user(who, subject);
    }
    match subject.kind {
        SubjectKind::User => {
            service_account(identity).is_none()
                && !is_reserved(&identity.username)
                && identity.username == subject.name
        }
        SubjectKind::Group => identity.groups.contains(&subject.name),
        SubjectKind::ServiceAccount => {
            let named = subject.namespace.as_deref().map(|namespace| (namespace, &*subject.name));
            named.is_some() && service_account(identity) == named
        }
        SubjectKind::EndpointUser => false,
    }
}

/// Whether a local user of a host is the subject.
fn is_local_user(who: &EndpointUser, subject: &Subject) -> bool {
    subject.kind == SubjectKind::EndpointUser
        && (subject.name.is_empty() || subject.name == who.local_user)
        && subject.endpoint.as_ref().is_none_or(|endpoint| *endpoint == who.endpoint)
}

/// Whether the identity may be the subject, as far as its stamp tells: it [`matches`] it; or the subject is a group that
/// may be among those that did not fit into the stamp; or it is a local user of a host, whose groups nobody knows, and
/// whom the subject may name as the user that they are in the cluster.
#[must_use]
pub fn may_match(identity: &Identity, subject: &Subject) -> bool {
    if matches(identity, subject) {
        return true;
    }
    match (subject.kind, &identity.endpoint_user) {
        (SubjectKind::Group, Some(_)) => true,
        (SubjectKind::User, Some(_)) => names_of(identity).any(|name| name == subject.name),
        (SubjectKind::Group, None) => {
            identity.groups_omitted.is_some() && !identity.not_in_groups.contains(&subject.name)
        }
        _ => false,
    }
}

/// Whether all groups of an identity are known.
#[must_use]
pub fn are_groups_known(identity: &Identity) -> bool {
    identity.groups_omitted.is_none() && identity.endpoint_user.is_none()
}

/// The user names by which somebody may be known in the cluster: their own, and of a local user of a host the one that is
/// the same there, as a policy may say (`localUsers: SameName`).
pub fn names_of(identity: &Identity) -> impl Iterator<Item = &str> {
    let local = identity.endpoint_user.as_ref().map(|who| who.local_user.as_str());
    std::iter::once(identity.username.as_str()).chain(local)
}

/// Somebody in words: by their name, and by that of the local user who asked.
#[must_use]
pub fn describe(identity: &Identity) -> String {
    let Identity { username, endpoint_user, .. } = identity;
    match endpoint_user {
        Some(EndpointUser { endpoint, local_user }) => {
            format!("{username} (local user {local_user} of Endpoint {endpoint})")
        }
        None => username.clone(),
    }
}

/// Whether two may be one person: nobody approves, denies or reviews what is their own.
#[must_use]
pub fn may_be_same(one: &Identity, other: &Identity) -> bool {
    names_of(one).any(|name| names_of(other).any(|other| name == other))
}

/// Every subject that [`matches`] an identity: itself, and each of its groups.
pub fn subjects_of(identity: &Identity) -> impl Iterator<Item = Subject> {
    let group = |name: &String| Subject {
        kind: SubjectKind::Group,
        name: name.clone(),
        namespace: None,
        endpoint: None,
    };
    let who = identity.endpoint_user.as_ref();
    let itself = subject_of(identity).filter(|_| who.is_none());
    let groups = identity.groups.iter().filter(move |_| who.is_none()).map(group);
    itself.into_iter().chain(groups).chain(who.into_iter().flat_map(local_subjects))
}

/// All that may stand for a local user of a host: their name or every name, on that Endpoint or on every one.
fn local_subjects(who: &EndpointUser) -> [Subject; 4] {
    let EndpointUser { endpoint, local_user } = who;
    let subject = |name: &str, endpoint: Option<&String>| Subject {
        kind: SubjectKind::EndpointUser,
        name: name.to_owned(),
        namespace: None,
        endpoint: endpoint.cloned(),
    };
    [
        subject(local_user, Some(endpoint)),
        subject(local_user, None),
        subject("", Some(endpoint)),
        subject("", None),
    ]
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
    let (namespace, name) = named_account(&identity.username)?;
    let group = accounts_of(namespace);
    (!name.contains(':') && identity.groups.contains(&group)).then_some((namespace, name))
}

/// The user name of a subject that is no group, as the API server writes it, or as a local user of a host is called.
#[must_use]
pub fn username_of(subject: &Subject) -> String {
    match (subject.kind, &subject.namespace, &subject.endpoint) {
        (SubjectKind::EndpointUser, _, Some(endpoint)) => endpoint_username(&EndpointUser {
            endpoint: endpoint.clone(),
            local_user: subject.name.clone(),
        }),
        (_, Some(namespace), _) => service_account_name(namespace, &subject.name),
        _ => subject.name.clone(),
    }
}

/// The user names by which the holder of a right may be known in the cluster, as [`names_of`] has them.
pub fn names_of_subject(subject: &Subject) -> impl Iterator<Item = String> {
    let local = (subject.kind == SubjectKind::EndpointUser).then(|| subject.name.clone());
    std::iter::once(username_of(subject)).chain(local)
}

/// The subject of a right of this identity; `None` if the name is that of a service account, or of a local user of a host,
/// and the identity is not one.
#[must_use]
pub fn subject_of(identity: &Identity) -> Option<Subject> {
    if let Some((namespace, name)) = service_account(identity) {
        return Some(Subject {
            kind: SubjectKind::ServiceAccount,
            name: name.to_owned(),
            namespace: Some(namespace.to_owned()),
            endpoint: None,
        });
    }
    let of_nobody = |who: &&EndpointUser| endpoint_username(who) == identity.username;
    if let Some(who) = identity.endpoint_user.as_ref().filter(of_nobody) {
        return Some(Subject {
            kind: SubjectKind::EndpointUser,
            name: who.local_user.clone(),
            namespace: None,
            endpoint: Some(who.endpoint.clone()),
        });
    }
    let user = Subject {
        kind: SubjectKind::User,
        name: identity.username.clone(),
        namespace: None,
        endpoint: None,
    };
    (!is_reserved(&identity.username)).then_some(user)
}

/// Whether somebody has a user name as a local user of a host who belongs to nobody.
#[must_use]
pub fn is_named_as_endpoint_user(identity: &Identity) -> bool {
    identity.username.starts_with(ENDPOINT_USER_PREFIX)
}

/// Whether a user name is one that no user has.
fn is_reserved(username: &str) -> bool {
    username.starts_with(SERVICE_ACCOUNT_PREFIX) || username.starts_with(ENDPOINT_USER_PREFIX)
}

/// Whose emergency it is, by the name that the API server calls them. A certificate may carry the name
/// of a service account: to a reviewer, both are the same person.
#[must_use]
pub fn holder(grant: &Grant) -> String {
    username_of(&grant.spec.subject)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::testing::{group, local, local_user, person, service_account as account, user};

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

    /// alice by spec.users of ws-1, and bo, who is nobody of the cluster.
    fn on_hosts() -> (Identity, Identity) {
        (local("ws-1", "al", "alice"), local("ws-1", "bo", "lapse:endpoint:ws-1:bo"))
    }

    #[rstest]
    #[case::by_name(local_user("al", None), true, true)]
    #[case::on_that_host(local_user("al", Some("ws-1")), true, true)]
    #[case::everybody_there(local_user("", Some("ws-1")), true, true)]
    #[case::everybody(local_user("", None), true, true)]
    #[case::another(local_user("bo", None), false, false)]
    #[case::elsewhere(local_user("al", Some("ws-2")), false, false)]
    #[case::who_the_endpoint_says(user("alice"), false, true)]
    #[case::who_is_called_the_same(user("al"), false, true)]
    #[case::another_user(user("bob"), false, false)]
    #[case::groups_are_not_known(group("shop-developers"), false, true)]
    #[case::no_account(account("ci", "al"), false, false)]
    fn a_host_vouches_for_its_local_users_and_for_nobody_else(
        #[case] subject: Subject,
        #[case] is_them: bool,
        #[case] may_be_them: bool,
    ) {
        let (al, _) = on_hosts();
        assert_eq!(matches(&al, &subject), is_them);
        assert_eq!(subjects_of(&al).any(|own| own == subject), is_them);
        assert_eq!(may_match(&al, &subject), may_be_them);
        let alice = person("alice", &["shop-developers"]);
        let is_local = subject.kind == SubjectKind::EndpointUser;
        assert!(!is_local || !may_match(&alice, &subject), "nobody else is a local user");
    }

    #[test]
    fn who_belongs_to_nobody_has_a_name_that_nobody_else_has() {
        let (al, bo) = on_hosts();
        assert_eq!(subject_of(&al), Some(user("alice")));
        let subject = subject_of(&bo).unwrap();
        assert_eq!(subject, local_user("bo", Some("ws-1")));
        assert_eq!(username_of(&subject), bo.username);
        assert_eq!(names_of_subject(&subject).collect::<Vec<_>>(), [&*bo.username, "bo"]);
        let look_alike = person(&bo.username, &[]);
        assert_eq!(subject_of(&look_alike), None);
        assert!(!matches(&look_alike, &user(&bo.username)) && !matches(&look_alike, &subject));
        assert!(!are_groups_known(&bo) && are_groups_known(&look_alike));
    }

    #[test]
    fn whoever_may_be_the_same_counts_as_the_same() {
        let (al, bo) = on_hosts();
        assert!(may_be_same(&al, &person("alice", &[])) && may_be_same(&person("bo", &[]), &bo));
        assert!(may_be_same(&al, &al) && !may_be_same(&al, &bo));
        assert!(!may_be_same(&bo, &person("alice", &[])));
    }
}
