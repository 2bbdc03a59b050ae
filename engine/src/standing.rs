//! Who holds privileges that do not lapse: the subjects of bindings that are not Lapse's, to roles that allow everything or
//! that the installation names as privileged.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::rbac::v1::{PolicyRule, RoleRef, Subject};
use lapse_crds::SubjectKind;

use crate::identity::named_account;

/// The cluster roles that are privileged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrivilegedRoles(BTreeSet<String>);

/// The subjects that hold one of them. Each counts once, in the cluster and in namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StandingSubjects {
    everywhere: Holders,
    in_namespaces: Holders,
}

/// Subjects, each with the bindings by which it holds one.
type Holders = BTreeMap<Named, BTreeSet<String>>;

/// A binding that is not Lapse's.
#[derive(Clone, Copy, Debug)]
pub struct StandingBinding<'a> {
    /// Its namespace; `None` of a `ClusterRoleBinding`.
    pub namespace: Option<&'a str>,
    /// Its name.
    pub name: &'a str,
    /// The role that it binds.
    pub role: &'a RoleRef,
    /// To whom.
    pub subjects: &'a [Subject],
}

/// One who holds a privilege that does not lapse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandingHolder {
    /// Who.
    pub subject: lapse_crds::Subject,
    /// Whether in the whole cluster, or in namespaces.
    pub everywhere: bool,
    /// By which bindings, each as `kubectl` names it, in words.
    pub bindings: Vec<String>,
}

impl StandingHolder {
    /// Whether it is a part of Kubernetes itself, or its way in when all else fails. The chart asks nothing of these either
    /// (`lapse.notTheSystem`).
    #[must_use]
    pub fn is_of_kubernetes(&self) -> bool {
        let lapse_crds::Subject { kind, name, namespace, endpoint: _ } = &self.subject;
        match kind {
            SubjectKind::User => name.starts_with("system:kube-") || name == "system:apiserver",
            SubjectKind::Group => ["system:masters", "system:nodes"].contains(&&**name),
            SubjectKind::ServiceAccount => namespace.as_deref() == Some("kube-system"),
            // No binding of the cluster names one.
            SubjectKind::EndpointUser => false,
        }
    }
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
    /// Takes note of a binding that is not Lapse's.
    pub fn bound(&mut self, privileged: &PrivilegedRoles, binding: StandingBinding<'_>) {
        let StandingBinding { namespace, name, role, subjects } = binding;
        if !privileged.has(role) {
            return;
        }
        let (of_scope, by) = match namespace {
            Some(namespace) => {
                (&mut self.in_namespaces, format!("RoleBinding {name} in {namespace}"))
            }
            None => (&mut self.everywhere, format!("ClusterRoleBinding {name}")),
        };
        for subject in subjects.iter().filter_map(|subject| named(subject, namespace)) {
            of_scope.entry(subject).or_default().insert(by.clone());
        }
    }

    /// All of them, those of the whole cluster first.
    pub fn holders(&self) -> impl Iterator<Item = StandingHolder> {
        let of = |everywhere| {
            move |((kind, namespace, name), bindings): (&Named, &BTreeSet<String>)| {
                let namespace = Some(namespace.clone()).filter(|name| !name.is_empty());
                let name = name.clone();
                let subject = lapse_crds::Subject { kind: *kind, name, namespace, endpoint: None };
                StandingHolder { subject, everywhere, bindings: bindings.iter().cloned().collect() }
            }
        };
        self.everywhere.iter().map(of(true)).chain(self.in_namespaces.iter().map(of(false)))
    }

    /// How many of a kind hold one in the whole cluster.
    #[must_use]
    pub fn everywhere(&self, kind: SubjectKind) -> usize {
        self.everywhere.keys().filter(|(of, ..)| *of == kind).count()
    }

    /// How many of a kind hold one in a namespace.
    #[must_use]
    pub fn in_namespaces(&self, kind: SubjectKind) -> usize {
        self.in_namespaces.keys().filter(|(of, ..)| *of == kind).count()
    }
}

