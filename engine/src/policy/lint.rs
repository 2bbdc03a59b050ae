//! What is allowed in a policy and yet unwise: told to whoever applies it, never refused.

mod hosts;
mod idle;

use std::collections::{BTreeMap, BTreeSet};

use self::hosts::hosts;
use self::idle::idle;
use super::approval::{approval_rules, short_of_people};
use super::emergency::has_no_reviewer;
use lapse_crds::{
    GrantDuration, Guard, JitPolicySpec, KubernetesTargets, NamespaceSet, PolicyEffect, RoleRef,
    Stage, Subject, SubjectKind,
};

/// Warnings about a policy, in words, each naming its field. Short, because clients cut warnings off
/// at 256 characters.
#[must_use]
pub fn lint(spec: &JitPolicySpec) -> Vec<String> {
    let rules: [fn(&JitPolicySpec) -> Vec<String>; 10] = [
        requesters,
        targets,
        hosts,
        everybody,
        approvers,
        emergency,
        reason,
        default_duration,
        guard,
        idle,
    ];
    rules.iter().flat_map(|rule| rule(spec)).collect()
}

/// The roles that a policy names, each with the namespaces in which it is offered by name. A `Role`
/// stands in a namespace of its own, so that is where to look for it.
#[must_use]
pub fn named_roles(spec: &JitPolicySpec) -> BTreeMap<RoleRef, Vec<String>> {
    let mut roles: BTreeMap<RoleRef, BTreeSet<String>> = BTreeMap::new();
    for target in spec.targets.iter().filter_map(|target| target.kubernetes.as_ref()) {
        for role in &target.roles {
            let names = target.namespaces.iter().flat_map(|set| &set.names).cloned();
            roles.entry(role.clone()).or_default().extend(names);
        }
    }
    let list = |(role, names): (RoleRef, BTreeSet<String>)| (role, names.into_iter().collect());
    roles.into_iter().map(list).collect()
}

fn requesters(spec: &JitPolicySpec) -> Vec<String> {
    let what = if is_deny(spec) { "is denied anything" } else { "can request anything" };
    let warning = || {
        format!("spec.requesters is empty: nobody {what}; name users, groups or service accounts")
    };
    spec.requesters.is_empty().then(warning).into_iter().collect()
}

fn targets(spec: &JitPolicySpec) -> Vec<String> {
    if spec.targets.is_empty() {
        let what = if is_deny(spec) { "is denied" } else { "can be requested" };
        return vec![format!("spec.targets is empty: nothing {what}; add a target")];
    }
    let mut warnings = Vec::new();
    for (index, target) in spec.targets.iter().enumerate() {
        let Some(targets) = &target.kubernetes else { continue };
        let KubernetesTargets { roles, rules, namespaces, cluster_wide, allow_escalation } =
            targets;
        let field = format!("spec.targets[{index}].kubernetes");
        let nowhere = match namespaces {
            Some(NamespaceSet { names, selector, all }) => {
                names.is_empty() && selector.is_none() && !all
            }
            None => true,
        };
        if *allow_escalation && !is_deny(spec) {
            warnings.push(format!(
                "{field}.allowEscalation: whoever holds a role that allows privilege escalation can grant themselves \
                 everything; reserve it for break-glass"
            ));
        }
        if roles.is_empty() && rules.is_empty() {
            warnings.push(format!(
                "{field} names neither roles nor rules: it has no effect; add roles or rules"
            ));
        } else if nowhere && !cluster_wide {
            warnings.push(format!(
                "{field} names no namespaces: this entry has no effect; set namespaces.names, selector or all"
            ));
        }
    }
    warnings
}

fn guard(spec: &JitPolicySpec) -> Vec<String> {
    let is_off = spec.session.as_ref().and_then(|session| session.guard) == Some(Guard::Off);
    let warning = "spec.session.guard is Off: whoever holds access can make it permanent, as far as the role allows; leave it out, or set Audit to see first what would be refused";
    is_off.then(|| warning.to_owned()).into_iter().collect()
}

fn is_deny(spec: &JitPolicySpec) -> bool {
    spec.effect == PolicyEffect::Deny
}

/// Groups that hold everybody, or nobody in particular. Everybody may well be denied something.
fn everybody(spec: &JitPolicySpec) -> Vec<String> {
    if is_deny(spec) {
        return Vec::new();
    }
    let lists = [("spec.requesters", &spec.requesters)].into_iter();
    let stages = stages(spec).iter().map(|stage| ("spec.approval.stages", &stage.approvers));
    let wide = |(field, subjects): (&str, &Vec<Subject>)| {
        let group = subjects.iter().find(|subject| {
            subject.kind == SubjectKind::Group
                && ["system:authenticated", "system:unauthenticated", "system:serviceaccounts"]
                    .contains(&subject.name.as_str())
        })?;
        let name = &group.name;
        Some(format!(
            "{field} names the group {name}: nobody chose who is in it; name a group of your own"
        ))
    };
    let reviewers = spec.emergency.iter();
    let reviewers =
        reviewers.map(|emergency| ("spec.emergency.review.reviewers", &emergency.review.reviewers));
    let escalation = spec.approval.iter().filter_map(|approval| approval.escalation.as_ref());
    let escalation =
        escalation.map(|added| ("spec.approval.escalation.approvers", &added.approvers));
    lists.chain(stages).chain(escalation).chain(reviewers).filter_map(wide).collect()
}

