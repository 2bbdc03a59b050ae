//! On a host that is a folder.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use lapse_crds::DriftFinding;
use rstest::rstest;

use self::host::{GROUPS, Host, now};
use super::super::pace::PAUSES;
use super::super::period::RELEASE;
use super::super::walk::walk;
use super::*;
use crate::right::Containment;

mod accounts;
mod host;

fn told(guardian: &mut Guardian) -> Vec<String> {
    let told = guardian.report().findings.into_iter().map(|finding| {
        let DriftFinding { path, change, reverted, .. } = finding;
        format!("{path} {change}{}", if reverted { ", undone" } else { "" })
    });
    let mut told: Vec<String> = told.collect();
    told.sort_unstable();
    told
}

const GUARDED: [&str; 6] = [
    "/etc/cron.d/evil was added",
    "/etc/group al was added to the group sudo",
    "/etc/sudoers was changed",
    "/etc/sudoers.d/evil was added",
    "/etc/systemd/system/lapse-agent.service was added",
    "/root/.ssh/authorized_keys was changed",
];

fn undone(all: &[&str]) -> Vec<String> {
    all.iter().map(|told| format!("{told}, undone")).collect()
}

#[test]
fn what_makes_somebody_root_for_good_is_undone_at_once() {
    let host = Host::new();
    host.give("g", Guard::Enforce, false);
    let mut guardian = host.guardian();
    guardian.check().unwrap();
    assert_eq!(told(&mut guardian), [""; 0]);
    host.attack();
    guardian.check().unwrap();
    assert_eq!(host.left(), ["unit"], "the rest is looked at when the right ends");
    assert_eq!(told(&mut guardian), undone(&GUARDED));
    assert!(host.system.0.lock().unwrap().contains(&"systemctl daemon-reload".to_owned()));
    let report = guardian.report();
    assert!(report.findings.iter().all(|finding| finding.grants == ["g"] && finding.count == 1));
}

#[test]
fn what_comes_back_is_undone_again_and_told_once() {
    let host = Host::new();
    host.give("g", Guard::Enforce, false);
    let mut guardian = host.guardian();
    for _ in 0..4 {
        host.write("/etc/sudoers.d/evil", "x");
        let began = Instant::now();
        while !host.left().is_empty() {
            guardian.check().unwrap();
            std::thread::sleep(Duration::from_millis(5));
            assert!(began.elapsed() < Duration::from_secs(30));
        }
    }
    let report = guardian.report();
    assert_eq!((report.findings.len(), report.findings[0].count), (1, 4));
}

#[test]
fn an_audit_tells_and_leaves_all_as_it_is() {
    let host = Host::new();
    host.give("g", Guard::Audit, false);
    let mut guardian = host.guardian();
    host.attack();
    for _ in 0..2 {
        guardian.check().unwrap();
        assert_eq!(host.left().len(), 7);
        assert_eq!(told(&mut guardian), GUARDED);
    }
    // Nothing tells by which of two it was: the strictest counts.
    host.give("h", Guard::Enforce, false);
    guardian.check().unwrap();
    assert_eq!(host.left(), ["unit"]);
}

#[rstest]
#[case::reported(Guard::Off, false, 7, (8, 0))]
#[case::guarded_alone(Guard::Enforce, false, 1, (8, 6))]
#[case::undone(Guard::Off, true, 0, (8, 8))]
fn a_host_is_compared_when_the_right_is_gone(
    #[case] guard: Guard,
    #[case] reverts: bool,
    #[case] left: usize,
    #[case] expected: (u32, u32),
) {
    let host = Host::new();
    let mut guardian = host.guardian();
    let before = walk(&host.places, &now(), &|| false).unwrap();
    guardian.keep(&before).unwrap();
    let mut record = host.give("g", guard, reverts);
    host.attack();
    let shell = host.places.at("/home/al/shell");
    host.write("/home/al/shell", "sh");
    fs::set_permissions(&shell, fs::Permissions::from_mode(0o6755)).unwrap();
    host.end(&mut record);
    assert_eq!(guardian.check().unwrap().to_settle, BTreeSet::from(["g".to_owned()]));
    host.compare(&mut guardian);
    assert_eq!(host.left().len(), left);
    let is_stripped = fs::metadata(&shell).unwrap().permissions().mode() & 0o6000 == 0;
    assert_eq!(is_stripped, reverts);
    let report = guardian.report();
    let [ComparedGrant { grant, found, reverted, unseen: None }] = report.compared.as_slice()
    else {
        panic!("{report:?}");
    };
    assert_eq!((&**grant, (*found, *reverted)), ("g", expected));
    assert_eq!(report.findings.len(), 8, "{report:?}");
    assert!(!guardian.is_open() && !host.places.drift().join("period.json").exists());
    // What is left is what there was before for whoever comes next.
    let mut record = host.give("h", Guard::Enforce, true);
    guardian.check().unwrap();
    host.end(&mut record);
    host.compare(&mut guardian);
    let of_next = guardian.report().compared.pop().unwrap();
    assert_eq!((&*of_next.grant, of_next.found), ("h", 0));
}

