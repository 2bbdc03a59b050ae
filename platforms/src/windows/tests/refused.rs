//! What is refused, before anything is there.

use rstest::rstest;

use super::fake::Fake;
use super::{account, dump, refused};
use crate::host::Host as _;
use crate::order::{AccountAction, Elevation};

#[rstest]
#[case::wine(|fake: &Fake| fake.state.borrow_mut().imitation = Some("ntdll.dll exports wine_get_version".into()), "this is Wine, or something else that looks like Windows (ntdll.dll exports wine_get_version): its calls for groups and accounts report success and do nothing, so no access is given here")]
#[case::a_controller(|fake: &Fake| fake.state.borrow_mut().is_controller = true, "this host is a domain controller, and has no users and groups of its own")]
#[case::nobody(|fake: &Fake| fake.state.borrow_mut().is_privileged = false, "only an administrator, or the system, can give access")]
fn where_nothing_can_be_given_nothing_is(#[case] make: fn(&Fake), #[case] lacks: &str) {
    let fake = Fake::new();
    make(&fake);
    let found = fake.windows().probe();
    assert_eq!((found.can, found.lacks), (Vec::new(), vec![lacks.to_owned()]));
    let before = fake.people();
    for (user, elevation) in [
        ("al", Elevation::Admin),
        ("al", Elevation::Group("ops".into())),
        ("al", dump()),
        ("off", account(AccountAction::Enable, &[])),
    ] {
        let needs = elevation.needs();
        let said = refused(&fake, &fake.order('a', user, elevation));
        assert_eq!(
            said,
            format!("this host (Windows) does not have the capability {needs}: {lacks}")
        );
    }
    let state = fake.state.borrow();
    assert_eq!((&state.people, state.tasks.len(), state.steps), (&before, 0, 0));
}

#[test]
fn a_host_that_can_do_all_of_it_says_so() {
    let found = Fake::new().windows().probe();
    let said = "Windows\n  can:   Admin\n  can:   Group\n  can:   Application\n  can:   Account\n";
    assert_eq!(found.to_string(), said);
}

#[rstest]
#[case::nobody(
    "eve",
    Elevation::Admin,
    "there is no local user eve on this host: create it, or correct spec.users of the Endpoint"
)]
#[case::the_administrator("Administrator", Elevation::Group("ops".into()), "the local user Administrator is the administrator of this host, and may do everything already")]
#[case::no_group("al", Elevation::Group("Administrators".into()), "there is no local group Administrators on this host: create it, or name its SID")]
#[case::a_sid_of_nothing("al", Elevation::Group("S-1-5-32-999".into()), "there is no local group S-1-5-32-999 on this host: create it, or name its SID")]
#[case::not_disabled("al", account(AccountAction::Enable, &[]), "the local user al is not disabled: there is nothing to enable")]
#[case::there_already("al", account(AccountAction::Provision, &[]), "there is a local user al on this host already, which Lapse has not made: request Enable or Raise, or correct spec.users of the Endpoint")]
#[case::a_group_of_the_name("ops", account(AccountAction::Provision, &[]), "there is a local group ops on this host already, and Windows has no two of one name: correct spec.users of the Endpoint")]
#[case::no_name("a/b", account(AccountAction::Provision, &[]), "\"a/b\" cannot be the name of a local user: letters, digits, _, - and ., a letter, a digit or _ first, at most 20 of them. Correct spec.users of the Endpoint")]
#[case::keys("new", Elevation::Account { action: AccountAction::Provision, groups: vec![], authorized_keys: vec!["ssh-ed25519 A".into()] }, "authorizedKeys are not written on Windows: leave them out of spec.users of the Endpoint")]
fn what_is_not_there_is_refused(
    #[case] user: &str,
    #[case] elevation: Elevation,
    #[case] expected: &str,
) {
    let fake = Fake::new();
    let before = fake.people();
    assert_eq!(refused(&fake, &fake.order('a', user, elevation)), expected);
    assert_eq!((fake.people(), fake.tasks().len()), (before, 0));
}
