//! Programs that are run with all rights.

use rstest::rstest;

use super::fake::{DUMP, Fake};
use super::{dump, expire, give, program, refused, with_steps};
use crate::order::{Elevation, Program};
use crate::steps::Outcome;
use crate::windows::access::{Access, Entry};
use crate::windows::application::job_name;
use crate::windows::sid::Sid;

#[test]
fn with_the_right_goes_the_job() {
    let fake = Fake::new();
    let order = fake.order('a', "al", dump());
    give(&fake, &order);
    let other = "Global\\Lapse-other".to_owned();
    fake.state.borrow_mut().jobs.extend([job_name(&order.id), other.clone()]);
    assert!(with_steps(&fake, |steps| steps.is_in_force(&order.id)));
    fake.pass(60);
    assert!(!with_steps(&fake, |steps| steps.is_in_force(&order.id)));
    assert_eq!(expire(&fake, &order), Outcome::Gone);
    assert_eq!(fake.state.borrow().jobs, [other].into());
    assert_eq!(fake.state.borrow().sessions.len(), 2, "nobody is logged off for it");
}

fn writable() -> Access {
    let mask = 0x0000_0002;
    let entry = Entry::Allows { sid: Sid::users(), mask, inherit_only: false };
    Access { owner: Sid::system(), entries: Some(vec![entry]) }
}

#[rstest]
#[case::the_folder(r"C:\Program Files\Dump")]
#[case::the_file(DUMP.0)]
fn a_program_that_others_may_change_is_refused(#[case] place: &str) {
    let fake = Fake::new();
    fake.state.borrow_mut().access.insert(place.to_owned(), writable());
    let expected = format!(
        "{place} can be changed by S-1-5-32-545, so whoever may change it could run anything with all rights. Let \
         administrators alone write to it"
    );
    assert_eq!(refused(&fake, &fake.order('a', "al", dump())), expected);
}

#[test]
fn a_folder_above_may_get_more_files() {
    let fake = Fake::new();
    fake.state.borrow_mut().access.insert(r"C:\".to_owned(), writable());
    give(&fake, &fake.order('a', "al", dump()));
}

#[rstest]
#[case::no_digest(program(DUMP.0, None), r"C:\Program Files\Dump\dump.exe has no sha256 in the policy: on Windows nothing else tells which file was approved")]
#[case::another_digest(program(DUMP.0, Some("sha256:00")), r"C:\Program Files\Dump\dump.exe has the digest sha256:d0, and the one that was approved has sha256:00: install that file, or have the policy name this one")]
#[case::no_whole_path(
    program("dump.exe", Some("sha256:00")),
    r"dump.exe is not the whole path of a program, such as C:\Program Files\Dump\dump.exe"
)]
#[case::not_there(program(r"C:\no.exe", Some("sha256:00")), r"reading C:\no.exe: it is not there")]
fn a_program_is_the_one_that_was_approved(#[case] program: Program, #[case] expected: &str) {
    let fake = Fake::new();
    let order = fake.order('a', "al", Elevation::Application(program));
    assert_eq!(refused(&fake, &order), expected);
}

#[test]
fn a_link_to_a_program_is_not_followed() {
    let fake = Fake::new();
    fake.state.borrow_mut().links.insert(DUMP.0.to_owned(), r"C:\Users\al\dump.exe".to_owned());
    let expected = format!(r"{} leads to C:\Users\al\dump.exe: have the policy name that", DUMP.0);
    assert_eq!(refused(&fake, &fake.order('a', "al", dump())), expected);
}
