//! One entry of the targets of a policy: roles, and where.

use lapse_crds::{
    KubernetesTargets, LabelOperator, LabelRequirement, LabelSelector, NamespaceSet, RoleRef,
};

use crate::target::{Namespaces, ResolvedTarget, Scope};
use crate::{Read, Settings};

/// Roles, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    roles: Vec<RoleRef>,
    namespaces: NamespaceSet,
    cluster_wide: bool,
    allow_escalation: bool,
}

impl Offer {
    pub(super) fn of(targets: &KubernetesTargets) -> Self {
        // Destructured without `..`: a field that is added to the API must be compiled here.
        let KubernetesTargets { roles, namespaces, cluster_wide, allow_escalation } =
            targets.clone();
        Self { roles, namespaces: namespaces.unwrap_or_default(), cluster_wide, allow_escalation }
    }

    /// Whether roles that let their holder climb are accepted here.
    pub(super) fn allows_escalation(&self) -> bool {
        self.allow_escalation
    }

    /// Whether a protected namespace is offered: by its name and with escalation alone, and the
    /// installation's own never.
    pub(super) fn offers_protected(&self, namespace: &str, settings: &Settings) -> bool {
        self.allow_escalation
            && !settings.is_own(namespace)
            && self.namespaces.names.iter().any(|name| name == namespace)
    }

    /// Whether the whole target lies within the entry.
    pub(super) fn contains(
        &self,
        target: &ResolvedTarget,
        known: &Namespaces,
        settings: &Settings,
    ) -> bool {
        let offers = |name: &String| match settings.protection_of(name) {
            Some(_) => self.offers_protected(name, settings),
            None => self.has_namespace(name, known),
        };
        let place = match &target.scope {
            Scope::Cluster => self.cluster_wide,
            Scope::Namespaces(asked) => asked.iter().all(offers),
        };
        place && self.roles.contains(&target.role)
    }

    /// Whether any part of the target lies within the entry. The whole cluster overlaps with every
    /// namespace.
    pub(super) fn overlaps(&self, target: &ResolvedTarget, known: &Namespaces) -> bool {
        let NamespaceSet { names, selector, all } = &self.namespaces;
        let place = match &target.scope {
            Scope::Cluster => self.cluster_wide || *all || selector.is_some() || !names.is_empty(),
            Scope::Namespaces(asked) => {
                self.cluster_wide || asked.iter().any(|name| self.has_namespace(name, known))
            }
        };
        place && self.roles.contains(&target.role)
    }

    fn has_namespace(&self, name: &String, known: &Namespaces) -> bool {
        let NamespaceSet { names, selector, all } = &self.namespaces;
        let is_selected = |selector: &LabelSelector| match known.get(name) {
            Some(Read::Found(namespace)) => {
                selects(selector, |key| namespace.labels.get(key).map(String::as_str))
            }
            _ => false,
        };
        *all || names.contains(name) || selector.as_ref().is_some_and(is_selected)
    }

    pub(super) fn describe(&self) -> String {
        let roles = self.roles.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let NamespaceSet { names, selector, all } = &self.namespaces;
        let mut places = if *all { vec!["all namespaces".to_owned()] } else { names.clone() };
        places.extend(
            selector.iter().map(|selector| format!("namespaces with {}", describe(selector))),
        );
        if self.cluster_wide {
            places.push("the whole cluster".to_owned());
        }
        format!("{roles} in {}", places.join(", "))
    }
}

/// Whether labels meet every requirement of a selector, as Kubernetes reads it; an empty one selects
/// nothing.
fn selects<'a>(selector: &LabelSelector, label: impl Fn(&str) -> Option<&'a str>) -> bool {
    let LabelSelector { match_labels, match_expressions } = selector;
    let meets = |requirement: &LabelRequirement| {
        let value = label(&requirement.key);
        let is_listed = || requirement.values.iter().any(|listed| Some(&*listed.0) == value);
        match requirement.operator {
            LabelOperator::In => is_listed(),
            LabelOperator::NotIn => !is_listed(),
            LabelOperator::Exists => value.is_some(),
            LabelOperator::DoesNotExist => value.is_none(),
        }
    };
    !(match_labels.is_empty() && match_expressions.is_empty())
        && match_labels.iter().all(|(key, value)| label(key) == Some(&*value.0))
        && match_expressions.iter().all(meets)
}

