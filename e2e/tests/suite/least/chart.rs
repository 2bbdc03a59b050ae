//! The chart's roles and the list, compared.

use std::collections::BTreeSet;

use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use kube::ResourceExt as _;
use lapse_cluster::rights::{Access, Component, accesses};
use rstest::rstest;

use crate::rendered::Rendered;

/// Holds what requests may be given by their own words.
const GRANTABLE: &str = "lapse-controller-grantable";

impl Rendered {
    /// The rules of a role, which must give what it says and nothing that others add.
    fn rules(&self, role: &RoleRef, namespace: &str) -> Vec<PolicyRule> {
        let (metadata, rules) = if role.kind == "ClusterRole" {
            let roles: Vec<ClusterRole> = self.all("ClusterRole");
            let found = roles.into_iter().find(|found| found.name_any() == role.name).unwrap();
            assert_eq!(found.aggregation_rule, None);
            (found.metadata, found.rules)
        } else {
            let roles: Vec<Role> = self.all("Role");
            let found = roles.into_iter().find(|found| found.name_any() == role.name).unwrap();
            assert_eq!(found.namespace().as_deref(), Some(namespace));
            (found.metadata, found.rules)
        };
        let aggregates = |key: &String| key.starts_with("rbac.authorization.k8s.io/");
        assert!(!metadata.labels.unwrap_or_default().keys().any(aggregates), "{}", role.name);
        rules.unwrap_or_default()
    }

    /// Each binding of the chart: where, of which role, to whom.
    fn bindings(&self) -> Vec<(Option<String>, RoleRef, Vec<Subject>)> {
        let wide: Vec<ClusterRoleBinding> = self.all("ClusterRoleBinding");
        let wide = wide.into_iter().map(|of| (None, of.role_ref, of.subjects.unwrap_or_default()));
        let narrow: Vec<RoleBinding> = self.all("RoleBinding");
        let narrow = narrow.into_iter().map(|of| {
            let namespace = of.namespace().unwrap();
            (Some(namespace), of.role_ref, of.subjects.unwrap_or_default())
        });
        wide.chain(narrow).collect()
    }

    /// What a component may do, and the rules that it holds to give them on.
    fn given(&self, component: Component) -> (BTreeSet<Access>, Vec<PolicyRule>) {
        let namespace = self.settings().namespace;
        let (mut given, mut grantable) = (BTreeSet::new(), Vec::new());
        for (place, role, subjects) in self.bindings() {
            let [subject] = subjects.as_slice() else { panic!("{} binds several", role.name) };
            assert_eq!(subject.kind, "ServiceAccount", "the chart binds nobody else");
            assert_eq!(subject.namespace.as_ref(), Some(&namespace));
            let is_known = Component::ALL.iter().any(|known| known.account() == subject.name);
            assert!(is_known, "{} is bound to {}", role.name, subject.name);
            if subject.name != component.account() {
                continue;
            }
            let rules = self.rules(&role, place.as_ref().unwrap_or(&namespace));
            if role.name == GRANTABLE {
                grantable = rules;
            } else {
                given.extend(rules.iter().flat_map(|rule| spelled_out(rule, place.as_ref())));
            }
        }
        (given, grantable)
    }
}

/// A rule, one by one.
fn spelled_out(rule: &PolicyRule, namespace: Option<&String>) -> Vec<Access> {
    assert_eq!(rule.non_resource_urls, None);
    let names = rule.resource_names.clone().unwrap_or_default();
    let names = match names.as_slice() {
        [] => vec![None],
        names => names.iter().cloned().map(Some).collect(),
    };
    let mut all = Vec::new();
    for group in rule.api_groups.iter().flatten() {
        for resource in rule.resources.iter().flatten() {
            for verb in &rule.verbs {
                all.extend(names.iter().map(|name| Access {
                    namespace: namespace.cloned(),
                    group: group.clone(),
                    resource: resource.clone(),
                    verb: verb.clone(),
                    name: name.clone(),
                }));
            }
        }
    }
    all
}

/// A line for each.
fn told<'a>(some: impl Iterator<Item = &'a Access>) -> String {
    some.map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[rstest]
#[case::as_it_comes(&[])]
#[case::cluster_wide(&["controller.allowClusterWide=true"])]
#[case::no_roles(&["controller.bindableRoles=[]"])]
#[case::roles_of_namespaces(&[
    r#"controller.bindableRoles=[{"kind":"Role","name":"mend"},{"kind":"ClusterRole","name":"admin"}]"#,
])]
#[case::rules(&[
    r#"controller.grantableRules=[{"apiGroups":[""],"resources":["pods"],"resourceNames":["web"],"verbs":["get"]}]"#,
])]
#[case::rules_everywhere(&[
    "controller.allowClusterWide=true",
    r#"controller.grantableRules=[{"apiGroups":[""],"resources":["pods"],"resourceNames":["web"],"verbs":["get"]},{"nonResourceURLs":["/metrics"],"verbs":["get"]}]"#,
])]
#[case::workloads(&["controller.endWorkloads=true"])]
#[case::gateway(&["gateway.enabled=true"])]
#[case::requests_of_hosts(&[
    "gateway.enabled=true",
    "gateway.requests.enabled=true",
    r#"gateway.requests.namespace="ops""#,
])]
#[case::all(&[
    "controller.allowClusterWide=true",
    r#"controller.bindableRoles=[{"kind":"Role","name":"mend"}]"#,
    r#"controller.grantableRules=[{"apiGroups":[""],"resources":["pods"],"verbs":["get"]}]"#,
])]
#[tokio::test]
async fn the_chart_gives_what_the_list_says(#[case] values: &[&str]) {
    let rendered = Rendered::with(values).await;
    let settings = rendered.settings();
    assert_eq!(settings.namespace, "elsewhere");
    for component in Component::ALL {
        let listed = accesses(component, &settings).into_iter().map(|(access, _)| access);
        let listed: BTreeSet<_> = listed.collect();
        let (given, grantable) = rendered.given(component);
        let unlisted = told(given.difference(&listed));
        assert!(unlisted.is_empty(), "{component:?} is given, and not listed:\n{unlisted}");
        let missing = told(listed.difference(&given));
        assert!(missing.is_empty(), "{component:?} needs, and is not given:\n{missing}");
        let settings_say = match component {
            Component::Controller => settings.grantable_rules.as_slice(),
            Component::Webhook | Component::Gateway => &[],
        };
        let settings_say: Vec<_> = settings_say.iter().map(PolicyRule::from).collect();
        assert_eq!(grantable, settings_say);
    }
}
