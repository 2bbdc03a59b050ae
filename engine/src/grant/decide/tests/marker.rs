use lapse_crds::{EndReason, GrantPhase, Guard, RbacKind};
use rstest::rstest;

use crate::Read;
use crate::grant::{Content, ObjectSpec, Observed};
use crate::testing::life::{APPROVED_AT, EXPIRES_AT, marked, pending_by};
use crate::testing::{service_account, tell};

fn held(guard: Guard) -> Observed {
    let mut grant = marked();
    grant.spec.session.as_mut().unwrap().guard = guard;
    let mut observed = pending_by(grant, &["shop", "shop-staging"]);
    observed.bind();
    observed.step(APPROVED_AT + 2);
    observed
}

#[test]
fn the_mark_stands_before_the_right_and_goes_after_it() {
    let mut observed = pending_by(marked(), &["shop"]);
    insta::assert_snapshot!(tell::grant(&observed.step(APPROVED_AT + 2)), @r"
    create RoleBinding lapse-system/lapse:shop-fix-checkout-4a49acf8a6
    create RoleBinding shop/lapse:shop-fix-checkout-4a49acf8a6
    Pending
    Active=False Pending: It is being made.
    looks again at 3610 s
    ");
    observed.bind();
    observed.step(APPROVED_AT + 3);
    let status = observed.status();
    assert_eq!(status.bindings.len(), 1);
    let marker = status.marker.unwrap();
    assert_eq!(
        (marker.kind, marker.namespace.as_deref()),
        (RbacKind::RoleBinding, Some("lapse-system"))
    );
    insta::assert_snapshot!(tell::grant(&observed.step(EXPIRES_AT)), @r"
    delete RoleBinding shop/lapse:shop-fix-checkout-4a49acf8a6 (binding-1)
    delete RoleBinding lapse-system/lapse:shop-fix-checkout-4a49acf8a6 (binding-0)
    Ending
    because Expired
    Active=False Expired: Its time was up at 2026-11-18T12:06:50.000000Z.
    Ended=False Unverified: Its time was up at 2026-11-18T12:06:50.000000Z.
    looks again at 3611 s
    ");
}

#[rstest]
#[case(Guard::Enforce, "lapse-elevated-enforce")]
#[case(Guard::Audit, "lapse-elevated-audit")]
#[case(Guard::Off, "lapse-elevated-off")]
fn the_mark_is_for_the_holder_and_the_service_accounts_of_its_namespaces(
    #[case] guard: Guard,
    #[case] expected: &str,
) {
    let observed = held(guard);
    assert_eq!(observed.status().phase, GrantPhase::Active);
    let Content::Marker { role, subjects } = &observed.objects[0].0.content else {
        panic!("the marker comes first");
    };
    assert_eq!(role.to_string(), format!("Role {expected}"));
    let names: Vec<&str> = subjects.iter().map(|subject| &*subject.name).collect();
    let accounts = ["accounts-in-shop-elevated", "accounts-in-shop-staging-elevated"];
    assert_eq!(names, [&["person-alice-elevated"], &accounts[..]].concat());
    assert!(subjects.iter().all(|subject| subject.namespace.as_deref() == Some("lapse-system")));
}

#[test]
fn a_service_account_that_holds_a_right_is_marked_with_those_of_its_namespace() {
    let mut grant = marked();
    grant.spec.subject = service_account("ci", "bot");
    let Content::Marker { subjects, .. } = &ObjectSpec::all_of(&grant, "lapse-system")[0].content
    else {
        panic!("the marker comes first");
    };
    let names: Vec<&str> = subjects.iter().map(|subject| &*subject.name).collect();
    let holder = "person-system-30-serviceaccount-30-ci-30-bot-elevated";
    assert_eq!(names, [holder, "accounts-in-ci-elevated", "accounts-in-shop-elevated"]);
}

#[test]
fn in_the_whole_cluster_the_service_accounts_of_all_namespaces_are_marked() {
    let mut grant = marked();
    let target = grant.spec.target.kubernetes.as_mut().unwrap();
    (target.namespaces, target.cluster_wide) = (vec![], true);
    let Content::Marker { subjects, .. } = &ObjectSpec::all_of(&grant, "lapse-system")[0].content
    else {
        panic!("the marker comes first");
    };
    let names: Vec<&str> = subjects.iter().map(|subject| &*subject.name).collect();
    assert_eq!(names, ["person-alice-elevated", "accounts-anywhere-elevated"]);
}

/// Who takes the mark away, or puts another in its place, has the right taken back.
#[rstest]
#[case::deleted(|live: &mut Read<crate::grant::LiveObject>| *live = Read::Missing, EndReason::BindingDeleted)]
#[case::of_another(
    |live: &mut Read<crate::grant::LiveObject>| match live {
        Read::Found(live) => live.subjects()[0].2 = "person-bob-elevated".into(),
        _ => panic!("it stands"),
    },
    EndReason::BindingChanged
)]
#[case::of_a_milder_role(
    |live: &mut Read<crate::grant::LiveObject>| match live {
        Read::Found(live) => live.role().1 = "lapse-elevated-off".into(),
        _ => panic!("it stands"),
    },
    EndReason::BindingChanged
)]
fn without_its_mark_the_right_ends(
    #[case] change: fn(&mut Read<crate::grant::LiveObject>),
    #[case] reason: EndReason,
) {
    let mut observed = held(Guard::Enforce);
    change(&mut observed.objects[0].1);
    observed.step(APPROVED_AT + 4);
    let status = observed.status();
    assert_eq!((status.phase, status.end_reason), (GrantPhase::Ending, Some(reason)));
    observed.step(APPROVED_AT + 5);
    assert!(observed.objects.iter().all(|(_, live)| live.is_missing()));
}

/// A Grant of a release that knew no marks keeps its right.
#[test]
fn a_grant_without_a_session_needs_no_mark() {
    let mut grant = marked();
    grant.spec.session = None;
    let objects = ObjectSpec::all_of(&grant, "lapse-system");
    assert!(objects.iter().all(ObjectSpec::gives));
}
