//! What follows from the rights that somebody holds, for what they do meanwhile.

use std::sync::Arc;

use k8s_openapi::api::rbac::v1::PolicyRule;
use lapse_crds::{API_GROUP, EVERY_ACCOUNT, Guard, Identity};

use crate::identity::{service_account, subject_of};
use crate::role::RoleRules;
use crate::summary::GrantSummary;
use crate::target::Scope;

/// Whether somebody holds this right, or may be its holder in disguise.
#[must_use]
pub fn is_held_by(grant: &GrantSummary, caller: &Identity) -> bool {
    let Some(live) = &grant.live else { return false };
    if subject_of(caller).is_some_and(|subject| subject == *grant.subject) {
        return true;
    }
    let disguised = service_account(caller).filter(|_| may_be_disguised(caller));
    let accounts = live.session.as_ref().map_or(&[][..], |session| &session.impersonates);
    let reaches = |(namespace, name): (&str, &str)| {
        let target = live.target.as_ref();
        target.is_some_and(|target| target.scope.covers(namespace))
            && accounts.iter().any(|account| account == EVERY_ACCOUNT || account == name)
    };
    disguised.is_some_and(reaches)
}

/// Whether a caller may be somebody else in disguise, whose rights are to be looked for everywhere. Who impersonates a
/// service account passes on neither its credential nor its UID, without being allowed to impersonate `userextras` or
/// `uids`, which is cluster administration. A token that lay in a Secret has no id, and shows the UID of its account. The
/// admission policies of the chart say the same (`lapse.mayBeDisguised`).
#[must_use]
pub fn may_be_disguised(caller: &Identity) -> bool {
    service_account(caller).is_some() && caller.credential_id.is_none() && caller.uid.is_none()
}

/// What a service account is told whose workload ends with the right of somebody who may come as it; `None` for the
/// holder.
#[must_use]
pub fn taken_for_holder(grant: &GrantSummary, caller: &Identity) -> Option<String> {
    let is_holder = subject_of(caller).is_some_and(|subject| subject == *grant.subject);
    (!is_holder).then(|| {
        format!(
            "{} comes without a credential of its own, and {}, who holds {} until {}, may impersonate it: this counts \
             as started by them and is deleted when that access ends. If a reconciler uses this account, ask whoever \
             runs Lapse to name it in the value guard.trustedReconcilers of the chart",
            caller.username, grant.subject.name, grant.name, grant.expires_at
        )
    })
}

/// What the audit log of the API server is to say of a write by who holds these rights: keys and values.
#[must_use]
pub fn record(held: &[Arc<GrantSummary>]) -> Vec<(&'static str, String)> {
    let all = |of: fn(&GrantSummary) -> Option<String>| {
        let values: Vec<String> = held.iter().filter_map(|grant| of(grant)).collect();
        (!values.is_empty()).then(|| values.join(", "))
    };
    let request = |grant: &GrantSummary| {
        let request = &grant.request;
        Some(format!("{}/{}", request.namespace, request.name))
    };
    [
        ("grant", all(|grant| Some(grant.name.to_string()))),
        ("request", all(request)),
        ("ticket", all(|grant| grant.live.as_ref()?.ticket.clone())),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key, value?)))
    .collect()
}

/// Whether approving requests of a policy is among what this right allows, and its holder is kept from
/// making use of that.
#[must_use]
pub fn is_kept_from_approving(grant: &GrantSummary, role: &RoleRules, policy: &str) -> bool {
    let Some(live) = &grant.live else { return false };
    let is_guarded = live.session.as_ref().is_some_and(|session| session.guard == Guard::Enforce);
    // Policies belong to no namespace: a right within one allows nothing of them.
    let is_wide = live.target.as_ref().is_some_and(|target| target.scope == Scope::Cluster);
    let list = |value: &str| vec![value.to_owned()];
    let approving = PolicyRule {
        api_groups: Some(list(API_GROUP)),
        resources: Some(list("jitpolicies")),
        resource_names: Some(list(policy)),
        verbs: list("approve"),
        non_resource_urls: None,
    };
    is_guarded && is_wide && role.overlap(&[approving])
}

#[cfg(test)]
mod tests {
    use lapse_crds::{Grant, GrantPhase, GrantStatus};
    use rstest::rstest;

    use super::*;
    use crate::testing::life::marked;
    use crate::testing::person;

    fn held(cluster_wide: bool) -> Grant {
        let mut grant = marked();
        grant.spec.session.as_mut().unwrap().impersonates = vec!["bot".to_owned()];
        let target = grant.spec.target.kubernetes.as_mut().unwrap();
        if cluster_wide {
            (target.namespaces, target.cluster_wide) = (vec![], true);
        }
        grant
    }

