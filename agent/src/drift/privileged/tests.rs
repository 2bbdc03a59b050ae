use chrono::TimeDelta;
use rstest::rstest;

use super::*;
use crate::unfollowed::{FileId, Owner};

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::seconds(seconds)
}

/// A program that was changed last then.
fn program(mode: u32, uid: u32, changed: i64) -> Special {
    Special {
        id: FileId { device: 1, inode: 2 },
        owner: Owner { mode, uid, gid: 5 },
        size: 10,
        changed: nanoseconds(at(changed)),
        capabilities: None,
        device: "8:1".into(),
    }
}

fn capable(changed: i64) -> Special {
    Special { capabilities: Some("01".into()), ..program(0o755, 0, changed) }
}

fn walk(began: i64, files: &[(&str, Special)]) -> Walk {
    let files = files.iter().map(|(path, file)| ((*path).to_owned(), file.clone())).collect();
    Walk { began: at(began), boot: "a".into(), files, devices: vec!["8:1".into()], cut: None }
}

/// Somebody has looked at 0 s, and the right began at 100 s.
fn found(before: Option<&Walk>, file: Special) -> Vec<String> {
    found_after(before, file, "a")
}

/// The same, after this start of the host.
fn found_after(before: Option<&Walk>, file: Special, boot: &str) -> Vec<String> {
    let holders = [Holder { name: "al".into(), uid: 1000, home: None }];
    let files = [("/usr/bin/sudo", program(0o4755, 0, -50)), ("/x", file)];
    let now = Walk { boot: boot.into(), ..walk(200, &files) };
    let period = Period {
        began: at(100),
        boot: "a".into(),
        release: "0".into(),
        devices: ["8:1", "8:2"].map(str::to_owned).into(),
        watched: Vec::new(),
    };
    let programs = Programs { before, now: &now, period: &period, holders: &holders };
    let all = programs.deviations().into_iter();
    all.map(|it| {
        let repair = format!("{:?}", it.repair);
        format!("{} {}: {}", it.path, it.change, repair.split('(').next().unwrap())
    })
    .collect()
}

#[rstest]
#[case::setuid(program(0o4755, 0, 150), Some("/x runs as the user 0 (mode 4755): Strip"))]
#[case::setgid(program(0o2755, 1000, 150), Some("/x runs as the group 5 (mode 2755): Strip"))]
#[case::both(
    program(0o6755, 0, 150),
    Some("/x runs as the user 0 and the group 5 (mode 6755): Strip")
)]
#[case::capable(capable(150), Some("/x has the capabilities 01: Incapacitate"))]
#[case::of_the_holder(program(0o4755, 1000, 150), None)]
#[case::of_another(program(0o4755, 1001, 150), Some("/x runs as the user 1001 (mode 4755): Strip"))]
// By an administrator of the host, since somebody looked and before the right began.
#[case::between(program(0o4755, 0, 50), None)]
// With the clock set back.
#[case::too_old(program(0o4755, 0, -50), Some("/x runs as the user 0 (mode 4755): Strip"))]
#[case::on_a_disk_that_nobody_looked_at(Special { device: "8:2".into(), ..program(0o4755, 0, -50) }, None)]
#[case::on_a_disk_that_came_later(Special { device: "8:3".into(), ..program(0o4755, 0, -50) }, Some("/x runs as the user 0 (mode 4755): Strip"))]
fn what_became_powerful_under_a_right_is_found(
    #[case] file: Special,
    #[case] expected: Option<&str>,
) {
    let before = walk(0, &[("/usr/bin/sudo", program(0o4755, 0, -50))]);
    let expected: Vec<&str> = expected.into_iter().collect();
    assert_eq!(found(Some(&before), file), expected);
}

#[test]
fn what_was_powerful_is_left_as_it_is_and_told_if_it_was_changed() {
    let was = |file: Special| walk(0, &[("/usr/bin/sudo", program(0o4755, 0, -50)), ("/x", file)]);
    let sudo = program(0o4755, 0, -50);
    assert_eq!(found(Some(&was(sudo.clone())), sudo.clone()), [""; 0]);
    assert_eq!(
        found(Some(&was(sudo)), program(0o4755, 0, 150)),
        ["/x was changed, and runs as its owner or its group: Nothing"]
    );
    assert_eq!(
        found(Some(&was(capable(-50))), capable(150)),
        ["/x was changed, and has capabilities: Nothing"]
    );
    // With capabilities it did not run as root.
    let setuid = Special { capabilities: Some("01".into()), ..program(0o4755, 0, 150) };
    assert_eq!(
        found(Some(&was(capable(-50))), setuid),
        ["/x runs as the user 0 (mode 4755): Strip"]
    );
}

/// The kernel gives a file system another number when it is mounted again, and another one may get the old one.
#[test]
fn numbers_of_file_systems_tell_nothing_once_the_host_has_started_again() {
    let was =
        walk(0, &[("/usr/bin/sudo", program(0o4755, 0, -50)), ("/x", program(0o4755, 0, -50))]);
    let again = Special {
        id: FileId { device: 9, inode: 2 },
        device: "8:9".into(),
        ..program(0o4755, 0, -50)
    };
    assert_eq!(found_after(Some(&was), again.clone(), "b"), [""; 0]);
    assert_eq!(found(Some(&was), again.clone()), [""; 0], "mounted again meanwhile");
    let other = Special { id: FileId { device: 9, inode: 3 }, ..again };
    assert_eq!(
        found_after(Some(&was), other, "b"),
        ["/x was changed, and runs as its owner or its group: Nothing"]
    );
    let new = walk(0, &[("/usr/bin/sudo", program(0o4755, 0, -50))]);
    let strange = Special { device: "8:2".into(), ..program(0o4755, 0, -50) };
    assert_eq!(
        found_after(Some(&new), strange, "b"),
        ["/x runs as the user 0 (mode 4755): Strip"],
        "8:2 was another file system"
    );
}

/// Where nobody has looked before, or not at all of it, times tell alone.
#[test]
fn without_an_earlier_look_what_was_changed_since_is_told() {
    let recent = ["/x runs as the user 0 (mode 4755): Strip"];
    assert_eq!(found(None, program(0o4755, 0, 150)), recent);
    assert_eq!(found(None, program(0o4755, 0, -50)), [""; 0]);
    let cut =
        Walk { cut: Some("x".into()), ..walk(0, &[("/usr/bin/sudo", program(0o4755, 0, -50))]) };
    assert_eq!(found(Some(&cut), program(0o4755, 0, 150)), recent);
    assert_eq!(found(Some(&cut), program(0o4755, 0, -50)), [""; 0]);
}
