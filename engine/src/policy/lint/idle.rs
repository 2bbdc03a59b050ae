//! What a policy says to no effect, or to more than was meant.

use lapse_crds::{
    EndpointTargets, GrantDuration, JitPolicySpec, LastingChanges, OnEnd, OnRoleWidened,
    OpenStreams, Permission, Recording, StartedWorkloads,
};

use crate::elevation::root_equal::of_group;

type Idle = fn(&JitPolicySpec) -> Option<String>;

/// A rule that does nothing is taken for protection by whoever reads the policy.
pub(super) fn idle(spec: &JitPolicySpec) -> Vec<String> {
    let rules: [Idle; 7] = [
        approves_everything,
        approves_nothing,
        without_approvers,
        without_workloads,
        without_sudo,
        without_root,
        without_roles,
    ];
    rules.iter().filter_map(|rule| rule(spec)).collect()
}

/// Up to which duration requests are approved by themselves.
fn approved(spec: &JitPolicySpec) -> Option<GrantDuration> {
    spec.approval.as_ref()?.auto_approve.as_ref().map(|auto| auto.max_duration)
}

fn approves_everything(spec: &JitPolicySpec) -> Option<String> {
    let (most, max) = (approved(spec)?, spec.duration.as_ref()?.max?);
    (most >= max).then(|| {
        format!(
            "spec.approval.autoApprove.maxDuration is {most}, and at most {max} can be requested: only extensions, and \
             roles that allow privilege escalation, still need an approval; lower it"
        )
    })
}

fn approves_nothing(spec: &JitPolicySpec) -> Option<String> {
    let (most, min) = (approved(spec)?, spec.duration.as_ref()?.min?);
    (most < min).then(|| {
        format!(
            "spec.approval.autoApprove.maxDuration is {most}, but at least {min} must be requested: nothing is approved \
             automatically; raise it, or leave autoApprove out"
        )
    })
}

fn without_approvers(spec: &JitPolicySpec) -> Option<String> {
    let approval = spec.approval.as_ref().filter(|approval| approval.stages.is_empty())?;
    let said = [
        ("impersonation", approval.impersonation == Permission::Forbid),
        ("requireUID", approval.require_uid),
        ("selfApproval", approval.self_approval == Permission::Allow),
    ];
    let (field, _) = said.into_iter().find(|(_, is_said)| *is_said)?;
    Some(format!(
        "spec.approval.{field} is about approvals, and without stages nobody approves: it has no effect; add stages, or \
         leave it out"
    ))
}

fn without_workloads(spec: &JitPolicySpec) -> Option<String> {
    let OnEnd { started_workloads, open_streams, .. } = on_end(spec)?;
    let said = [
        ("startedWorkloads", *started_workloads == Some(StartedWorkloads::Delete)),
        ("openStreams", *open_streams == Some(OpenStreams::DeletePods)),
    ];
    let (field, _) = said.into_iter().find(|(_, is_said)| *is_said)?;
    let is_elsewhere = spec.targets.iter().all(|target| target.kubernetes.is_none());
    is_elsewhere.then(|| {
        format!(
            "spec.session.onEnd.{field} is about access in the cluster, and no target is kubernetes: it has no effect; \
             leave it out"
        )
    })
}

fn without_sudo(spec: &JitPolicySpec) -> Option<String> {
    let record = spec.session.as_ref()?.record;
    let has_sudo = hosts(spec).any(offers_sudo);
    (record == Some(Recording::Children) && !has_sudo).then(|| {
        "spec.session.record is about sudo on hosts, and no target offers admin or commands: it has no effect; leave it \
         out"
            .to_owned()
    })
}

fn without_root(spec: &JitPolicySpec) -> Option<String> {
    let changes = on_end(spec)?.changes;
    let has_root = hosts(spec).any(offers_root);
    (changes == Some(LastingChanges::Revert) && !has_root).then(|| {
        "spec.session.onEnd.changes is about access as root on hosts, and no target offers admin, commands, applications \
         or a group that is equivalent to root: it has no effect; leave it out"
            .to_owned()
    })
}

fn without_roles(spec: &JitPolicySpec) -> Option<String> {
    let mut targets = spec.targets.iter().filter_map(|target| target.kubernetes.as_ref());
    let has_role = targets.any(|targets| !targets.roles.is_empty());
    (spec.on_role_widened == Some(OnRoleWidened::Keep) && !has_role).then(|| {
        "spec.onRoleWidened is about roles, and no target offers one: it has no effect; leave it out"
            .to_owned()
    })
}

fn on_end(spec: &JitPolicySpec) -> Option<&OnEnd> {
    spec.session.as_ref()?.on_end.as_ref()
}

fn hosts(spec: &JitPolicySpec) -> impl Iterator<Item = &EndpointTargets> {
    spec.targets.iter().filter_map(|target| target.endpoint.as_ref())
}

fn offers_sudo(host: &EndpointTargets) -> bool {
    host.admin.is_some() || !host.commands.is_empty()
}