    fn account(namespace: &str, credential: Option<&str>) -> Identity {
        named_account(namespace, "bot", credential)
    }

    fn named_account(namespace: &str, name: &str, credential: Option<&str>) -> Identity {
        let group = format!("system:serviceaccounts:{namespace}");
        let name = format!("system:serviceaccount:{namespace}:{name}");
        Identity { credential_id: credential.map(ToOwned::to_owned), ..person(&name, &[&group]) }
    }

    #[rstest]
    #[case::the_holder(false, person("alice", &["x"]), true)]
    #[case::somebody_else(false, person("bob", &["x"]), false)]
    #[case::of_another_case(false, person("Alice", &["x"]), false)]
    #[case::an_account_with_its_token(false, account("shop", Some("JTI=1")), false)]
    #[case::in_disguise(false, account("shop", None), true)]
    #[case::with_a_token_from_a_secret(false, Identity { uid: Some("u".into()), ..account("shop", None) }, false)]
    #[case::one_that_cannot_be_impersonated(false, named_account("shop", "builder", None), false)]
    #[case::in_a_place_out_of_reach(false, account("web", None), false)]
    #[case::everywhere(true, account("web", None), true)]
    #[case::a_look_alike(true, person("system:serviceaccount:web:bot", &[]), false)]
    fn who_holds_a_right(#[case] wide: bool, #[case] who: Identity, #[case] expected: bool) {
        assert_eq!(is_held_by(&GrantSummary::of(&held(wide)), &who), expected);
    }

    #[test]
    fn an_account_is_told_whose_right_its_workload_ends_with() {
        let grant = GrantSummary::of(&held(false));
        insta::assert_snapshot!(taken_for_holder(&grant, &account("shop", None)).unwrap());
        assert_eq!(taken_for_holder(&grant, &person("alice", &[])), None);
    }

    #[test]
    fn what_has_ended_is_not_held() {
        let mut grant = held(false);
        grant.status = Some(GrantStatus { phase: GrantPhase::Ended, ..GrantStatus::default() });
        assert!(!is_held_by(&GrantSummary::of(&grant), &person("alice", &[])));
    }

    #[test]
    fn the_record_names_every_right_that_is_held() {
        let mut other = held(false);
        other.metadata.name = Some("another".into());
        other.spec.ticket = Some("CHG1".into());
        let mut first = held(false);
        first.spec.ticket = None;
        let name = first.metadata.name.clone().unwrap();
        assert_eq!(
            record(&[first, other].map(|grant| Arc::new(GrantSummary::of(&grant)))),
            [
                ("grant", format!("{name}, another")),
                ("request", "shop/fix-checkout, shop/fix-checkout".to_owned()),
                ("ticket", "CHG1".to_owned()),
            ]
        );
        assert_eq!(record(&[]), []);
    }

    fn rules(group: &str, resource: &str, verb: &str, names: &[&str]) -> RoleRules {
        RoleRules::of_cluster_role(vec![PolicyRule {
            api_groups: Some(vec![group.to_owned()]),
            resources: Some(vec![resource.to_owned()]),
            resource_names: Some(names.iter().map(ToString::to_string).collect()),
            verbs: vec![verb.to_owned()],
            non_resource_urls: None,
        }])
    }

    #[rstest]
    #[case::everything(true, Guard::Enforce, rules("*", "*", "*", &[]), true)]
    #[case::that_alone(true, Guard::Enforce, rules("lapse.dev", "jitpolicies", "approve", &[]), true)]
    #[case::another_policy(true, Guard::Enforce, rules("lapse.dev", "jitpolicies", "approve", &["other"]), false)]
    #[case::denying(true, Guard::Enforce, rules("lapse.dev", "jitpolicies", "deny", &[]), false)]
    #[case::in_a_namespace(false, Guard::Enforce, rules("*", "*", "*", &[]), false)]
    #[case::recorded_alone(true, Guard::Audit, rules("*", "*", "*", &[]), false)]
    fn a_right_that_allows_approving_keeps_from_it(
        #[case] wide: bool,
        #[case] guard: Guard,
        #[case] role: RoleRules,
        #[case] expected: bool,
    ) {
        let mut grant = held(wide);
        grant.spec.session.as_mut().unwrap().guard = guard;
        assert_eq!(
            is_kept_from_approving(&GrantSummary::of(&grant), &role, "shop-debug"),
            expected
        );
    }
}
