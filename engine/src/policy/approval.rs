//! Who approves: the rules of a policy about it, and whether they can be met at all.

use chrono::{DateTime, Utc};
use lapse_crds::{
    Approval, ApprovalOrder, Escalation, GrantDuration, Permission, Stage, Subject, SubjectKind,
};

use super::{PolicyError, PolicyErrorReason, describe};
use crate::seats;

/// How long a request waits for its approval, if its policy does not say.
const DEFAULT_TIMEOUT: GrantDuration = match GrantDuration::from_seconds(24 * 3600) {
    Some(timeout) => timeout,
    None => unreachable!(),
};

/// Who approves, in which order, and what happens when nobody does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalRules {
    /// The stages; none means self-service.
    pub stages: Vec<Stage>,
    /// Whether all stages are open at once, or one after the other.
    pub order: ApprovalOrder,
    /// Up to which duration requests need no approval, unless their role lets its holder climb.
    pub auto_approve: Option<GrantDuration>,
    /// How long a request waits for its approval.
    pub timeout: GrantDuration,
    /// Whom to ask, too, when nobody answers.
    pub escalation: Option<Escalation>,
    /// Whether requesters who are approvers may approve their own requests.
    pub self_approval: bool,
    /// Whether an approval may be given without a credential id, as by impersonation.
    pub impersonation: bool,
    /// Whether an approval must name the UID of its request.
    pub require_uid: bool,
}

impl ApprovalRules {
    /// Whether nobody needs to approve.
    #[must_use]
    pub fn is_self_service(&self) -> bool {
        self.stages.is_empty()
    }

    /// When a request of this moment is escalated, if it is not approved by then.
    #[must_use]
    pub fn escalates_at(&self, requested_at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.escalation.as_ref().map(|escalation| requested_at + escalation.after.delta())
    }

    /// When a request of this moment stops waiting.
    #[must_use]
    pub fn times_out_at(&self, requested_at: DateTime<Utc>) -> DateTime<Utc> {
        requested_at + self.timeout.delta()
    }

    /// The escalation approvers, in words, if there are any.
    #[must_use]
    pub fn describe_escalation(&self) -> Option<String> {
        self.escalation.as_ref().map(|escalation| describe(&escalation.approvers))
    }
}

/// Compiles the rules, and refuses those that no request can meet.
pub(super) fn approval_rules(
    approval: Option<&Approval>,
    requesters: &[Subject],
) -> Result<ApprovalRules, PolicyError> {
    // Destructured without `..`: a field that is added to the API must be compiled here.
    let Approval {
        stages,
        order,
        auto_approve,
        timeout,
        escalation,
        self_approval,
        impersonation,
        require_uid,
    } = approval.cloned().unwrap_or_default();
    let rules = ApprovalRules {
        stages,
        order,
        auto_approve: auto_approve.map(|auto| auto.max_duration),
        timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
        escalation,
        self_approval: self_approval == Permission::Allow,
        impersonation: impersonation == Permission::Allow,
        require_uid,
    };
    if let Some(index) = rules.stages.iter().position(|stage| stage.required == 0) {
        return Err(unsatisfiable(format!(
            "spec.approval.stages[{index}] requires no approvals; set required to 1 or more, or remove \
             the stage"
        )));
    }
    if let Some(escalation) = rules.escalation.as_ref().filter(|e| e.after >= rules.timeout) {
        return Err(unsatisfiable(format!(
            "spec.approval.escalation.after is {}, but requests time out after {}; escalate earlier, \
             or let them wait longer",
            escalation.after, rules.timeout
        )));
    }
    if let Some((index, stage)) = short_of_people(&rules, None) {
        let people = named(&rules, stage).len();
        return Err(unsatisfiable(format!(
            "spec.approval.stages[{index}] ({}) requires {} approvals but names {people} approvers, \
             and nobody counts in two stages; lower required, or name more approvers",
            stage.name, stage.required
        )));
    }
    let stuck = |who: &&Subject| short_of_people(&rules, Some(who)).is_some();
    if !requesters.is_empty() && requesters.iter().all(|who| stuck(&who)) {
        return Err(unsatisfiable(
            "spec.approval: none of the requesters can ever be approved, because each is needed as an approver, and \
             nobody may approve their own request; name more approvers, or set spec.approval.selfApproval to Allow"
                .to_owned(),
        ));
    }
    Ok(rules)
}

pub(super) fn unsatisfiable(message: String) -> PolicyError {
    PolicyError::new(PolicyErrorReason::Unsatisfiable, message)
}

