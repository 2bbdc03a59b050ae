use lapse_crds::DriftKind;
use rstest::rstest;

use super::*;

fn entry(kind: DriftKind, content: Content, mode: u32) -> Entry {
    let is_guarded = kind != DriftKind::Unit;
    let owner = Owner { mode, uid: 0, gid: 0 };
    Entry { kind, is_guarded, owner, content, access_list: None }
}

fn text(kind: DriftKind, text: &str) -> Entry {
    entry(kind, Content::Text(text.into()), 0o644)
}

fn before() -> Entries {
    let stamp = |text: &str| Content::Stamp(text.to_owned());
    [
        ("/etc/sudoers", text(DriftKind::Sudoers, "root ALL=(ALL) ALL\n")),
        ("/etc/sudoers.d", entry(DriftKind::Sudoers, Content::Folder, 0o750)),
        ("/etc/passwd", text(DriftKind::Account, "root:x:0:0::/root:/bin/sh\n")),
        ("/etc/systemd/system/a.service", text(DriftKind::Unit, "[Service]\n")),
        ("/usr/lib/systemd/system/b.service", entry(DriftKind::Unit, stamp("1"), 0o644)),
        ("/usr/bin/lapse-agent", entry(DriftKind::Agent, stamp("1"), 0o755)),
        ("/var/spool/cron/atjobs/a1", text(DriftKind::Cron, "")),
        ("/home/al/.ssh/authorized_keys", text(DriftKind::Keys, "al\n")),
        ("/home/bo/.ssh/authorized_keys", text(DriftKind::Keys, "bo\n")),
    ]
    .into_iter()
    .map(|(path, entry)| (path.to_owned(), entry))
    .collect()
}

fn found(now: &Entries, is_all: bool) -> Vec<Deviation> {
    let holders = [Holder { name: "al".into(), uid: 1000, home: Some("/home/al".into()) }];
    let (before, own) = (before(), Own::default());
    Comparison { before: &before, now, own: &own, holders: &holders, is_all }.deviations()
}

type Change = fn(&mut Entries);

fn set(now: &mut Entries, path: &str, entry: Entry) {
    now.insert(path.to_owned(), entry);
}

fn keys_of(now: &mut Entries, path: &str) {
    set(now, path, text(DriftKind::Keys, "evil\n"));
}

#[rstest]
#[case::nothing(|_: &mut Entries| (), None)]
#[case::rule(|now: &mut Entries| set(now, "/etc/sudoers.d/x", text(DriftKind::Sudoers, "")), Some("/etc/sudoers.d/x was added, guarded: Take"))]
#[case::sudoers(|now: &mut Entries| set(now, "/etc/sudoers", text(DriftKind::Sudoers, "x")), Some("/etc/sudoers was changed, guarded: Put"))]
#[case::sudoers_gone(|now: &mut Entries| _ = now.remove("/etc/sudoers"), Some("/etc/sudoers was removed, guarded: Put"))]
#[case::open_folder(|now: &mut Entries| now.get_mut("/etc/sudoers.d").unwrap().owner.mode = 0o777, Some("/etc/sudoers.d was given the mode 0777, guarded: Permit"))]
#[case::given_away(|now: &mut Entries| now.get_mut("/etc/passwd").unwrap().owner = Owner { mode: 0o644, uid: 1000, gid: 5 }, Some("/etc/passwd was given the owner 1000, the group 5, guarded: Permit"))]
#[case::access_list(|now: &mut Entries| now.get_mut("/etc/sudoers").unwrap().access_list = Some("x".into()), Some("/etc/sudoers was given another list of who else may, guarded: Permit"))]
#[case::unit(|now: &mut Entries| set(now, "/etc/systemd/system/evil.service", text(DriftKind::Unit, "")), Some("/etc/systemd/system/evil.service was added: Take"))]
#[case::enabled(|now: &mut Entries| set(now, "/etc/systemd/system/x.wants/a.service", entry(DriftKind::Unit, Content::Link("../a.service".into()), 0o777)), Some("/etc/systemd/system/x.wants/a.service was added: Take"))]
#[case::unit_of_a_package(|now: &mut Entries| now.get_mut("/usr/lib/systemd/system/b.service").unwrap().content = Content::Stamp("2".into()), Some("/usr/lib/systemd/system/b.service was changed: Nothing"))]
#[case::folder(|now: &mut Entries| set(now, "/etc/systemd/system/x.wants", entry(DriftKind::Unit, Content::Folder, 0o755)), None)]
#[case::program(|now: &mut Entries| now.get_mut("/usr/bin/lapse-agent").unwrap().content = Content::Stamp("2".into()), Some("/usr/bin/lapse-agent was changed, guarded: Program"))]
#[case::job_that_is_done(|now: &mut Entries| _ = now.remove("/var/spool/cron/atjobs/a1"), None)]
#[case::keys_of_another(|now: &mut Entries| keys_of(now, "/home/bo/.ssh/authorized_keys"), Some("/home/bo/.ssh/authorized_keys was changed, guarded: Put"))]
#[case::keys_of_root(|now: &mut Entries| keys_of(now, "/root/.ssh/authorized_keys"), Some("/root/.ssh/authorized_keys was added, guarded: Take"))]
#[case::own_keys(|now: &mut Entries| keys_of(now, "/home/al/.ssh/authorized_keys"), None)]
#[case::keys_beside_the_own(|now: &mut Entries| keys_of(now, "/home/al2/.ssh/authorized_keys"), Some("/home/al2/.ssh/authorized_keys was added, guarded: Take"))]
#[case::own_crontab(|now: &mut Entries| set(now, "/var/spool/cron/crontabs/al", text(DriftKind::Cron, "")), None)]
#[case::crontab_of_root(|now: &mut Entries| set(now, "/var/spool/cron/crontabs/root", text(DriftKind::Cron, "")), Some("/var/spool/cron/crontabs/root was added, guarded: Take"))]
#[case::account(|now: &mut Entries| now.get_mut("/etc/passwd").unwrap().content = Content::Text("root:x:0:0::/root:/bin/zsh\n".into()), Some("/etc/passwd the account root was changed, guarded: Edits"))]
#[case::no_text(|now: &mut Entries| now.get_mut("/etc/passwd").unwrap().content = Content::Bytes("/w==".into()), Some("/etc/passwd was changed, guarded: Put"))]
fn what_is_not_as_it_was_is_found(#[case] change: Change, #[case] expected: Option<&str>) {
    let mut now = before();
    change(&mut now);
    let all = found(&now, true);
    let said = all.iter().map(|deviation| {
        let Deviation { kind: _, path, change, is_guarded, repair } = deviation;
        let guarded = if *is_guarded { ", guarded" } else { "" };
        let repair = format!("{repair:?}");
        let repair = repair.split(['(', ' ']).next().unwrap_or_default();
        format!("{path} {change}{guarded}: {repair}")
    });
    assert_eq!(said.collect::<Vec<_>>(), expected.into_iter().collect::<Vec<_>>());
    let guarded: Vec<_> = all.into_iter().filter(|deviation| deviation.is_guarded).collect();
    assert_eq!(found(&now, false), guarded);
}

/// While a right is held, what the guard does not look after is not looked at.
#[test]
fn what_was_not_looked_at_is_not_gone() {
    let mut now = before();
    now.retain(|_, entry| entry.is_guarded);
    assert_eq!(found(&now, false), []);
}