/// Nobody approves an own request, unless the policy says so: a requester who is needed as an approver
/// can never be granted anything.
fn approvers(spec: &JitPolicySpec) -> Vec<String> {
    // What cannot be met by anybody is refused, not warned about.
    let Ok(rules) = approval_rules(spec.approval.as_ref(), &[]) else {
        return Vec::new();
    };
    let stuck = |who: &Subject| {
        let (index, stage) = short_of_people(&rules, Some(who))?;
        Some(format!(
            "spec.approval.stages[{index}] ({}) cannot be completed for requests by {who}: it needs every approver, \
             and nobody may approve their own request; name one more approver",
            stage.name
        ))
    };
    let own = || {
        "spec.approval.selfApproval is Allow: a requester who is an approver needs nobody else"
            .to_owned()
    };
    let own = (rules.self_approval && !rules.is_self_service()).then(own);
    spec.requesters.iter().filter_map(stuck).chain(own).collect()
}

/// Break-glass that somebody cannot have reviewed, or that gives more time than an approval does.
fn emergency(spec: &JitPolicySpec) -> Vec<String> {
    let Some(emergency) = &spec.emergency else { return Vec::new() };
    let reviewers = &emergency.review.reviewers;
    let stuck = spec.requesters.iter().filter(|who| has_no_reviewer(who, reviewers));
    let mut warnings: Vec<String> = stuck
        .map(|who| {
            format!(
                "spec.emergency.review.reviewers: nobody can review the emergencies of {who}, the only reviewer; they \
                 will stay overdue. Name another"
            )
        })
        .collect();
    let max = spec.duration.as_ref().and_then(|duration| duration.max);
    if let Some(max) = max.filter(|max| emergency.max_duration > *max) {
        warnings.push(format!(
            "spec.emergency.maxDuration is {}, longer than spec.duration.max, {max}: whoever wants more time will call \
             it an emergency",
            emergency.max_duration
        ));
    }
    warnings
}

fn reason(spec: &JitPolicySpec) -> Vec<String> {
    let demands_length = |rule: &lapse_crds::ReasonRule| {
        !rule.required && rule.min_length.is_some_and(|length| length > 0)
    };
    let warning = || {
        "spec.reason.minLength applies only to a reason that is given, but none is required; set spec.reason.required \
         to require one"
            .to_owned()
    };
    let rule = spec.reason.as_ref().filter(|rule| demands_length(rule));
    rule.map(|_| warning()).into_iter().collect()
}

/// A default that is the maximum makes everybody hold the right for as long as they can.
fn default_duration(spec: &JitPolicySpec) -> Vec<String> {
    let Some(bounds) = &spec.duration else {
        return Vec::new();
    };
    let long = GrantDuration::from_seconds(4 * 3600);
    match (bounds.default, bounds.max) {
        (Some(default), Some(max)) if default == max && Some(max) > long => vec![format!(
            "spec.duration.default is the maximum, {max}: whoever does not say how long holds access for that long"
        )],
        _ => Vec::new(),
    }
}

fn stages(spec: &JitPolicySpec) -> &[Stage] {
    spec.approval.as_ref().map_or(&[], |approval| &approval.stages)
}

#[cfg(test)]
mod tests {
    use lapse_crds::{
        Approval, DurationBounds, Escalation, PolicyTarget, ReasonRule, RoleKind, Session,
    };
    use rstest::rstest;

    use super::*;
    use crate::testing::{cluster_role, emergency, group, policy, stage, user};

    type Spec = JitPolicySpec;
    type Change = fn(&mut Spec);

    fn kubernetes(spec: &mut JitPolicySpec) -> &mut KubernetesTargets {
        spec.targets[0].kubernetes.as_mut().unwrap()
    }

    fn approved_by(spec: &mut JitPolicySpec, required: u32, approvers: Vec<Subject>) {
        let stages = vec![stage("manager", required, approvers)];
        spec.approval = Some(Approval { stages, ..Approval::default() });
    }

    fn escalated_to(spec: &mut JitPolicySpec, approvers: Vec<Subject>) {
        approved_by(spec, 1, vec![group("managers")]);
        let escalation = Escalation { after: "30m".parse().unwrap(), approvers };
        spec.approval.as_mut().unwrap().escalation = Some(escalation);
    }

    fn lasting(spec: &mut JitPolicySpec, default: &str, max: &str) {
        spec.duration = Some(DurationBounds {
            min: None,
            default: default.parse().ok(),
            max: max.parse().ok(),
        });
    }

