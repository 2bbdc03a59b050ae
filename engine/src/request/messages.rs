//! What a request says of itself, as far as no check says it, in one list that people can read.

use std::fmt::Write as _;

use lapse_crds::{AutoApprove, Escalation, PolicyEffect, PolicyMode, Verdict};

use super::{Observed, foreseen};
use crate::Read;
use crate::testing::life::{approved, asked, bob, decision, role, state, time};
use crate::testing::{group, person, policy, request_spec, tell};

fn when(change: impl FnOnce(&mut Observed)) -> Observed {
    let mut observed = asked();
    change(&mut observed);
    observed
}

fn failed<T>() -> Read<T> {
    Read::Failed("no answer within 5 s".into())
}

#[test]
#[expect(clippy::too_many_lines, reason = "it is one list")]
fn what_a_request_says() {
    let audit = |change: fn(&mut Observed)| {
        when(|o| {
            o.policy_becomes(|policy| policy.spec.mode = PolicyMode::Audit);
            change(o);
        })
    };
    let named_by_ban = |o: &mut Observed| {
        let mut ban = policy("no-edit");
        ban.spec.effect = PolicyEffect::Deny;
        o.policies = Read::Found([state(&policy("shop-debug")), state(&ban)].into());
        let target = o.request.object.spec.target.kubernetes.as_mut().unwrap();
        target.role = None;
        let rule = serde_json::json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]});
        target.rules = vec![serde_json::from_value(rule).unwrap()];
        let edit = crate::testing::cluster_role("edit");
        o.banned_roles.insert(edit, failed());
    };
    let unready = |o: &mut Observed| o.policy_becomes(|policy| policy.spec.targets[0].all = true);
    let given: Vec<(&str, Observed, i64)> = vec![
        ("nobody can be told", when(|o| o.request.object.spec.requester = None), 1),
        ("its Grant cannot be read", when(|o| o.grant = failed()), 1),
        ("policies cannot be read", when(|o| o.policies = failed()), 1),
        ("decisions cannot be read", when(|o| o.decisions = failed()), 1),
        ("a role that a Deny policy names cannot be read", when(named_by_ban), 1),
        (
            "the role of an approval is not known",
            {
                let mut observed = approved();
                observed.role = Read::Missing;
                observed
            },
            20,
        ),
        (
            "the role has gained rules",
            {
                let mut observed = approved();
                observed.role = Read::Found(role("get delete"));
                observed
            },
            20,
        ),
        (
            "short enough",
            when(|o| {
                o.policy_becomes(|policy| {
                    let auto = AutoApprove { max_duration: "2h".parse().unwrap() };
                    policy.spec.approval.as_mut().unwrap().auto_approve = Some(auto);
                });
            }),
            1,
        ),
        (
            "nobody has answered",
            when(|o| {
                o.policy_becomes(|policy| {
                    let approvers = vec![group("directors")];
                    let escalation = Escalation { after: "30m".parse().unwrap(), approvers };
                    policy.spec.approval.as_mut().unwrap().escalation = Some(escalation);
                });
            }),
            1801,
        ),
        ("nobody has answered at all", asked(), 24 * 3600),
        (
            "denied with a comment",
            when(|o| {
                let mut denial = decision(Verdict::Deny, bob(), 5);
                denial.object.spec.comment = Some("Not during the sale".into());
                o.says(denial);
            }),
            6,
        ),
        ("on trial", audit(|_| {}), 1),
        ("on trial, and refused", audit(|o| o.request.object.spec.reason = None), 1),
        ("on trial, and not known", audit(|o| o.role = failed()), 1),
        ("a policy that is not ready", when(unready), 1),
        (
            "a policy that is off",
            when(|o| o.policy_becomes(|p| p.spec.mode = PolicyMode::Disabled)),
            1,
        ),
        (
            "a policy that denies",
            when(|o| {
                let mut other = policy("shop-debug");
                other.spec.effect = PolicyEffect::Deny;
                other.spec.requesters = vec![group("bank")];
                o.policies = Read::Found([state(&other)].into());
            }),
            1,
        ),
        (
            "a Deny policy of a group that may be among those left out",
            when(|o| {
                let mut ban = policy("no-contractors");
                ban.spec.effect = PolicyEffect::Deny;
                ban.spec.requesters = vec![group("contractors")];
                o.policies = Read::Found([state(&policy("shop-debug")), state(&ban)].into());
                let requester = o.request.object.spec.requester.as_mut().unwrap();
                requester.groups_omitted = Some(952);
            }),
            1,
        ),
        (
            "the rules of the role were too many to keep",
            {
                let mut observed = approved();
                let Read::Found(decisions) = &mut observed.decisions else { panic!() };
                decisions[0].object.spec.rules.clear();
                observed.role = Read::Found(role("get delete"));
                observed
            },
            20,
        ),
        ("no policy of the name", when(|o| o.policies = Read::Found([].into())), 1),
    ];
    let mut text = String::new();
    for (what, mut observed, now) in given {
        writeln!(text, "{what}").unwrap();
        let plan = observed.step(now);
        for line in tell::request(&plan).lines() {
            writeln!(text, "  {line}").unwrap();
        }
        let columns = plan.status.and_then(|status| status.columns);
        text += &columns.map(|columns| format!("  shown: {columns:?}\n")).unwrap_or_default();
    }
    let made = [
        ("on trial", audit(|_| {})),
        ("with an approval", when(|_| {})),
        ("without anybody's", when(|o| o.policy_becomes(|policy| policy.spec.approval = None))),
    ];
    for (what, observed) in made {
        let foreseen = foreseen(&observed, time(1)).unwrap();
        writeln!(text, "foreseen {what}\n  {foreseen}").unwrap();
    }
    insta::assert_snapshot!(text);
}

/// Why the others do not decide a request that names none.
#[test]
fn candidates() {
    let named = |name: &str, change: fn(&mut lapse_crds::JitPolicy)| {
        let mut policy = policy(name);
        change(&mut policy);
        state(&policy)
    };
    let policies = [
        named("audit", |p| p.spec.mode = PolicyMode::Audit),
        named("audit-self-service", |p| {
            p.spec.mode = PolicyMode::Audit;
            p.spec.approval = None;
        }),
        named("audit-deny", |p| {
            p.spec.mode = PolicyMode::Audit;
            p.spec.effect = PolicyEffect::Deny;
        }),
        named("broken", |p| p.spec.targets[0].all = true),
        named("elsewhere", |p| {
            let targets = p.spec.targets[0].kubernetes.as_mut().unwrap();
            targets.namespaces.as_mut().unwrap().names = vec!["bank".into()];
        }),
        named("later", |p| p.spec.priority = 200),
        named("off", |p| p.spec.mode = PolicyMode::Disabled),
        named("others", |p| p.spec.requesters = vec![group("bank")]),
        named("shop-debug", |_| {}),
        named("shop-debug-too", |_| {}),
    ];
    let candidates = |emergency: bool| {
        let mut observed = asked();
        let mut spec = request_spec();
        spec.policy = None;
        spec.emergency = emergency;
        spec.requester = Some(person("alice", &["shop-developers"]));
        observed.request.object.spec = spec;
        observed.policies = Read::Found(policies.to_vec().into());
        let status = observed.step(1).status.unwrap();
        let lines = status.candidates.iter().map(|c| format!("{}: {}", c.policy, c.reason));
        lines.collect::<Vec<_>>().join("\n")
    };
    let said = format!("{}\nin an emergency\n{}", candidates(false), candidates(true));
    insta::assert_snapshot!(said);
}
