//! What is unwise in a policy because of the other policies.

use lapse_crds::{PolicyMode, Subject};

use super::{Policies, Policy, PolicyState, Rule};

/// How many policies are named in warnings of one kind.
const NAMED: usize = 3;

/// Warnings about a policy beside the other policies of the cluster, in words. One of its own name is
/// left out: it is the same policy, as it stood.
#[must_use]
pub fn lint_among(policy: &PolicyState, others: &Policies) -> Vec<String> {
    let others: Vec<&PolicyState> =
        others.iter().filter(|other| other.name != policy.name).collect();
    let mut warnings = separations(policy, &others);
    if let Some(this) = in_force(policy) {
        let shared: Vec<Shared<'_>> =
            others.iter().filter_map(|other| Shared::of(this, in_force(other)?)).collect();
        warnings.extend(few(shared.iter().filter_map(Shared::leniency).collect()));
        warnings.extend(few(shared.iter().filter_map(Shared::tie).collect()));
    }
    warnings
}

/// The first few, then a count: clients show only so much.
fn few(mut warnings: Vec<String>) -> Vec<String> {
    let more = warnings.len().saturating_sub(NAMED);
    warnings.truncate(NAMED);
    if more > 0 {
        warnings.push(format!("and the same of {more} more policies"));
    }
    warnings
}

/// What is kept apart from a policy that gives nothing.
fn separations(policy: &PolicyState, others: &[&PolicyState]) -> Vec<String> {
    let idle = |name: &String| {
        let Some(other) = others.iter().find(|other| other.name == *name) else {
            return Some(format!(
                "there is no JitPolicy {name}; separation of duties has no effect until it exists"
            ));
        };
        let why = match (&other.compiled, other.mode) {
            (Ok(Rule::Deny(_)), _) => {
                "is a Deny policy, and grants nothing that could be separated"
            }
            (_, PolicyMode::Disabled) => {
                "is disabled; separation of duties has no effect until it is enabled"
            }
            (_, PolicyMode::Audit) => {
                "is in audit mode; separation of duties has no effect until it is enforced"
            }
            (_, PolicyMode::Enforce) => return None,
        };
        Some(format!("JitPolicy {name} {why}"))
    };
    let told = policy.apart.iter().enumerate().filter_map(|(index, name)| {
        let why = idle(name).filter(|_| *name != policy.name)?;
        Some(format!("spec.separationOfDuties[{index}].policy: {why}"))
    });
    told.collect()
}

fn in_force(state: &PolicyState) -> Option<&Policy> {
    state.policy().filter(|_| state.mode == PolicyMode::Enforce)
}

/// What two policies offer to the same people.
struct Shared<'a> {
    this: &'a Policy,
    other: &'a Policy,
    who: &'a Subject,
    what: String,
}

impl<'a> Shared<'a> {
    /// Groups are compared by name: who is in them is not known.
    fn of(this: &'a Policy, other: &'a Policy) -> Option<Self> {
        let who = this.requesters.iter().find(|who| other.requesters.contains(who))?;
        let mut pairs =
            this.targets.iter().flat_map(|one| other.targets.iter().map(move |two| (one, two)));
        let what = pairs.find_map(|(one, two)| one.shared(two))?;
        Some(Self { this, other, who, what })
    }

    /// One asks for less than the other.
    fn leniency(&self) -> Option<String> {
        let Self { this, other, who, what } = self;
        let (lenient, strict) = match approvals(this).cmp(&approvals(other)) {
            std::cmp::Ordering::Less => (this, other),
            std::cmp::Ordering::Greater => (other, this),
            std::cmp::Ordering::Equal => return None,
        };
        Some(format!(
            "{who} can get {what} under JitPolicy {} {}, which {} grants {}: people choose the easier; let one of them \
             offer it to others, or elsewhere",
            lenient.name(),
            in_words(lenient),
            strict.name(),
            in_words(strict)
        ))
    }

