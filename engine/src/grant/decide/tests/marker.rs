use lapse_crds::{EVERY_ACCOUNT, EndReason, Grant, GrantPhase, Guard, RbacKind};
use rstest::rstest;

use crate::Read;
use crate::grant::{Content, ObjectSpec, Observed, decide};
use crate::role::hex;
use crate::testing::life::{APPROVED_AT, EXPIRES_AT, intact, marked, pending_by, time};
use crate::testing::{service_account, tell};

fn held(guard: Guard) -> Observed {
    let mut grant = impersonating(&[EVERY_ACCOUNT]);
    grant.spec.session.as_mut().unwrap().guard = guard;
    let mut observed = pending_by(grant, &["shop", "shop-staging"]);
    observed.bind();
    observed.step(APPROVED_AT + 2);
    observed
}

fn impersonating(accounts: &[&str]) -> Grant {
    let mut grant = marked();
    let session = grant.spec.session.as_mut().unwrap();
    session.impersonates = accounts.iter().map(ToString::to_string).collect();
    grant
}

#[test]
fn the_mark_stands_before_the_right_and_goes_after_it() {
    let mut observed = pending_by(marked(), &["shop"]);
    insta::assert_snapshot!(tell::grant(&observed.step(APPROVED_AT + 2)), @r"
    create RoleBinding lapse-system/lapse:shop-fix-checkout-4a49acf8a6
    create RoleBinding shop/lapse:shop-fix-checkout-4a49acf8a6
    Pending
    Active=False Pending: It is being created.
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
    Active=False Expired: It expired at 2026-11-18T12:06:50.000000Z.
    Ended=False Unverified: It expired at 2026-11-18T12:06:50.000000Z.
    looks again at 3611 s
    ");
}

#[rstest]
#[case(Guard::Enforce, "lapse-elevated-enforce")]
#[case(Guard::Audit, "lapse-elevated-audit")]
#[case(Guard::Off, "lapse-elevated-off")]
fn the_mark_is_for_the_holder_and_whom_it_may_impersonate(
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
    let expected = [
        "person-616c696365-elevated",
        "accounts-in-shop-elevated",
        "accounts-in-shop-staging-elevated",
        "some-in-shop-elevated",
        "some-in-shop-staging-elevated",
    ];
    assert_eq!(names, expected);
    assert!(subjects.iter().all(|subject| subject.namespace.as_deref() == Some("lapse-system")));
}

fn names(grant: &Grant) -> Vec<String> {
    let objects = ObjectSpec::all_of(grant, "lapse-system");
    let Content::Marker { subjects, .. } = &objects[0].content else {
        panic!("the marker comes first");
    };
    subjects.iter().map(|subject| subject.name.clone()).collect()
}

/// Others who come as service accounts of the namespace hold nothing.
#[test]
fn who_may_impersonate_nobody_is_marked_alone() {
    assert_eq!(names(&marked()), ["person-616c696365-elevated"]);
    let mut grant = marked();
    grant.spec.subject = service_account("ci", "bot");
    let hex = hex(b"system:serviceaccount:ci:bot");
    assert_eq!(names(&grant), [format!("person-{hex}-elevated"), "some-in-ci-elevated".into()]);
}

#[test]
fn whom_alone_the_holder_may_impersonate_is_marked_alone() {
    let hex = hex(b"system:serviceaccount:shop:bot");
    let account = format!("account-{hex}-elevated");
    let expected = ["person-616c696365-elevated", &account, "some-in-shop-elevated"];
    assert_eq!(names(&impersonating(&["bot"])), expected);
}

#[test]
fn in_the_whole_cluster_the_service_accounts_of_all_namespaces_are_marked() {
    let mut grant = impersonating(&["bot"]);
    let target = grant.spec.target.kubernetes.as_mut().unwrap();
    (target.namespaces, target.cluster_wide) = (vec![], true);
    assert_eq!(names(&grant), ["person-616c696365-elevated", "accounts-anywhere-elevated"]);
}

/// Who takes the mark away, or puts another in its place, has the right taken back.
#[rstest]
#[case::deleted(|live: &mut Read<crate::grant::LiveObject>| *live = Read::Missing, EndReason::BindingDeleted)]
#[case::of_another(
    |live: &mut Read<crate::grant::LiveObject>| match live {
        Read::Found(live) => live.subjects()[0].2 = "person-626f62-elevated".into(),
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

/// Whoever sees it ends it: nothing is given by that, so it needs no lease.
#[test]
fn what_stands_without_its_mark_before_it_is_recorded_ends() {
    let mut observed = pending_by(marked(), &["shop"]);
    observed.objects[1].1 = Read::Found(intact(&observed.objects[1].0, "binding"));
    let plan = decide(&observed, time(APPROVED_AT + 2));
    assert!(!plan.gives());
    insta::assert_snapshot!(tell::grant(&plan), @r"
    delete RoleBinding shop/lapse:shop-fix-checkout-4a49acf8a6 (binding)
    Ending
    because BindingDeleted
    Active=False BindingDeleted: RoleBinding lapse-system/lapse:shop-fix-checkout-4a49acf8a6 was deleted.
    Ended=False Unverified: RoleBinding lapse-system/lapse:shop-fix-checkout-4a49acf8a6 was deleted.
    looks again at 13 s
    ");
    // The other way about it is what an earlier try left.
    let (mark, binding) = (observed.objects[0].0.clone(), observed.objects[1].0.clone());
    observed.objects =
        vec![(mark.clone(), Read::Found(intact(&mark, "mark"))), (binding, Read::Missing)];
    assert!(decide(&observed, time(APPROVED_AT + 2)).gives());
}

/// A Grant of a release that knew no marks keeps its right.
#[test]
fn a_grant_without_a_session_needs_no_mark() {
    let mut grant = marked();
    grant.spec.session = None;
    let objects = ObjectSpec::all_of(&grant, "lapse-system");
    assert!(objects.iter().all(ObjectSpec::gives));
}
