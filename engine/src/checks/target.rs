//! The policy offers the target, and the target exists.

use lapse_crds::RoleKind;

use super::{CheckResult, Context, endpoint};
use crate::Read;
use crate::target::{ResolvedTarget, check_rules};

pub(super) fn check(context: &Context<'_>) -> CheckResult {
    let Context { target, policy, role, known, settings, .. } = context;
    // A policy that offers all namespaces, or selects some, does not offer the protected ones.
    for namespace in target.namespaces() {
        let is_offered = policy.offers_protected(namespace);
        if let Some(why) = settings.protection_of(namespace).filter(|_| !is_offered) {
            return CheckResult::Fail(format!("Namespace {namespace} {why}."));
        }
    }
    if let Some(why) = invalid_rule(context) {
        return CheckResult::Fail(why);
    }
    if !policy.offers(target, known) {
        let shortfall = policy.shortfall(target, known);
        let shortfall = shortfall.map(|missing| format!(" {missing}.")).unwrap_or_default();
        return CheckResult::Fail(format!(
            "{target} was requested, but JitPolicy {} offers {}.{shortfall} Request no more than that, or request \
             under another policy.",
            policy.name(),
            policy.describe_targets()
        ));
    }
    // Why nothing is extended is the affair of the check of the policy.
    if let Ok(Some(extended)) = context.extended() {
        let live = extended.grant.live.as_ref();
        let earlier = live.and_then(|live| live.target.as_ref());
        if !earlier.is_some_and(|earlier| earlier.contains(target)) {
            let held = earlier.map(ToString::to_string).unwrap_or_default();
            return CheckResult::Fail(format!(
                "{target} was requested, but request {}, which it extends, is for {held}; request no more than that, \
                 or leave spec.extends out.",
                extended.grant.request.name
            ));
        }
    }
    if let Some(endpoint) = &known.endpoint {
        return endpoint::check(context, endpoint);
    }
    for (namespace, found) in &known.namespaces {
        match found {
            Read::Found(found) if found.is_going => {
                return CheckResult::Fail(format!(
                    "Namespace {namespace} is being deleted; request again if it is created again."
                ));
            }
            Read::Found(_) => {}
            Read::Missing => {
                return CheckResult::Fail(format!(
                    "Namespace {namespace} does not exist; correct its name in spec.target."
                ));
            }
            Read::Failed(why) => {
                return CheckResult::Pending(format!(
                    "Namespace {namespace} cannot be read: {why}."
                ));
            }
        }
    }
    match role {
        Read::Found(_) => CheckResult::Pass(format!("{target} is offered.")),
        Read::Missing => CheckResult::Fail(format!(
            "{} does not exist{}; correct spec.target, or request another role.",
            target.privilege,
            place(target)
        )),
        Read::Failed(why) => {
            CheckResult::Pending(format!("{} cannot be read: {why}.", target.privilege))
        }
    }
}

/// Where a `Role` must stand: in each of the namespaces.
fn place(target: &ResolvedTarget) -> String {
    let is_role = target.privilege.role().is_some_and(|role| role.kind == RoleKind::Role);
    let names: Vec<&str> = target.namespaces().filter(|_| is_role).collect();
    match names.as_slice() {
        [] => String::new(),
        [name] => format!(" in namespace {name}"),
        names => format!(" in each of the namespaces {}", names.join(", ")),
    }
}

