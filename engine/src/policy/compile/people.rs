//! Local users of hosts among the people that a policy names.

use lapse_crds::{JitPolicySpec, Subject, SubjectKind};

use super::{PolicyError, PolicyErrorReason};
use crate::Settings;

/// Refuses local users of whichever host: the owners of an Endpoint say whose its local users are, and its root speaks for
/// all of them. And those who are to decide something: nobody decides on a host.
pub(super) fn check_people(spec: &JitPolicySpec, settings: &Settings) -> Result<(), PolicyError> {
    let local = spec.requesters.iter().position(is_local);
    if let Some(index) = local.filter(|_| settings.host_requests.is_none()) {
        let message = format!(
            "spec.requesters[{index}] is {}, and this installation takes no requests from hosts; remove it, or set the \
             chart's value gateway.requests.enabled",
            spec.requesters[index]
        );
        return Err(PolicyError::new(PolicyErrorReason::NotPermitted, message));
    }
    let invalid = |message| Err(PolicyError::new(PolicyErrorReason::InvalidRule, message));
    let is_of_any_host = |who: &Subject| is_local(who) && who.endpoint.is_none();
    let of_any_host = spec.requesters.iter().position(is_of_any_host);
    if let Some(index) = of_any_host.filter(|_| spec.workstations.is_none()) {
        return invalid(format!(
            "spec.requesters[{index}] is {}, of whichever host: whoever owns an Endpoint, or is root on its host, could \
             request; set endpoint there, or name the hosts in spec.workstations",
            spec.requesters[index]
        ));
    }
    for (field, people) in deciding(spec) {
        if let Some(index) = people.iter().position(is_local) {
            return invalid(format!(
                "{field}[{index}] is {}, and nobody decides on a host: name a User, a Group or a ServiceAccount",
                people[index]
            ));
        }
    }
    Ok(())
}

fn is_local(who: &Subject) -> bool {
    who.kind == SubjectKind::EndpointUser
}

/// Those who decide something, with where they are named.
fn deciding(spec: &JitPolicySpec) -> impl Iterator<Item = (String, &Vec<Subject>)> {
    let approval = || spec.approval.iter();
    let stages = approval().flat_map(|approval| approval.stages.iter().enumerate());
    let stages = stages.map(|(index, stage)| {
        (format!("spec.approval.stages[{index}].approvers"), &stage.approvers)
    });
    let escalation = approval().filter_map(|approval| approval.escalation.as_ref());
    let escalation = escalation
        .map(|escalation| ("spec.approval.escalation.approvers".to_owned(), &escalation.approvers));
    let reviewers = spec.emergency.iter();
    let reviewers = reviewers.map(|emergency| {
        ("spec.emergency.review.reviewers".to_owned(), &emergency.review.reviewers)
    });
    stages.chain(escalation).chain(reviewers)
}

#[cfg(test)]
mod tests {
    use lapse_crds::{Escalation, Workstations};
    use rstest::rstest;

    use super::*;
    use crate::policy::Policy;
    use crate::testing::{emergency, local_user, policy, settings, user};

    fn told(change: impl FnOnce(&mut JitPolicySpec)) -> String {
        let mut policy = policy("p");
        change(&mut policy.spec);
        Policy::compile(&policy, &settings()).err().map(|error| error.message).unwrap_or_default()
    }

    #[rstest]
    #[case::of_whichever_host(
        local_user("al", None),
        false,
        "spec.requesters[1] is local user al, of whichever host: whoever owns an Endpoint, or is root on its host, could request; set endpoint there, or name the hosts in spec.workstations"
    )]
    #[case::everybody(
        local_user("", None),
        false,
        "spec.requesters[1] is every local user, of whichever host: whoever owns an Endpoint, or is root on its host, could request; set endpoint there, or name the hosts in spec.workstations"
    )]
    #[case::of_one(local_user("al", Some("ws-1")), false, "")]
    #[case::everybody_of_one(local_user("", Some("ws-1")), false, "")]
    #[case::of_workstations(local_user("", None), true, "")]
    #[case::nobody_of_a_host(user("al"), false, "")]
    fn local_users_are_of_hosts_that_are_named(
        #[case] who: Subject,
        #[case] has_workstations: bool,
        #[case] expected: &str,
    ) {
        let said = told(|spec| {
            spec.requesters.push(who);
            let names = vec!["ws-1".to_owned()];
            spec.workstations = has_workstations.then_some(Workstations { names, selector: None });
        });
        assert_eq!(said, expected);
    }

    #[test]
    fn without_requests_from_hosts_a_local_user_is_nobody() {
        let mut policy = policy("p");
        policy.spec.requesters = vec![local_user("al", Some("ws-1"))];
        let settings = Settings { host_requests: None, ..settings() };
        let error = Policy::compile(&policy, &settings).unwrap_err();
        assert_eq!(error.reason, PolicyErrorReason::NotPermitted);
        insta::assert_snapshot!(error, @"spec.requesters[0] is local user al of Endpoint ws-1, and this installation takes no requests from hosts; remove it, or set the chart's value gateway.requests.enabled");
    }

    #[test]
    fn nobody_decides_on_a_host() {
        let local = || local_user("al", Some("ws-1"));
        let approver = told(|spec| {
            spec.approval.as_mut().unwrap().stages[0].approvers.push(local());
        });
        let escalated = told(|spec| {
            let escalation = Escalation { after: "30m".parse().unwrap(), approvers: vec![local()] };
            spec.approval.as_mut().unwrap().escalation = Some(escalation);
        });
        let reviewer = told(|spec| {
            let mut emergency = emergency();
            emergency.review.reviewers.push(local());
            spec.emergency = Some(emergency);
        });
        insta::assert_snapshot!([approver, escalated, reviewer].join("\n"), @r"
        spec.approval.stages[0].approvers[1] is local user al of Endpoint ws-1, and nobody decides on a host: name a User, a Group or a ServiceAccount
        spec.approval.escalation.approvers[0] is local user al of Endpoint ws-1, and nobody decides on a host: name a User, a Group or a ServiceAccount
        spec.emergency.review.reviewers[1] is local user al of Endpoint ws-1, and nobody decides on a host: name a User, a Group or a ServiceAccount
        ");
    }
}