/// The first stage that cannot be complete even when everybody who is named approves, each in one stage.
/// Who is in a group is not known, so a stage with a group passes. A requester is no approver of an own
/// request, unless the policy says so.
pub(super) fn short_of_people<'a>(
    rules: &'a ApprovalRules,
    requester: Option<&Subject>,
) -> Option<(usize, &'a Stage)> {
    let closed: Vec<(usize, &Stage, Vec<&Subject>)> = rules
        .stages
        .iter()
        .enumerate()
        .map(|(index, stage)| (index, stage, named(rules, stage)))
        .filter(|(_, _, people)| people.iter().all(|who| who.kind != SubjectKind::Group))
        .collect();
    let mut people: Vec<&Subject> =
        closed.iter().flat_map(|(_, _, people)| people.iter().copied()).collect();
    people.sort();
    people.dedup();
    people.retain(|who| rules.self_approval || Some(*who) != requester);
    let required: Vec<u32> = closed.iter().map(|(_, stage, _)| stage.required).collect();
    let fits: Vec<Vec<bool>> = people
        .iter()
        .map(|who| closed.iter().map(|(_, _, named)| named.contains(who)).collect())
        .collect();
    let seated = seats::assign(&required, &fits);
    let short = |position: usize| seated[position].len() < required[position] as usize;
    (0..closed.len()).find(|position| short(*position)).map(|position| {
        let (index, stage, _) = &closed[position];
        (*index, *stage)
    })
}

/// Everybody who may approve in a stage, the escalation approvers among them.
fn named<'a>(rules: &'a ApprovalRules, stage: &'a Stage) -> Vec<&'a Subject> {
    let escalation = rules.escalation.iter().flat_map(|escalation| &escalation.approvers);
    let mut people: Vec<&Subject> = stage.approvers.iter().chain(escalation).collect();
    people.sort();
    people.dedup();
    people
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::testing::{group, stage, user};

    fn approved_by(stages: &[(u32, &[&str])]) -> Approval {
        let named = |(index, (required, names)): (usize, &(u32, &[&str]))| {
            let subject = |name: &&str| match name.strip_prefix("group:") {
                Some(name) => group(name),
                None => user(name),
            };
            stage(&format!("s{index}"), *required, names.iter().map(subject).collect())
        };
        Approval { stages: stages.iter().enumerate().map(named).collect(), ..Approval::default() }
    }

    fn refusal(approval: &Approval, requesters: &[Subject]) -> Option<String> {
        let error = approval_rules(Some(approval), requesters).err()?;
        assert_eq!(error.reason, PolicyErrorReason::Unsatisfiable);
        Some(error.message)
    }

    #[rstest]
    #[case::none_at_all(&[(0, &["bob"][..])], false)]
    #[case::too_few(&[(2, &["bob"][..])], false)]
    #[case::named_twice(&[(2, &["bob", "bob"][..])], false)]
    #[case::enough(&[(2, &["bob", "olga"][..])], true)]
    #[case::a_group(&[(2, &["group:managers"][..])], true)]
    #[case::one_person_for_two_stages(&[(1, &["bob"][..]), (1, &["bob"][..])], false)]
    #[case::two_for_two(&[(1, &["bob", "olga"][..]), (1, &["bob"][..])], true)]
    #[case::a_group_beside(&[(1, &["group:managers"][..]), (1, &["bob"][..])], true)]
    fn refuses_a_quorum_that_cannot_be_reached(
        #[case] stages: &[(u32, &[&str])],
        #[case] accepted: bool,
    ) {
        let refusal = refusal(&approved_by(stages), &[group("developers")]);
        assert_eq!(refusal.is_none(), accepted, "{refusal:?}");
    }

    #[test]
    fn refuses_what_no_requester_can_be_given() {
        let approval = approved_by(&[(1, &["olga"])]);
        assert_eq!(refusal(&approval, &[user("alice")]), None);
        assert_eq!(refusal(&approval, &[user("alice"), user("olga")]), None);
        insta::assert_snapshot!(refusal(&approval, &[user("olga")]).unwrap(), @"spec.approval: none of the requesters can ever be approved, because each is needed as an approver, and nobody may approve their own request; name more approvers, or set spec.approval.selfApproval to Allow");
        let own = Approval { self_approval: Permission::Allow, ..approval.clone() };
        assert_eq!(refusal(&own, &[user("olga")]), None);
        let escalation =
            Escalation { after: "30m".parse().unwrap(), approvers: vec![group("directors")] };
        let escalated = Approval { escalation: Some(escalation), ..approval };
        assert_eq!(refusal(&escalated, &[user("olga")]), None);
    }

    #[test]
    fn refuses_to_escalate_what_has_timed_out() {
        let escalation =
            Escalation { after: "24h".parse().unwrap(), approvers: vec![group("directors")] };
        let approval = Approval { escalation: Some(escalation), ..approved_by(&[(1, &["bob"])]) };
        insta::assert_snapshot!(refusal(&approval, &[]).unwrap(), @"spec.approval.escalation.after is 24h, but requests time out after 24h; escalate earlier, or let them wait longer");
    }
}