/// A service account may be written as a user, too, and is one all the same.
fn named(subject: &Subject, namespace: Option<&str>) -> Option<Named> {
    let name = subject.name.as_str();
    match subject.kind.as_str() {
        "User" => match named_account(name) {
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

    fn bound(
        standing: &mut StandingSubjects,
        namespace: Option<&str>,
        role: &RoleRef,
        subjects: &[Subject],
    ) {
        let roles = PrivilegedRoles::named(["admin".to_owned()]);
        standing.bound(&roles, StandingBinding { namespace, name: "b", role, subjects });
    }

    #[test]
    fn a_subject_counts_once_in_each_scope() {
        let (admin, view) = (role("ClusterRole", "admin"), role("ClusterRole", "view"));
        let mut standing = StandingSubjects::default();
        let olga = [subject("User", "olga", None)];
        bound(&mut standing, None, &admin, &olga);
        bound(&mut standing, None, &admin, &olga);
        bound(&mut standing, None, &view, &[subject("User", "vera", None)]);
        bound(&mut standing, Some("shop"), &admin, &olga);
        bound(&mut standing, Some("bank"), &admin, &olga);
        bound(&mut standing, Some("shop"), &admin, &[subject("Group", "olga", None)]);
        // The same account, in three ways.
        let accounts = [
            subject("ServiceAccount", "ci", None),
            subject("ServiceAccount", "ci", Some("shop")),
            subject("User", "system:serviceaccount:shop:ci", None),
        ];
        bound(&mut standing, Some("shop"), &admin, &accounts);
        bound(&mut standing, Some("bank"), &admin, &[subject("ServiceAccount", "ci", None)]);
        let counts = |kind| (standing.everywhere(kind), standing.in_namespaces(kind));
        assert_eq!(counts(SubjectKind::User), (1, 1));
        assert_eq!(counts(SubjectKind::Group), (0, 1));
        assert_eq!(counts(SubjectKind::ServiceAccount), (0, 2));
        let holders = standing.holders().map(|holder| {
            let place = if holder.everywhere { "everywhere" } else { "in namespaces" };
            format!("{} {place}: {}", holder.subject, holder.bindings.join(", "))
        });
        insta::assert_snapshot!(holders.collect::<Vec<_>>().join("\n"), @r"
        user olga everywhere: ClusterRoleBinding b
        user olga in namespaces: RoleBinding b in bank, RoleBinding b in shop
        group olga in namespaces: RoleBinding b in shop
        service account bank/ci in namespaces: RoleBinding b in bank
        service account shop/ci in namespaces: RoleBinding b in shop
        ");
    }

    #[rstest]
    #[case("Group", "system:masters", true)]
    #[case("User", "system:kube-controller-manager", true)]
    #[case("User", "system:kubelet-of-mallory", false)]
    #[case("ServiceAccount", "kube-system/namespace-controller", true)]
    #[case("ServiceAccount", "shop/namespace-controller", false)]
    #[case("User", "system:serviceaccount:kube-system:clusterrole-aggregation-controller", true)]
    #[case("Group", "system:serviceaccounts:kube-system", false)]
    #[case("Group", "system:authenticated", false)]
    #[case("User", "kube-system", false)]
    fn what_is_of_kubernetes_is_told_apart(
        #[case] kind: &str,
        #[case] name: &str,
        #[case] expected: bool,
    ) {
        let (namespace, name) =
            name.split_once('/').map_or((None, name), |(namespace, name)| (Some(namespace), name));
        let mut standing = StandingSubjects::default();
        let admin = role("ClusterRole", "admin");
        bound(&mut standing, None, &admin, &[subject(kind, name, namespace)]);
        let holders: Vec<_> = standing.holders().map(|holder| holder.is_of_kubernetes()).collect();
        assert_eq!(holders, [expected]);
    }
}