/// A second right is given and ends meanwhile: its rule, its timers and its membership are Lapse's own.
#[test]
fn what_lapse_does_itself_is_neither_told_nor_undone() {
    let host = Host::new();
    let mut first = host.give("g", Guard::Enforce, true);
    let mut guardian = host.guardian();
    guardian.check().unwrap();
    let mut second = host.give("h", Guard::Enforce, true);
    guardian.check().unwrap();
    assert!(host.places.rule(&Id::of("h")).exists());
    host.end(&mut second);
    host.compare(&mut guardian);
    assert!(guardian.is_open(), "the first goes on");
    host.end(&mut first);
    host.compare(&mut guardian);
    assert!(!guardian.is_open());
    assert_eq!(told(&mut guardian), [""; 0]);
}

/// The agent is killed, and its folder is emptied by whoever is root.
#[test]
fn what_is_known_outlives_the_agent_and_those_who_work_against_it() {
    let host = Host::new();
    let record = host.give("g", Guard::Enforce, false);
    let mut guardian = host.guardian();
    guardian.check().unwrap();
    drop(guardian);
    host.attack();
    let mut guardian = host.guardian();
    guardian.check().unwrap();
    assert_eq!(host.left(), ["unit"]);
    assert_eq!(told(&mut guardian), undone(&GUARDED));
    // Another one knows what was told already.
    let mut another = host.guardian();
    another.check().unwrap();
    assert_eq!(told(&mut another), undone(&GUARDED));
    for name in ["period.json", "before.json"] {
        fs::remove_file(host.places.drift().join(name)).unwrap();
    }
    fs::remove_file(host.places.at("/etc/systemd/system/evil.service")).unwrap();
    host.attack();
    std::thread::sleep(PAUSES.0);
    guardian.check().unwrap();
    assert_eq!(host.left(), ["unit"]);
    assert!(host.places.drift().join("before.json").exists());
    // The file says that nothing is guarded.
    let weaker = Period {
        began: now().wall,
        boot: "a".into(),
        release: RELEASE.into(),
        devices: BTreeSet::new(),
        watched: vec![Watched {
            grant: record.grant,
            user: "al".into(),
            uid: 4242,
            home: None,
            containment: Containment { guard: Guard::Off, reverts: false },
            is_settled: false,
            found: 0,
            reverted: 0,
        }],
    };
    weaker.write(&host.system, &host.places).unwrap();
    host.attack();
    std::thread::sleep(PAUSES.0 * 4);
    guardian.check().unwrap();
    assert_eq!(host.left(), ["unit"]);
}

/// Nobody holds a right: whoever administers the host changes what they want.
#[test]
fn a_host_without_a_right_is_left_alone() {
    let host = Host::new();
    let mut guardian = host.guardian();
    host.attack();
    assert!(guardian.check().unwrap().to_settle.is_empty());
    assert_eq!((host.left().len(), told(&mut guardian).len()), (7, 0));
}

/// Whom the agent trusts it changes itself, and says so first.
#[test]
fn whom_the_agent_trusts_is_its_own_affair() {
    let host = Host::new();
    host.write("/var/lib/lapse/trust.json", "1");
    host.give("g", Guard::Enforce, false);
    let mut guardian = host.guardian();
    guardian.check().unwrap();
    host.write("/var/lib/lapse/trust.json", "2");
    super::super::period::expect_trust(&host.system, &host.places).unwrap();
    guardian.check().unwrap();
    assert_eq!(told(&mut guardian), [""; 0]);
    host.write("/var/lib/lapse/trust.json", "evil");
    guardian.check().unwrap();
    assert_eq!(host.text("/var/lib/lapse/trust.json").as_deref(), Some("2"));
    assert_eq!(told(&mut guardian), ["/var/lib/lapse/trust.json was changed, undone"]);
}

