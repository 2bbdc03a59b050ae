//! What policies offer somebody: told to whoever may ask, without who else may.

use lapse_crds::{ApprovalOrder, GrantDuration, Identity, PolicyMode, RoleRef, Stage};
use serde::{Deserialize, Serialize};

use super::offer::Offer;
use super::{ApprovalRules, Policies, Policy, PolicyState, describe};

/// The most bytes of JSON that are told. An answer travels in an annotation, of which an object may have 48 KiB.
const MOST_TOLD: usize = 32 * 1024;

/// What all policies offer somebody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offers {
    /// For each policy, in the order in which they decide.
    pub offers: Vec<Offered>,
    /// How many policies more there are, for which there was no room.
    pub omitted: usize,
}

/// What a policy offers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Offered {
    /// The name of the policy.
    pub policy: String,
    /// The lowest number decides.
    pub priority: i32,
    /// What may be asked for, and where: one line for each of its targets.
    pub targets: Vec<String>,
    /// The roles among it.
    pub roles: Vec<RoleRef>,
    /// The shortest duration.
    pub min: GrantDuration,
    /// The duration of a request that names none; without it, one must be named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<GrantDuration>,
    /// The longest duration.
    pub max: GrantDuration,
    /// Who approves, in words.
    pub approval: String,
    /// The longest duration in an emergency, if it gives anything then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emergency: Option<GrantDuration>,
    /// Whether a reason must be given.
    pub reason_required: bool,
    /// Whether a ticket must be given.
    pub ticket_required: bool,
}

impl Offers {
    /// What is offered to this person now. Its cost follows from the policies that are for this person.
    #[must_use]
    pub fn to(who: &Identity, policies: &Policies) -> Self {
        let own = policies.of(who);
        let in_force = own.values().filter(|state| state.mode == PolicyMode::Enforce);
        let mut policies: Vec<&Policy> =
            in_force.filter_map(|state| PolicyState::policy(state)).collect();
        policies.sort_by_key(|policy| (policy.priority, policy.name()));
        let mut told = Self::default();
        let mut room = MOST_TOLD;
        for policy in policies {
            let offered = Offered::by(policy);
            let size = serde_json::to_string(&offered).map_or(usize::MAX, |text| text.len() + 1);
            match room.checked_sub(size).filter(|_| told.omitted == 0) {
                Some(left) => {
                    room = left;
                    told.offers.push(offered);
                }
                None => told.omitted += 1,
            }
        }
        told
    }
}

impl Offered {
    fn by(policy: &Policy) -> Self {
        let mut roles: Vec<RoleRef> =
            policy.targets.iter().flat_map(Offer::roles).cloned().collect();
        roles.sort();
        roles.dedup();
        let bounds = policy.duration;
        let emergency = policy.emergency.as_ref().map(|rules| rules.bounds(bounds).max);
        Self {
            policy: policy.name().to_owned(),
            priority: policy.priority,
            targets: policy.targets.iter().map(Offer::describe).collect(),
            roles,
            min: bounds.min,
            default: bounds.default,
            max: bounds.max,
            approval: policy.approval.describe(),
            emergency,
            reason_required: policy.reason.is_some_and(|rule| rule.required),
            ticket_required: policy.ticket.as_ref().is_some_and(|rule| rule.required),
        }
    }

    /// How long it gives, in words: `30m, up to 8h`.
    #[must_use]
    pub fn how_long(&self) -> String {
        match self.default {
            Some(default) if default == self.max => default.to_string(),
            Some(default) => format!("{default}, up to {}", self.max),
            None => format!("{} to {}", self.min, self.max),
        }
    }
}

impl ApprovalRules {
    /// Who approves, in words: `1 of group managers, then 2 of user olga, user otto`.
    #[must_use]
    pub fn describe(&self) -> String {
        let stage = |stage: &Stage| format!("{} of {}", stage.required, describe(&stage.approvers));
        let joint = match self.order {
            ApprovalOrder::Parallel => " and ",
            ApprovalOrder::Sequential => ", then ",
        };
        let stages: Vec<String> = self.stages.iter().map(stage).collect();
        let stages = if stages.is_empty() { "nobody".to_owned() } else { stages.join(joint) };
        let by_itself = |most| format!("; nobody up to {most}, unless the role is risky");
        format!("{stages}{}", self.auto_approve.map(by_itself).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use lapse_crds::{Approval, AutoApprove, PolicyEffect};

    use super::*;
    use crate::testing::life::state;
    use crate::testing::{group, person, policy, user};

    fn named(name: &str) -> lapse_crds::JitPolicy {
        policy(name)
    }

    fn all(policies: &[lapse_crds::JitPolicy]) -> Policies {
        let states: Vec<PolicyState> = policies.iter().map(state).collect();
        states.into_iter().fold(Policies::default(), |mut all, state| {
            all.insert(state);
            all
        })
    }

    fn alice() -> Identity {
        person("alice", &["shop-developers"])
    }

    fn names(offers: &Offers) -> Vec<&str> {
        offers.offers.iter().map(|offered| &*offered.policy).collect()
    }

    #[test]
    fn what_is_offered_is_said_with_its_terms() {
        let offers = Offers::to(&alice(), &all(&[named("shop-debug")]));
        insta::assert_snapshot!(serde_json::to_string_pretty(&offers).unwrap());
    }

    #[test]
    fn only_what_is_in_force_and_for_this_person_is_told_in_the_order_of_deciding() {
        let mut first = named("b-first");
        first.spec.priority = 1;
        let mut off = named("off");
        off.spec.mode = PolicyMode::Disabled;
        let mut on_trial = named("on-trial");
        on_trial.spec.mode = PolicyMode::Audit;
        let mut others = named("others");
        others.spec.requesters = vec![group("bank-developers")];
        let mut ban = named("ban");
        ban.spec.effect = PolicyEffect::Deny;
        let mut broken = named("broken");
        broken.spec.targets[0].all = true;
        let policies = all(&[named("shop-debug"), first, off, on_trial, others, ban, broken]);
        assert_eq!(names(&Offers::to(&alice(), &policies)), ["b-first", "shop-debug"]);
        assert_eq!(Offers::to(&person("mallory", &[]), &policies), Offers::default());
    }

    #[test]
    fn who_approves_is_said_in_the_order_of_the_stages() {
        let mut policy = named("shop-debug");
        let stage =
            |name: &str, required, approvers| Stage { name: name.to_owned(), required, approvers };
        policy.spec.approval = Some(Approval {
            stages: vec![
                stage("manager", 1, vec![group("managers")]),
                stage("owner", 2, vec![user("olga"), user("otto")]),
            ],
            order: ApprovalOrder::Sequential,
            auto_approve: Some(AutoApprove { max_duration: "15m".parse().unwrap() }),
            ..Approval::default()
        });
        let offers = Offers::to(&alice(), &all(&[policy]));
        insta::assert_snapshot!(offers.offers[0].approval, @"1 of group managers, then 2 of user olga, user otto; nobody up to 15m, unless the role is risky");
    }

    #[test]
    fn what_is_too_much_is_counted() {
        let policies: Vec<_> =
            (0..500).map(|number| named(&format!("policy-{number:03}"))).collect();
        let offers = Offers::to(&alice(), &all(&policies));
        assert_eq!(offers.offers.len() + offers.omitted, 500);
        assert!(offers.omitted > 0);
        let size = serde_json::to_string(&offers).unwrap().len();
        assert!(size < 34 * 1024, "{size} bytes");
    }
}