    #[rstest]
    #[case::fixture(|_: &mut Spec| {}, None)]
    #[case(|s: &mut Spec| s.requesters.clear(), Some("spec.requesters is empty"))]
    #[case(|s: &mut Spec| s.targets.clear(), Some("spec.targets is empty"))]
    #[case(|s: &mut Spec| kubernetes(s).roles.clear(), Some("spec.targets[0].kubernetes names neither roles nor rules"))]
    #[case(|s: &mut Spec| kubernetes(s).namespaces = None, Some("names no namespaces"))]
    #[case(|s: &mut Spec| kubernetes(s).namespaces.as_mut().unwrap().names.clear(), Some("names no namespaces"))]
    #[case(|s: &mut Spec| { kubernetes(s).namespaces = None; kubernetes(s).cluster_wide = true; }, None)]
    #[case(|s: &mut Spec| kubernetes(s).allow_escalation = true, Some("spec.targets[0].kubernetes.allowEscalation"))]
    #[case(|s: &mut Spec| s.requesters.push(group("system:authenticated")), Some("spec.requesters names the group system:authenticated"))]
    #[case(|s: &mut Spec| approved_by(s, 1, vec![group("system:authenticated")]), Some("spec.approval.stages names the group"))]
    #[case(|s: &mut Spec| escalated_to(s, vec![group("system:authenticated")]), Some("spec.approval.escalation.approvers names the group"))]
    #[case(|s: &mut Spec| escalated_to(s, vec![group("directors")]), None)]
    #[case(|s: &mut Spec| { s.requesters = vec![user("olga")]; approved_by(s, 1, vec![user("olga")]); }, Some("(manager) cannot be completed for requests by user olga"))]
    #[case(|s: &mut Spec| { s.requesters = vec![user("olga")]; approved_by(s, 2, vec![user("olga"), user("bob")]); }, Some("cannot be completed for requests by user olga"))]
    #[case(|s: &mut Spec| { s.requesters = vec![user("olga")]; approved_by(s, 1, vec![user("olga"), user("bob")]); }, None)]
    #[case(|s: &mut Spec| { s.requesters = vec![user("olga")]; approved_by(s, 1, vec![user("olga"), group("leads")]); }, None)]
    #[case(|s: &mut Spec| s.approval = None, None)]
    #[case(|s: &mut Spec| s.reason = Some(ReasonRule { required: false, min_length: Some(10) }), Some("spec.reason.minLength"))]
    #[case(|s: &mut Spec| s.reason = Some(ReasonRule { required: false, min_length: Some(0) }), None)]
    #[case(|s: &mut Spec| lasting(s, "8h", "8h"), Some("spec.duration.default is the maximum, 8h"))]
    #[case(|s: &mut Spec| lasting(s, "1h", "1h"), None)]
    #[case(|s: &mut Spec| s.session = Some(Session { guard: Some(Guard::Off), ..Session::default() }), Some("spec.session.guard is Off"))]
    #[case(|s: &mut Spec| s.session = Some(Session { guard: Some(Guard::Audit), ..Session::default() }), None)]
    #[case(|s: &mut Spec| s.emergency = Some(emergency()), None)]
    #[case(|s: &mut Spec| { s.emergency = Some(emergency()); s.emergency.as_mut().unwrap().max_duration = "9h".parse().unwrap(); }, Some("spec.emergency.maxDuration is 9h, longer than spec.duration.max, 8h"))]
    #[case(|s: &mut Spec| { s.emergency = Some(emergency()); s.emergency.as_mut().unwrap().review.reviewers = vec![group("system:authenticated")]; }, Some("spec.emergency.review.reviewers names the group"))]
    #[case(|s: &mut Spec| { s.requesters.push(user("carol")); s.emergency = Some(emergency()); s.emergency.as_mut().unwrap().review.reviewers = vec![user("carol")]; }, Some("nobody can review the emergencies of user carol"))]
    fn warns(#[case] change: Change, #[case] expected: Option<&str>) {
        let mut spec = policy("p").spec;
        change(&mut spec);
        let warnings = lint(&spec);
        match expected {
            Some(expected) => {
                assert_eq!(warnings.len(), 1, "{warnings:?}");
                assert!(warnings[0].contains(expected), "{warnings:?}");
                assert!(warnings[0].len() <= 256, "it would be cut off: {warnings:?}");
            }
            None => assert_eq!(warnings, Vec::<String>::new()),
        }
    }

    #[test]
    fn roles_are_listed_once_with_all_their_namespaces() {
        let role = RoleRef { kind: RoleKind::Role, name: "mend".into() };
        let target = |names: &[&str]| PolicyTarget {
            kubernetes: Some(KubernetesTargets {
                roles: vec![role.clone(), cluster_role("view")],
                namespaces: Some(NamespaceSet {
                    names: names.iter().map(ToString::to_string).collect(),
                    ..NamespaceSet::default()
                }),
                ..KubernetesTargets::default()
            }),
            ..PolicyTarget::default()
        };
        let mut spec = policy("p").spec;
        spec.targets = vec![target(&["shop"]), target(&["shop", "bank"])];
        let roles = named_roles(&spec);
        assert_eq!(roles.len(), 2);
        assert_eq!(roles[&role], ["bank", "shop"]);
    }
}
