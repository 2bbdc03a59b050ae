//! Why rights end, in one list that people can read.

use std::fmt::Write as _;

use kube::api::ObjectMeta;
use lapse_crds::{
    EXPIRES_AT, EndReason, GRANT_LABEL, GRANT_UID, GrantPhase, GrantRef, MANAGED_BY,
    MANAGED_BY_LAPSE, PolicyEffect, PolicyMode, RbacKind, Timestamp, Verdict,
};

use super::{Fate, ObjectMarks, Observed, decide, drain, fate};
use crate::Read;
use crate::target::Namespace;
use crate::testing::life::{
    EXPIRES_AT as END, GRANT_UID as UID, active, bob, decision, deleted_at, pending, role, state,
    time, written,
};
use crate::testing::{group, person, policy};

/// A right that is held, and then something happens.
fn when(change: impl FnOnce(&mut Observed)) -> Observed {
    let mut observed = active();
    change(&mut observed);
    observed
}

fn request(observed: &mut Observed) -> &mut lapse_crds::AccessRequest {
    let Read::Found(request) = &mut observed.request else { panic!("there is no request") };
    request
}

fn policy_becomes(observed: &mut Observed, change: impl FnOnce(&mut lapse_crds::JitPolicy)) {
    let mut changed = policy("shop-debug");
    change(&mut changed);
    observed.policies = Read::Found([state(&changed)].into());
}

/// One for each reason. The match has no `_`, so that a new reason asks for its example.
fn example(reason: EndReason) -> Vec<Observed> {
    let says = |verdict, who| when(|o| o.says(decision(verdict, who, 20)));
    match reason {
        EndReason::Expired | EndReason::Uninstalled => vec![active()],
        EndReason::EndedByRequester => {
            vec![says(Verdict::End, person("alice", &["shop-developers"]))]
        }
        EndReason::Revoked => vec![says(Verdict::Deny, bob()), when(Observed::request_is_over)],
        EndReason::PolicyDisabled => [PolicyMode::Disabled, PolicyMode::Audit]
            .map(|mode| when(|o| policy_becomes(o, |policy| policy.spec.mode = mode)))
            .into(),
        EndReason::PolicyDeleted => vec![when(|o| o.policies = Read::Found([].into()))],
        EndReason::RequesterNotAllowed => vec![
            when(|o| policy_becomes(o, |policy| policy.spec.requesters = vec![group("bank")])),
            when(|o| policy_becomes(o, |policy| policy.spec.targets.clear())),
            when(|o| {
                policy_becomes(o, |policy| {
                    policy.spec.effect = PolicyEffect::Deny;
                    policy.spec.requesters = vec![group("bank")];
                });
            }),
        ],
        EndReason::DeniedByPolicy => vec![when(|o| {
            let mut ban = policy("no-friday-changes");
            ban.spec.effect = PolicyEffect::Deny;
            ban.spec.description = Some("Nobody changes the shop on Fridays.".into());
            o.policies = Read::Found([state(&policy("shop-debug")), state(&ban)].into());
        })],
        EndReason::RoleWidened => vec![when(|o| o.role = Read::Found(role("get delete")))],
        EndReason::RequestDeleted => vec![when(|o| o.request = Read::Missing)],
        EndReason::GrantDeleted => vec![
            when(|o| o.grant.metadata.deletion_timestamp = Some(deleted_at())),
            when(|o| {
                let grant = GrantRef { name: "another".into(), uid: "another".into() };
                request(o).status.get_or_insert_default().grant = Some(grant);
            }),
        ],
        EndReason::BindingDeleted => vec![when(|o| o.objects[0].1 = Read::Missing)],
        EndReason::BindingChanged => vec![when(|o| {
            let Read::Found(live) = &mut o.objects[0].1 else { panic!("there is no binding") };
            live.role().1 = "admin".into();
        })],
        EndReason::TargetDeleted => vec![
            when(|o| o.role = Read::Missing),
            when(|o| {
                let going = Namespace { is_going: true, ..Namespace::default() };
                o.surroundings.namespaces.insert("shop".into(), Read::Found(going));
            }),
            when(|o| {
                o.surroundings.namespaces.insert("shop".into(), Read::Missing);
                o.objects[0].1 = Read::Missing;
            }),
        ],
    }
}