/// What is wrong with the rules that are spelled out, if anything is. Admission says so, too; a request
/// that it let through is older than what it knows now.
fn invalid_rule(context: &Context<'_>) -> Option<String> {
    check_rules(&context.spec.target).err().map(|error| format!("{error}."))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::policy::Policy;
    use crate::target::{Namespace, Scope};
    use crate::testing::{Fixture, edit_in};

    #[rstest]
    #[case(&["shop"], true)]
    #[case(&["shop-staging"], true)]
    #[case(&["shop", "shop-staging"], true)]
    #[case(&["shop", "bank"], false)]
    #[case(&["kube-system"], false)]
    #[case(&["lapse-system"], false)]
    fn offers_whole_targets_only(#[case] namespaces: &[&str], #[case] passes: bool) {
        let fixture = Fixture { target: edit_in(namespaces), ..Fixture::default() };
        let outcome = fixture.outcome(check);
        assert_eq!(matches!(outcome, CheckResult::Pass(_)), passes, "{outcome:?}");
    }

    #[test]
    fn all_namespaces_do_not_include_the_protected() {
        let mut fixture = Fixture { target: edit_in(&["kube-system"]), ..Fixture::default() };
        let offered = fixture.policy.spec.targets[0].kubernetes.as_mut().unwrap();
        offered.namespaces = Some(lapse_crds::NamespaceSet { all: true, ..Default::default() });
        insta::assert_debug_snapshot!(fixture.outcome(check), @r#"
        Fail(
            "Namespace kube-system is protected by the installation (protectedNamespaces of the chart); a policy can offer it only by name, and with allowEscalation.",
        )
        "#);
        fixture.target = edit_in(&["bank"]);
        assert!(matches!(fixture.outcome(check), CheckResult::Pass(_)));
    }

    #[rstest]
    #[case("kube-system", true, true)]
    #[case("kube-system", false, false)]
    #[case("lapse-system", true, false)]
    fn what_is_protected_is_offered_by_name_and_with_escalation(
        #[case] namespace: &str,
        #[case] allow_escalation: bool,
        #[case] passes: bool,
    ) {
        let mut fixture = Fixture { target: edit_in(&[namespace]), ..Fixture::default() };
        fixture.surroundings.namespaces =
            [(namespace.to_owned(), Read::Found(Namespace::default()))].into();
        let offered = fixture.policy.spec.targets[0].kubernetes.as_mut().unwrap();
        offered.namespaces.as_mut().unwrap().all = true;
        offered.namespaces.as_mut().unwrap().names = vec![];
        if allow_escalation {
            offered.namespaces.as_mut().unwrap().names.push(namespace.to_owned());
        }
        offered.allow_escalation = allow_escalation;
        // The installation's own namespace does not even compile.
        let compiled = Policy::compile(&fixture.policy, &crate::testing::settings());
        assert_eq!(compiled.is_ok(), namespace != "lapse-system");
        if compiled.is_ok() {
            let outcome = fixture.outcome(check);
            assert_eq!(matches!(outcome, CheckResult::Pass(_)), passes, "{outcome:?}");
        }
    }

    #[test]
    fn the_whole_cluster_is_offered_only_by_name() {
        let mut fixture = Fixture::default();
        fixture.target.scope = Scope::Cluster;
        insta::assert_debug_snapshot!(fixture.outcome(check), @r#"
        Fail(
            "ClusterRole edit in the whole cluster was requested, but JitPolicy shop-debug offers ClusterRole edit, ClusterRole view in shop, shop-staging. Request no more than that, or request under another policy.",
        )
        "#);
        fixture.policy.spec.targets[0].kubernetes.as_mut().unwrap().cluster_wide = true;
        assert!(matches!(fixture.outcome(check), CheckResult::Pass(_)));
    }

    #[test]
    fn a_role_is_missing_somewhere() {
        let mut spec = crate::testing::request_spec();
        let target = spec.target.kubernetes.as_mut().unwrap();
        target.role = Some(lapse_crds::RoleRef { kind: RoleKind::Role, name: "mend".into() });
        target.namespaces = vec!["shop".into(), "shop-staging".into()];
        let target = ResolvedTarget::resolve(&spec.target, "shop").unwrap();
        assert_eq!(place(&target), " in each of the namespaces shop, shop-staging");
    }

    #[test]
    fn what_does_not_exist_is_refused_and_what_is_unknown_waits() {
        let missing = Fixture { role: Read::Missing, ..Fixture::default() };
        assert_eq!(
            missing.outcome(check),
            CheckResult::Fail(
                "ClusterRole edit does not exist; correct spec.target, or request another role."
                    .into()
            )
        );
        let failed = Fixture { role: Read::Failed("timeout".into()), ..Fixture::default() };
        assert!(matches!(failed.outcome(check), CheckResult::Pending(_)));
        let mut gone = Fixture::default();
        gone.surroundings.namespaces.insert("shop".into(), Read::Missing);
        assert_eq!(
            gone.outcome(check),
            CheckResult::Fail(
                "Namespace shop does not exist; correct its name in spec.target.".into()
            )
        );
        let going = Namespace { is_going: true, ..Namespace::default() };
        gone.surroundings.namespaces.insert("shop".into(), Read::Found(going));
        assert_eq!(
            gone.outcome(check),
            CheckResult::Fail(
                "Namespace shop is being deleted; request again if it is created again.".into()
            )
        );
    }
}
