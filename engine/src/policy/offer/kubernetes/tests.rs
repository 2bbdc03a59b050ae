use lapse_crds::{LabelOperator, LabelRequirement, LabelValue};
use rstest::rstest;

use super::*;
use crate::rules::testing::rule;
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

const NOTHING_KNOWN: RolesKnown<'_> =
    RolesKnown { asked: &Read::Missing, banned: &BannedRoles::new() };

fn offer(set: NamespaceSet, cluster_wide: bool) -> KubernetesOffer {
    KubernetesOffer {
        roles: vec![cluster_role("edit")],
        rules: vec![],
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
    #[case] offer: KubernetesOffer,
    #[case] contains_shop: bool,
    #[case] contains_cluster: bool,
    #[case] overlaps: bool,
) {
    let labels = [("team".to_owned(), "shop".to_owned())].into();
    let known = Namespaces::from([
        ("shop".to_owned(), Read::Found(Namespace { labels, is_going: false })),
        ("bank".to_owned(), Read::Found(Namespace::default())),
    ]);
    let both = edit_in(&["bank", "shop"]);
    let cluster = ResolvedTarget { scope: Scope::Cluster, ..edit_in(&[]) };
    assert_eq!(offer.contains(&edit_in(&["shop"]), &known, &settings()), contains_shop);
    assert_eq!(offer.contains(&both, &known, &settings()), contains_shop && offer.namespaces.all);
    assert_eq!(offer.contains(&cluster, &known, &settings()), contains_cluster);
    assert_eq!(offer.overlaps(&both, &known, NOTHING_KNOWN), overlaps);
    assert_eq!(offer.overlaps(&cluster, &known, NOTHING_KNOWN), overlaps);
    let view = ResolvedTarget { privilege: Privilege::Role(cluster_role("view")), ..both };
    assert!(
        !offer.overlaps(&view, &known, NOTHING_KNOWN)
            && !offer.contains(&view, &known, &settings())
    );
}

#[test]
fn what_is_protected_is_offered_by_name_and_with_escalation() {
    let all = NamespaceSet { all: true, ..NamespaceSet::default() };
    let named = |name: &str| NamespaceSet { names: vec![name.into()], ..all.clone() };
    let offers = |set: NamespaceSet, allow_escalation: bool, name: &str| {
        let offer = KubernetesOffer { allow_escalation, ..offer(set, false) };
        offer.contains(&edit_in(&[name]), &Namespaces::new(), &settings())
    };
    assert!(!offers(all.clone(), true, "kube-system"));
    assert!(!offers(named("kube-system"), false, "kube-system"));
    assert!(offers(named("kube-system"), true, "kube-system"));
    assert!(!offers(named("lapse-system"), true, "lapse-system"));
    // Nobody is spared a ban by that.
    let ban = offer(all, false);
    assert!(ban.overlaps(&edit_in(&["kube-system"]), &Namespaces::new(), NOTHING_KNOWN));
}

#[test]
fn a_namespace_that_is_not_known_is_not_selected() {
    let set = NamespaceSet { selector: Some(equal("team", "shop")), ..NamespaceSet::default() };
    assert!(!offer(set, false).contains(&edit_in(&["shop"]), &Namespaces::new(), &settings()));
}

fn rules_in_shop(rules: &[PolicyRule]) -> KubernetesOffer {
    let set = NamespaceSet { names: vec!["shop".into()], ..NamespaceSet::default() };
    match rules {
        [] => offer(set, false),
        _ => KubernetesOffer {
            rules: rules.iter().cloned().map(RoleRule::from).collect(),
            roles: vec![],
            ..offer(set, false)
        },
    }
}

fn asked(rules: &[PolicyRule]) -> ResolvedTarget {
    let rules = rules.iter().cloned().map(RoleRule::from).collect();
    ResolvedTarget { privilege: Privilege::Rules(rules), ..edit_in(&["shop"]) }
}

#[rstest]
#[case::the_same(rule("get patch", "", "configmaps", ""), None)]
#[case::less(rule("get", "", "configmaps", "coredns"), None)]
#[case::another_verb(
    rule("get delete", "", "configmaps", ""),
    Some("delete configmaps is not among what is allowed")
)]
#[case::all_of_it(
    rule("*", "", "configmaps", ""),
    Some("any verb on configmaps is not among what is allowed")
)]
#[case::another_resource(
    rule("get", "", "secrets", ""),
    Some("get secrets is not among what is allowed")
)]
fn rules_lie_within_those_that_are_offered(
    #[case] rule_asked: PolicyRule,
    #[case] shortfall: Option<&str>,
) {
    let offer = rules_in_shop(&[rule("get list patch", "", "configmaps", "")]);
    let (target, known) = (asked(&[rule_asked]), Namespaces::new());
    assert_eq!(offer.contains(&target, &known, &settings()), shortfall.is_none());
    let missing = offer.shortfall(&target, &known, &settings()).map(|missing| missing.to_string());
    assert_eq!(missing.as_deref(), shortfall);
    // A whole role is not offered by its rules, nor are rules by a role.
    assert!(!rules_in_shop(&[]).contains(&target, &known, &settings()));
    let bank = ResolvedTarget { scope: edit_in(&["bank"]).scope, ..target };
    assert!(!offer.contains(&bank, &known, &settings()));
}

#[rstest]
#[case::rules_and_rules(rules_in_shop(&[rule("*", "", "secrets", "")]), asked(&[rule("get", "", "*", "")]), true)]
#[case::other_rules(rules_in_shop(&[rule("*", "", "secrets", "")]), asked(&[rule("get", "", "pods", "")]), false)]
#[case::rules_and_a_role(rules_in_shop(&[rule("get", "", "pods", "")]), edit_in(&["shop"]), true)]
#[case::rules_and_another_role(rules_in_shop(&[rule("get", "", "secrets", "")]), ResolvedTarget { privilege: Privilege::Role(cluster_role("view")), ..edit_in(&["shop"]) }, false)]
#[case::a_role_and_rules(rules_in_shop(&[]), asked(&[rule("get", "", "pods", "")]), true)]
#[case::a_role_and_other_rules(rules_in_shop(&[]), asked(&[rule("get", "", "secrets", "")]), false)]
#[case::elsewhere(rules_in_shop(&[]), ResolvedTarget { scope: edit_in(&["bank"]).scope, ..asked(&[rule("get", "", "pods", "")]) }, false)]
fn rules_overlap_with_roles_that_contain_any_of_them(
    #[case] ban: KubernetesOffer,
    #[case] target: ResolvedTarget,
    #[case] expected: bool,
) {
    // What edit allows, and what the role that is asked for does.
    let pods = Read::Found(RoleRules::of_cluster_role(vec![rule("get", "", "pods", "")]));
    let banned = BannedRoles::from([(cluster_role("edit"), pods.clone())]);
    let known = RolesKnown { asked: &pods, banned: &banned };
    assert_eq!(ban.overlaps(&target, &Namespaces::new(), known), expected);
}