    /// Both come at once.
    fn tie(&self) -> Option<String> {
        let Self { this, other, who, what } = self;
        let first = this.name().min(other.name());
        (this.priority == other.priority).then(|| {
            format!(
                "spec.priority is {}, the same as that of JitPolicy {}, which also offers {what} to {who}: for \
                 requests that name no policy, {first} decides, because its name comes first; set another priority",
                this.priority,
                other.name()
            )
        })
    }
}

/// How many approvals a policy asks for, and in how many stages.
fn approvals(policy: &Policy) -> (u32, usize) {
    let stages = &policy.approval.stages;
    (stages.iter().map(|stage| stage.required).sum(), stages.len())
}

fn in_words(policy: &Policy) -> String {
    match approvals(policy) {
        (0, _) => "without approval".to_owned(),
        (1, _) => "with 1 approval".to_owned(),
        (count, 1) => format!("with {count} approvals"),
        (count, stages) => format!("with {count} approvals in {stages} stages"),
    }
}

#[cfg(test)]
mod tests {
    use lapse_crds::{Approval, JitPolicy, PolicyEffect, PolicyTarget, Separation};
    use rstest::rstest;

    use super::*;
    use crate::rules::testing::rule;
    use crate::testing::life::state;
    use crate::testing::{group, policy, stage, user};

    fn with(name: &str, change: impl FnOnce(&mut JitPolicy)) -> PolicyState {
        let mut policy = policy(name);
        policy.spec.priority = 1;
        change(&mut policy);
        state(&policy)
    }

    fn approved(policy: &mut JitPolicy, stages: &[u32]) {
        let stages = stages.iter().enumerate().map(|(index, required)| {
            stage(&format!("s{index}"), *required, vec![group("managers")])
        });
        policy.spec.approval = Some(Approval { stages: stages.collect(), ..Approval::default() });
    }

    fn lenient(name: &str, change: impl FnOnce(&mut JitPolicy)) -> PolicyState {
        with(name, |policy| {
            policy.spec.priority = 2;
            approved(policy, &[]);
            change(policy);
        })
    }

    #[test]
    fn a_lenient_policy_beside_a_stricter_one_is_told_of_whichever_came_first() {
        let strict = with("strict", |policy| approved(policy, &[2, 1]));
        let easy = lenient("easy", |_| {});
        let expected = lint_among(&strict, &[easy.clone()].into());
        insta::assert_snapshot!(expected.join("\n"), @"group shop-developers can get ClusterRole edit under JitPolicy easy without approval, which strict grants with 3 approvals in 2 stages: people choose the easier; let one of them offer it to others, or elsewhere");
        assert!(expected[0].len() <= 256, "it would be cut off");
        assert_eq!(lint_among(&easy, &[strict].into()), expected);
    }

    #[rstest]
    #[case::self_service(|_: &mut JitPolicy| {}, true)]
    #[case::fewer_approvals(|p: &mut JitPolicy| approved(p, &[1]), true)]
    #[case::fewer_stages(|p: &mut JitPolicy| approved(p, &[2]), true)]
    #[case::as_many(|p: &mut JitPolicy| approved(p, &[1, 1]), false)]
    #[case::more(|p: &mut JitPolicy| approved(p, &[2, 2]), true)]
    #[case::other_people(|p: &mut JitPolicy| p.spec.requesters = vec![user("shop-developers")], false)]
    #[case::some_of_the_people(|p: &mut JitPolicy| p.spec.requesters.push(user("olga")), true)]
    #[case::other_roles(|p: &mut JitPolicy| kubernetes(p).roles.clear(), false)]
    #[case::elsewhere(|p: &mut JitPolicy| named(p, &["bank"]), false)]
    #[case::a_place_in_common(|p: &mut JitPolicy| named(p, &["bank", "shop"]), true)]
    #[case::rules_in_common(|p: &mut JitPolicy| rules(p, "list patch"), true)]
    #[case::other_rules(|p: &mut JitPolicy| rules(p, "patch"), false)]
    #[case::everywhere(|p: &mut JitPolicy| { named(p, &[]); kubernetes(p).namespaces.as_mut().unwrap().all = true; }, true)]
    #[case::cluster_wide(|p: &mut JitPolicy| { named(p, &[]); kubernetes(p).cluster_wide = true; }, true)]
    #[case::on_trial(|p: &mut JitPolicy| p.spec.mode = PolicyMode::Audit, false)]
    #[case::switched_off(|p: &mut JitPolicy| p.spec.mode = PolicyMode::Disabled, false)]
    #[case::the_same_policy(|p: &mut JitPolicy| p.metadata.name = Some("this".into()), false)]
    fn compares_what_overlaps(#[case] change: fn(&mut JitPolicy), #[case] expected: bool) {
        let this = with("this", |policy| {
            approved(policy, &[1, 1]);
            kubernetes(policy).rules = vec![pods("get list")];
        });
        let other = lenient("other", change);
        assert_eq!(lint_among(&this, &[other].into()).len(), usize::from(expected));
    }