/// A selector in words, as `kubectl` writes it.
fn describe(selector: &LabelSelector) -> String {
    let equal = selector.match_labels.iter().map(|(key, value)| format!("{key}={}", value.0));
    let expressions = selector.match_expressions.iter().map(|requirement| {
        let LabelRequirement { key, operator, values } = requirement;
        let values: Vec<&str> = values.iter().map(|value| value.0.as_str()).collect();
        let values = values.join(",");
        match operator {
            LabelOperator::In => format!("{key} in ({values})"),
            LabelOperator::NotIn => format!("{key} notin ({values})"),
            LabelOperator::Exists => key.clone(),
            LabelOperator::DoesNotExist => format!("!{key}"),
        }
    });
    equal.chain(expressions).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use lapse_crds::LabelValue;
    use rstest::rstest;

    use super::*;
    use crate::target::Namespace;
    use crate::testing::{cluster_role, edit_in, settings};

    fn requirement(key: &str, operator: LabelOperator, values: &[&str]) -> LabelSelector {
        let values = values.iter().map(|value| LabelValue((*value).to_owned())).collect();
        let requirement = LabelRequirement { key: key.to_owned(), operator, values };
        LabelSelector { match_expressions: vec![requirement], ..LabelSelector::default() }
    }

    fn equal(key: &str, value: &str) -> LabelSelector {
        let match_labels = [(key.to_owned(), LabelValue(value.to_owned()))].into();
        LabelSelector { match_labels, ..LabelSelector::default() }
    }

    #[rstest]
    #[case(equal("team", "shop"), true)]
    #[case(equal("team", "bank"), false)]
    #[case(equal("tier", "shop"), false)]
    #[case(requirement("team", LabelOperator::In, &["bank", "shop"]), true)]
    #[case(requirement("tier", LabelOperator::In, &["shop"]), false)]
    #[case(requirement("team", LabelOperator::NotIn, &["bank"]), true)]
    #[case(requirement("tier", LabelOperator::NotIn, &["bank"]), true)]
    #[case(requirement("team", LabelOperator::NotIn, &["shop"]), false)]
    #[case(requirement("team", LabelOperator::Exists, &[]), true)]
    #[case(requirement("tier", LabelOperator::Exists, &[]), false)]
    #[case(requirement("tier", LabelOperator::DoesNotExist, &[]), true)]
    #[case(LabelSelector::default(), false)]
    fn selects_by_labels(#[case] selector: LabelSelector, #[case] expected: bool) {
        let label = |key: &str| (key == "team").then_some("shop");
        assert_eq!(selects(&selector, label), expected, "{}", describe(&selector));
    }

    fn offer(set: NamespaceSet, cluster_wide: bool) -> Offer {
        Offer {
            roles: vec![cluster_role("edit")],
            namespaces: set,
            cluster_wide,
            allow_escalation: false,
        }
    }

    #[rstest]
    #[case::named(offer(NamespaceSet { names: vec!["shop".into()], ..NamespaceSet::default() }, false), true, false, true)]
    #[case::selected(offer(NamespaceSet { selector: Some(equal("team", "shop")), ..NamespaceSet::default() }, false), true, false, true)]
    #[case::all(offer(NamespaceSet { all: true, ..NamespaceSet::default() }, false), true, false, true)]
    #[case::cluster(offer(NamespaceSet::default(), true), false, true, true)]
    #[case::nothing(offer(NamespaceSet::default(), false), false, false, false)]
    fn contains_wholes_and_overlaps_with_parts(
        #[case] offer: Offer,
        #[case] contains_shop: bool,
        #[case] contains_cluster: bool,
        #[case] overlaps: bool,
    ) {
        let labels = [("team".to_owned(), "shop".to_owned())].into();
        let known = Namespaces::from([
            ("shop".to_owned(), Read::Found(Namespace { labels })),
            ("bank".to_owned(), Read::Found(Namespace::default())),
        ]);
        let both = edit_in(&["bank", "shop"]);
        let cluster = ResolvedTarget { scope: Scope::Cluster, ..edit_in(&[]) };
        assert_eq!(offer.contains(&edit_in(&["shop"]), &known, &settings()), contains_shop);
        assert_eq!(
            offer.contains(&both, &known, &settings()),
            contains_shop && offer.namespaces.all
        );
        assert_eq!(offer.contains(&cluster, &known, &settings()), contains_cluster);
        assert_eq!(offer.overlaps(&both, &known), overlaps);
        assert_eq!(offer.overlaps(&cluster, &known), overlaps);
        let view = ResolvedTarget { role: cluster_role("view"), ..both };
        assert!(!offer.overlaps(&view, &known) && !offer.contains(&view, &known, &settings()));
    }

    #[test]
    fn what_is_protected_is_offered_by_name_and_with_escalation() {
        let all = NamespaceSet { all: true, ..NamespaceSet::default() };
        let named = |name: &str| NamespaceSet { names: vec![name.into()], ..all.clone() };
        let offers = |set: NamespaceSet, allow_escalation: bool, name: &str| {
            let offer = Offer { allow_escalation, ..offer(set, false) };
            offer.contains(&edit_in(&[name]), &Namespaces::new(), &settings())
        };
        assert!(!offers(all.clone(), true, "kube-system"));
        assert!(!offers(named("kube-system"), false, "kube-system"));
        assert!(offers(named("kube-system"), true, "kube-system"));
        assert!(!offers(named("lapse-system"), true, "lapse-system"));
        // Nobody is spared a ban by that.
        let ban = offer(all, false);
        assert!(ban.overlaps(&edit_in(&["kube-system"]), &Namespaces::new()));
    }

    #[test]
    fn a_namespace_that_is_not_known_is_not_selected() {
        let set = NamespaceSet { selector: Some(equal("team", "shop")), ..NamespaceSet::default() };
        assert!(!offer(set, false).contains(&edit_in(&["shop"]), &Namespaces::new(), &settings()));
    }
}