/// The kernel keeps the program that runs, whatever is put in its place.
#[test]
fn the_program_of_the_agent_is_put_back_once() {
    let host = Host::new();
    host.write("/usr/bin/lapse-agent", "the agent");
    host.write("/proc/self/exe", "the agent");
    host.give("g", Guard::Enforce, false);
    let mut guardian = host.guardian();
    guardian.check().unwrap();
    fs::remove_file(host.places.at("/usr/bin/lapse-agent")).unwrap();
    guardian.check().unwrap();
    assert_eq!(host.text("/usr/bin/lapse-agent").as_deref(), Some("the agent"));
    // It is another file now, and what is looked after from now on: also by an agent that starts later.
    std::thread::sleep(PAUSES.0);
    guardian.check().unwrap();
    host.guardian().check().unwrap();
    let report = guardian.report();
    assert_eq!((report.findings.len(), report.findings[0].count), (1, 1), "{report:?}");
}

/// An upgrade stops the agent, brings files of its own, and starts another one.
#[test]
fn an_upgrade_of_the_agent_is_told_and_stays() {
    let host = Host::new();
    host.write("/usr/bin/lapse-agent", "old");
    host.write("/etc/pam.d/lapse-sudo", "old");
    host.give("g", Guard::Enforce, false);
    let mut period = Period::read(&host.places).unwrap().unwrap();
    period.release = "0.0.1".into();
    period.write(&host.system, &host.places).unwrap();
    host.write("/usr/bin/lapse-agent", "new, and longer");
    host.write("/etc/pam.d/lapse-sudo", "new");
    host.write("/etc/sudoers.d/evil", "x");
    let mut guardian = host.guardian();
    guardian.check().unwrap();
    assert_eq!(host.text("/etc/pam.d/lapse-sudo").as_deref(), Some("new"));
    let upgraded =
        format!("/usr/bin/lapse-agent was exchanged for that of release {RELEASE}, from 0.0.1");
    assert_eq!(told(&mut guardian), ["/etc/sudoers.d/evil was added, undone".to_owned(), upgraded]);
}

/// What somebody left is told at the end of their right, and what is made later is made by whoever still holds one.
#[test]
fn what_is_left_counts_once_and_what_comes_later_is_another_change() {
    let host = Host::new();
    let mut first = host.give("g", Guard::Off, false);
    let mut second = host.give("h", Guard::Off, false);
    let mut guardian = host.guardian();
    host.write("/etc/cron.d/evil", "1");
    host.write("/etc/group", &GROUPS.replace("ops:x:5:", "ops:x:5:al"));
    host.end(&mut first);
    host.compare(&mut guardian);
    assert_eq!(told(&mut guardian).len(), 2);
    host.write("/etc/cron.d/evil", "2");
    host.write("/etc/group", &GROUPS.replace("ops:x:5:", "ops:x:5:al,bo"));
    host.end(&mut second);
    host.compare(&mut guardian);
    let report = guardian.report();
    let counts: Vec<_> = report.compared.iter().map(|of| (&*of.grant, of.found)).collect();
    assert_eq!(counts, [("g", 2), ("h", 4)]);
    assert_eq!(report.findings[2].grants, ["h"]);
}

/// After the end nobody's work is undone any more, while setuid programs are still looked for.
#[test]
fn once_the_files_were_compared_nothing_is_looked_after() {
    let host = Host::new();
    let mut record = host.give("g", Guard::Enforce, true);
    let mut guardian = host.guardian();
    guardian.check().unwrap();
    host.end(&mut record);
    let over = guardian.check().unwrap().to_settle;
    assert!(guardian.settle(&over, false).unwrap());
    host.write("/etc/sudoers.d/admins", "x");
    guardian.check().unwrap();
    assert!(host.text("/etc/sudoers.d/admins").is_some());
    // Who is given a right before that is done has found it so.
    let mut next = host.give("h", Guard::Enforce, true);
    guardian.check().unwrap();
    host.write("/etc/sudoers.d/evil", "x");
    guardian.check().unwrap();
    let both = ["/etc/sudoers.d/admins", "/etc/sudoers.d/evil"];
    assert_eq!(both.map(|path| host.text(path).is_some()), [true, false]);
    host.end(&mut next);
    host.compare(&mut guardian);
    let report = guardian.report();
    let counts: Vec<_> = report.compared.iter().map(|of| (&*of.grant, of.found)).collect();
    assert_eq!(counts, [("g", 0), ("h", 1)]);
}
