//! Who holds privileges that do not lapse: the subjects of bindings that are not Lapse's, to roles that allow everything or
//! that the installation names as privileged.

use std::collections::BTreeSet;

use k8s_openapi::api::rbac::v1::{PolicyRule, RoleRef, Subject};
use lapse_crds::SubjectKind;

/// The cluster roles that are privileged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrivilegedRoles(BTreeSet<String>);

/// The subjects that hold one of them. Each counts once, in the cluster and in namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StandingSubjects {
    everywhere: BTreeSet<Named>,
    in_namespaces: BTreeSet<Named>,
}

/// A subject: its kind, its namespace if it has one, and its name.
type Named = (SubjectKind, String, String);

impl PrivilegedRoles {
    /// Those that the installation names.
    #[must_use]
    pub fn named(names: impl IntoIterator<Item = String>) -> Self {
        Self(names.into_iter().collect())
    }

    /// Takes note of a cluster role, if it allows every verb on every resource of every group.
    pub fn look_at(&mut self, name: &str, rules: &[PolicyRule]) {
        let has_all = |values: Option<&Vec<String>>| values.into_iter().flatten().any(|v| v == "*");
        let is_unlimited = |rule: &PolicyRule| {
            let PolicyRule { api_groups, resources, resource_names, verbs, non_resource_urls: _ } =
                rule;
            has_all(api_groups.as_ref())
                && has_all(resources.as_ref())
                && verbs.iter().any(|verb| verb == "*")
                && resource_names.as_ref().is_none_or(Vec::is_empty)
        };
        if rules.iter().any(is_unlimited) {
            self.0.insert(name.to_owned());
        }
    }

    fn has(&self, role: &RoleRef) -> bool {
        role.kind == "ClusterRole" && self.0.contains(&role.name)
    }
}

impl StandingSubjects {
    /// Takes note of a binding that is not Lapse's; `namespace`: that of a binding in one.
    pub fn bound(
        &mut self,
        privileged: &PrivilegedRoles,
        namespace: Option<&str>,
        role: &RoleRef,
        subjects: &[Subject],
    ) {
        if !privileged.has(role) {
            return;
        }
        let of_scope =
            if namespace.is_some() { &mut self.in_namespaces } else { &mut self.everywhere };
        of_scope.extend(subjects.iter().filter_map(|subject| named(subject, namespace)));
    }

    /// How many of a kind hold one in the whole cluster.
    #[must_use]
    pub fn everywhere(&self, kind: SubjectKind) -> usize {
        self.everywhere.iter().filter(|(of, ..)| *of == kind).count()
    }

    /// How many of a kind hold one in a namespace.
    #[must_use]
    pub fn in_namespaces(&self, kind: SubjectKind) -> usize {
        self.in_namespaces.iter().filter(|(of, ..)| *of == kind).count()
    }
}

/// A service account may be written as a user, too, and is one all the same.
fn named(subject: &Subject, namespace: Option<&str>) -> Option<Named> {
    const ACCOUNT: &str = "system:serviceaccount:";
    let name = subject.name.as_str();
    match subject.kind.as_str() {
        "User" => match name.strip_prefix(ACCOUNT).and_then(|rest| rest.split_once(':')) {
            Some((of, name)) => Some((SubjectKind::ServiceAccount, of.to_owned(), name.to_owned())),
            None => Some((SubjectKind::User, String::new(), name.to_owned())),
        },
        "Group" => Some((SubjectKind::Group, String::new(), name.to_owned())),
        "ServiceAccount" => {
            let of = subject.namespace.as_deref().filter(|of| !of.is_empty()).or(namespace);
            Some((SubjectKind::ServiceAccount, of.unwrap_or_default().to_owned(), name.to_owned()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn words(words: &str) -> Vec<String> {
        words.split_whitespace().map(str::to_owned).collect()
    }

    fn rule(groups: &str, resources: &str, verbs: &str) -> PolicyRule {
        PolicyRule {
            api_groups: Some(words(groups)),
            resources: Some(words(resources)),
            verbs: words(verbs),
            ..PolicyRule::default()
        }
    }

    fn role(kind: &str, name: &str) -> RoleRef {
        RoleRef { kind: kind.to_owned(), name: name.to_owned(), ..RoleRef::default() }
    }

    fn subject(kind: &str, name: &str, namespace: Option<&str>) -> Subject {
        let namespace = namespace.map(str::to_owned);
        Subject { kind: kind.to_owned(), name: name.to_owned(), namespace, api_group: None }
    }

    #[rstest]
    #[case::everything(&[rule("*", "*", "*")], true)]
    #[case::beside_others(&[rule("apps", "pods", "get"), rule("apps *", "pods *", "get *")], true)]
    #[case::reads_everything(&[rule("*", "*", "get list watch")], false)]
    #[case::one_group(&[rule("apps", "*", "*")], false)]
    #[case::one_resource(&[rule("*", "secrets", "*")], false)]
    #[case::parts(&[rule("*", "*", "get"), rule("apps", "*", "*")], false)]
    #[case::by_name(&[PolicyRule { resource_names: Some(words("web")), ..rule("*", "*", "*") }], false)]
    #[case::urls(&[PolicyRule { non_resource_urls: Some(words("*")), verbs: words("*"), ..PolicyRule::default() }], false)]
    #[case::nothing(&[], false)]
    fn unlimited(#[case] rules: &[PolicyRule], #[case] expected: bool) {
        let mut roles = PrivilegedRoles::named(["cluster-admin".to_owned()]);
        roles.look_at("own", rules);
        assert_eq!(roles.has(&role("ClusterRole", "own")), expected);
        assert!(roles.has(&role("ClusterRole", "cluster-admin")));
        assert!(!roles.has(&role("Role", "cluster-admin")), "a Role of that name is another");
    }

    #[test]
    fn a_subject_counts_once_in_each_scope() {
        let roles = PrivilegedRoles::named(["admin".to_owned()]);
        let (admin, view) = (role("ClusterRole", "admin"), role("ClusterRole", "view"));
        let mut standing = StandingSubjects::default();
        let olga = [subject("User", "olga", None)];
        standing.bound(&roles, None, &admin, &olga);
        standing.bound(&roles, None, &admin, &olga);
        standing.bound(&roles, None, &view, &[subject("User", "vera", None)]);
        standing.bound(&roles, Some("shop"), &admin, &olga);
        standing.bound(&roles, Some("bank"), &admin, &olga);
        standing.bound(&roles, Some("shop"), &admin, &[subject("Group", "olga", None)]);
        // The same account, in three ways.
        standing.bound(
            &roles,
            Some("shop"),
            &admin,
            &[
                subject("ServiceAccount", "ci", None),
                subject("ServiceAccount", "ci", Some("shop")),
                subject("User", "system:serviceaccount:shop:ci", None),
            ],
        );
        standing.bound(&roles, Some("bank"), &admin, &[subject("ServiceAccount", "ci", None)]);
        let counts = |kind| (standing.everywhere(kind), standing.in_namespaces(kind));
        assert_eq!(counts(SubjectKind::User), (1, 1));
        assert_eq!(counts(SubjectKind::Group), (0, 1));
        assert_eq!(counts(SubjectKind::ServiceAccount), (0, 2));
    }
}