    fn pods(verbs: &str) -> lapse_crds::RoleRule {
        lapse_crds::RoleRule::from(rule(verbs, "", "pods", ""))
    }

    fn rules(policy: &mut JitPolicy, verbs: &str) {
        kubernetes(policy).roles.clear();
        kubernetes(policy).rules = vec![pods(verbs)];
    }

    fn kubernetes(policy: &mut JitPolicy) -> &mut lapse_crds::KubernetesTargets {
        policy.spec.targets[0].kubernetes.as_mut().unwrap()
    }

    fn named(policy: &mut JitPolicy, names: &[&str]) {
        let names = names.iter().map(ToString::to_string).collect();
        kubernetes(policy).namespaces.as_mut().unwrap().names = names;
    }

    #[test]
    fn the_same_priority_is_told() {
        let told = lint_among(&with("b", |_| {}), &[with("a", |_| {})].into());
        insta::assert_snapshot!(told.join("\n"), @"spec.priority is 1, the same as that of JitPolicy a, which also offers ClusterRole edit to group shop-developers: for requests that name no policy, a decides, because its name comes first; set another priority");
        assert!(told[0].len() <= 256, "it would be cut off");
    }

    #[test]
    fn of_many_a_few_are_named() {
        let others: Vec<PolicyState> = (0..5).map(|n| lenient(&format!("p{n}"), |_| {})).collect();
        let told = lint_among(&with("this", |_| {}), &others.into_iter().collect());
        assert_eq!(told.len(), NAMED + 1);
        assert_eq!(told[NAMED], "and the same of 2 more policies");
        assert!(told[0].contains("JitPolicy p0"), "{told:?}");
    }

    #[test]
    fn what_is_kept_apart_from_nothing_is_told() {
        let this = with("this", |policy| {
            policy.spec.requesters = vec![];
            let apart = |name: &&str| Separation { policy: (*name).to_owned() };
            policy.spec.separation_of_duties =
                ["gone", "off", "trial", "ban", "there"].iter().map(apart).collect();
        });
        let others = [
            with("there", |_| {}),
            with("off", |policy| policy.spec.mode = PolicyMode::Disabled),
            with("trial", |policy| policy.spec.mode = PolicyMode::Audit),
            with("ban", |policy| {
                policy.spec.effect = PolicyEffect::Deny;
                policy.spec.targets = vec![PolicyTarget { all: true, ..PolicyTarget::default() }];
            }),
        ];
        insta::assert_snapshot!(lint_among(&this, &others.into()).join("\n"), @r"
        spec.separationOfDuties[0].policy: there is no JitPolicy gone; separation of duties has no effect until it exists
        spec.separationOfDuties[1].policy: JitPolicy off is disabled; separation of duties has no effect until it is enabled
        spec.separationOfDuties[2].policy: JitPolicy trial is in audit mode; separation of duties has no effect until it is enforced
        spec.separationOfDuties[3].policy: JitPolicy ban is a Deny policy, and grants nothing that could be separated
        ");
    }
}