#[test]
fn ends() {
    use EndReason as Why;
    let reasons = [
        Why::Expired,
        Why::EndedByRequester,
        Why::Revoked,
        Why::PolicyDisabled,
        Why::PolicyDeleted,
        Why::RequesterNotAllowed,
        Why::DeniedByPolicy,
        Why::RoleWidened,
        Why::RequestDeleted,
        Why::GrantDeleted,
        Why::BindingDeleted,
        Why::BindingChanged,
        Why::TargetDeleted,
        Why::Uninstalled,
    ];
    let mut text = String::new();
    for reason in reasons {
        for observed in example(reason) {
            let now = time(if reason == Why::Expired { END } else { 30 });
            let plan = match reason {
                Why::Uninstalled => drain(&observed, now),
                _ => decide(&observed, now),
            };
            let status = plan.status.unwrap();
            let recorded = status.end_reason;
            assert!(recorded == Some(reason) || reason == Why::Revoked, "{reason}: {recorded:?}");
            for condition in status.conditions.iter().filter(|c| c.reason == reason.to_string()) {
                writeln!(text, "{reason}: {}: {}", condition.r#type, condition.message).unwrap();
            }
        }
    }
    insta::assert_snapshot!(text);
}

/// Why an object of Lapse's is removed that no right needs: the log and the event say so.
#[test]
fn orphans() {
    let marks = |expires: Option<i64>| {
        let expires =
            expires.map(|at| (EXPIRES_AT.to_owned(), Timestamp::from(time(at)).to_string()));
        let annotations = [(GRANT_UID.to_owned(), UID.to_owned())].into_iter().chain(expires);
        let labels = [(MANAGED_BY, MANAGED_BY_LAPSE), (GRANT_LABEL, "shop-fix")];
        let metadata = ObjectMeta {
            name: Some("lapse:shop-fix".into()),
            labels: Some(labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into()),
            annotations: Some(annotations.collect()),
            ..ObjectMeta::default()
        };
        ObjectMarks::of(RbacKind::RoleBinding, &metadata)
    };
    let ended = || {
        let mut grant = written();
        grant.status.get_or_insert_default().phase = GrantPhase::Ended;
        grant
    };
    let mut another = written();
    another.metadata.uid = Some("another".into());
    let mut deleted = written();
    deleted.metadata.deletion_timestamp = Some(deleted_at());
    let given = [
        (marks(Some(1)), Read::Found(written()), 2),
        (marks(None), Read::Missing, 2),
        (marks(None), Read::Found(another), 2),
        (marks(None), Read::Found(ended()), 2),
        (marks(None), Read::Found(deleted), 2),
        (marks(None), Read::Found(written()), END),
        // A binding in no namespace.
        (marks(None), Read::Found(written()), 2),
    ];
    let said =
        given.map(|(marks, grant, now)| match fate(&marks, &grant, "lapse-system", time(now)) {
            Fate::Remove(why) => why,
            Fate::Keep => panic!("{marks:?} is kept"),
        });
    insta::assert_snapshot!(said.join("\n"));
}

/// What a right that is not given yet waits for, and why it never is.
#[test]
fn not_given() {
    let told = |mut observed: Observed| {
        let plan = decide(&observed, time(30));
        observed.report(&plan);
        let status = observed.status();
        let said = status.conditions.iter().find(|condition| !condition.message.is_empty());
        said.map(|said| format!("{} {}: {}", said.r#type, said.reason, said.message)).unwrap()
    };
    let waiting = |change: fn(&mut Observed)| {
        let mut observed = pending();
        change(&mut observed);
        told(observed)
    };
    let lines = [
        waiting(|o| o.role = Read::Failed("no answer within 5 s".into())),
        waiting(|o| o.role = Read::Missing),
        waiting(|o| o.role = Read::Found(role("get delete"))),
    ];
    insta::assert_snapshot!(lines.join("\n"));
}

/// What is told of a right that outlives its time.
#[test]
fn outlived() {
    let grant = crate::summary::GrantSummary::of(&active().grant);
    insta::assert_snapshot!(super::late(&grant, time(END + 30)).unwrap().notice.message);
}