fn offers_root(host: &EndpointTargets) -> bool {
    let of_accounts = host.accounts.iter().flat_map(|account| &account.groups);
    let mut groups = host.groups.iter().chain(of_accounts);
    offers_sudo(host)
        || !host.applications.is_empty()
        || groups.any(|group| of_group(group).is_some())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::policy;

    fn stages() -> Value {
        json!([{"name": "manager", "approvers": [{"kind": "Group", "name": "managers"}]}])
    }

    fn automatic(most: &str, duration: &Value) -> Value {
        let approval = json!({"stages": stages(), "autoApprove": {"maxDuration": most}});
        json!({"approval": approval, "duration": duration})
    }

    /// A policy for a host, with these of what it offers and of its session.
    fn on_host(offer: &Value, session: &Value) -> Value {
        let mut targets = json!({"names": ["web-1"]});
        targets.as_object_mut().unwrap().extend(offer.as_object().unwrap().clone());
        json!({"targets": [{"endpoint": targets}], "session": session})
    }

    #[rstest]
    #[case::some_is_automatic(automatic("15m", &json!({"min": "15m", "max": "4h"})), None)]
    #[case::no_bounds(automatic("15m", &json!({})), None)]
    #[case::all_is_automatic(automatic("4h", &json!({"max": "4h"})), Some("spec.approval.autoApprove.maxDuration is 4h, and at most 4h can be requested: only extensions, and roles that allow privilege escalation, still need an approval; lower it"))]
    #[case::none_is_automatic(automatic("5m", &json!({"min": "15m"})), Some("spec.approval.autoApprove.maxDuration is 5m, but at least 15m must be requested: nothing is approved automatically; raise it, or leave autoApprove out"))]
    #[case::approved_by_people(json!({"approval": {"stages": stages(), "impersonation": "Forbid", "requireUID": true}}), None)]
    #[case::approved_by_nobody(json!({"approval": {"timeout": "4h"}}), None)]
    #[case::whose_credential(json!({"approval": {"impersonation": "Forbid"}}), Some("spec.approval.impersonation is about approvals, and without stages nobody approves: it has no effect; add stages, or leave it out"))]
    #[case::of_which_request(json!({"approval": {"requireUID": true}}), Some("spec.approval.requireUID is about approvals, and without stages nobody approves: it has no effect; add stages, or leave it out"))]
    #[case::of_whose_request(json!({"approval": {"selfApproval": "Allow"}}), Some("spec.approval.selfApproval is about approvals, and without stages nobody approves: it has no effect; add stages, or leave it out"))]
    #[case::pods_in_the_cluster(json!({"session": {"onEnd": {"startedWorkloads": "Delete", "openStreams": "DeletePods"}}}), None)]
    #[case::pods_on_a_host(on_host(&json!({"admin": {}}), &json!({"onEnd": {"startedWorkloads": "Delete"}})), Some("spec.session.onEnd.startedWorkloads is about access in the cluster, and no target is kubernetes: it has no effect; leave it out"))]
    #[case::streams_on_a_host(on_host(&json!({"admin": {}}), &json!({"onEnd": {"openStreams": "DeletePods"}})), Some("spec.session.onEnd.openStreams is about access in the cluster, and no target is kubernetes: it has no effect; leave it out"))]
    #[case::sudo_is_recorded(on_host(&json!({"admin": {}}), &json!({"record": "Children", "onEnd": {"changes": "Revert"}})), None)]
    #[case::a_program_is_root(on_host(&json!({"applications": [{"name": "dump", "path": "/usr/bin/dump"}]}), &json!({"onEnd": {"changes": "Revert"}})), None)]
    #[case::no_sudo_to_record(on_host(&json!({"groups": ["adm"]}), &json!({"record": "Children"})), Some("spec.session.record is about sudo on hosts, and no target offers admin or commands: it has no effect; leave it out"))]
    #[case::nobody_is_root(on_host(&json!({"groups": ["adm"]}), &json!({"onEnd": {"changes": "Revert"}})), Some("spec.session.onEnd.changes is about access as root on hosts, and no target offers admin, commands, applications or a group that is equivalent to root: it has no effect; leave it out"))]
    #[case::no_account_is_root(on_host(&json!({"accounts": [{"action": "Enable"}, {"action": "Raise", "groups": ["adm"]}]}), &json!({"onEnd": {"changes": "Revert"}})), Some("spec.session.onEnd.changes is about access as root on hosts, and no target offers admin, commands, applications or a group that is equivalent to root: it has no effect; leave it out"))]
    #[case::a_group_is_root(on_host(&json!({"groups": ["adm", "docker"], "allowEscalation": true}), &json!({"onEnd": {"changes": "Revert"}})), None)]
    #[case::an_account_is_root(on_host(&json!({"accounts": [{"action": "Provision", "groups": ["disk"]}], "allowEscalation": true}), &json!({"onEnd": {"changes": "Revert"}})), None)]
    #[case::a_role_may_widen(json!({"onRoleWidened": "Keep"}), None)]
    #[case::no_role_widens(json!({"onRoleWidened": "Keep", "targets": []}), Some("spec.onRoleWidened is about roles, and no target offers one: it has no effect; leave it out"))]
    fn what_has_no_effect_is_told(#[case] changes: Value, #[case] expected: Option<&str>) {
        let mut policy = serde_json::to_value(policy("p")).unwrap();
        for (field, value) in changes.as_object().unwrap() {
            policy["spec"][field] = value.clone();
        }
        let policy: lapse_crds::JitPolicy = serde_json::from_value(policy).unwrap();
        let said = idle(&policy.spec);
        assert_eq!(said, expected.into_iter().collect::<Vec<_>>());
        assert!(said.iter().all(|warning| warning.len() <= 256), "it would be cut off: {said:?}");
    }
}
