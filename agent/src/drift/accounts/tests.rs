use rstest::rstest;

use super::super::entry::{Content, Entry};
use super::*;
use crate::record::Undo;
use crate::unfollowed::Owner;

const USERS: &str = "root:x:0:0::/root:/bin/sh\nal:x:1000:1000::/home/al:/bin/sh\nbo:x:1001:1001::/home/bo:/bin/sh\n";
const PASSWORDS: &str = "root:*:1:0:9:7:::\nal:!:1:0:9:7:::\nbo:$y$1:1:0:9:7::20000:\n";
const GROUPS: &str = "root:x:0:\nsudo:x:27:al\nops:x:5:\nteam:x:6:\n";
const SECRETS: &str = "root:*::\nsudo:*::al\nops:!::\nteam:!::\n";

fn entries(files: [&str; 4]) -> Entries {
    let sudoers = "# %team ALL=(ALL) ALL\n%ops ALL=(root) /usr/bin/id\n";
    let paths = [PASSWD, SHADOW, GROUP, GSHADOW, "/etc/sudoers"];
    let all = paths.into_iter().zip(files.into_iter().chain([sudoers]));
    all.map(|(path, text)| {
        let entry = Entry {
            kind: DriftKind::Account,
            is_guarded: true,
            owner: Owner { mode: 0o644, uid: 0, gid: 0 },
            content: Content::Text(text.to_owned()),
            access_list: None,
        };
        (path.to_owned(), entry)
    })
    .collect()
}

fn before() -> Entries {
    entries([USERS, PASSWORDS, GROUPS, SECRETS])
}

/// What is found if a line of a file is another one, or is added.
fn found(path: &str, line: &str, becomes: &str) -> (Entries, Vec<Deviation>) {
    let (before, mut now) = (before(), before());
    let Content::Text(text) = &mut now.get_mut(path).unwrap().content else { unreachable!() };
    *text = match line {
        "" => format!("{text}{becomes}\n"),
        line => text.replace(&format!("{line}\n"), becomes),
    };
    let holders = BTreeSet::from(["al".to_owned()]);
    let members = Members::default();
    let accounts = Accounts { before: &before, now: &now, members: &members, holders: &holders };
    let found = compare(&accounts);
    (now, found)
}

#[rstest]
// Accounts.
#[case(PASSWD, "", "evil:x:0:0::/:/bin/sh", "the account evil was added with the user ID 0", true)]
#[case(PASSWD, "", "evil:x:00:0::/:/bin/sh", "the account evil was added with the user ID 0", true)]
#[case(
    PASSWD,
    "",
    "evil:x:+0x0:0::/:/bin/sh",
    "the account evil was added with the user ID 0",
    true
)]
#[case(
    PASSWD,
    "",
    "evil:x:1005:27::/:/bin/sh",
    "the account evil was added in the group sudo",
    true
)]
#[case(PASSWD, "", "eve:x:1005:1005::/:/bin/sh", "the account eve was added", false)]
#[case(
    PASSWD,
    "bo:x:1001:1001::/home/bo:/bin/sh",
    "bo:x:0:1001::/home/bo:/bin/sh\n",
    "the account bo was given the user ID 0",
    true
)]
#[case(
    PASSWD,
    "bo:x:1001:1001::/home/bo:/bin/sh",
    "bo:x:1001:27::/home/bo:/bin/sh\n",
    "the account bo was put into the group sudo",
    true
)]
#[case(
    PASSWD,
    "bo:x:1001:1001::/home/bo:/bin/sh",
    "bo:x:1001:1001::/home/bo:/bin/evil\n",
    "the account bo was changed",
    false
)]
#[case(PASSWD, "bo:x:1001:1001::/home/bo:/bin/sh", "", "the account bo was removed", false)]
#[case(
    PASSWD,
    "al:x:1000:1000::/home/al:/bin/sh",
    "al:x:1000:1000:Al:/home/al:/bin/zsh\n",
    "",
    false
)]
#[case(
    PASSWD,
    "al:x:1000:1000::/home/al:/bin/sh",
    "al:x:1000:1000::/:/bin/sh\n",
    "the account al was changed",
    false
)]
#[case(
    PASSWD,
    "root:x:0:0::/root:/bin/sh",
    "root::0:0::/root:/bin/sh\n",
    "the account root was changed",
    true
)]
// Passwords.
#[case(
    SHADOW,
    "root:*:1:0:9:7:::",
    "root:$y$2:1:0:9:7:::\n",
    "the password of root was changed",
    true
)]
#[case(
    SHADOW,
    "bo:$y$1:1:0:9:7::20000:",
    "bo:$y$2:1:0:9:7::20000:\n",
    "the password of bo was changed",
    false
)]
#[case(
    SHADOW,
    "bo:$y$1:1:0:9:7::20000:",
    "bo:$y$1:1:0:9:7:::\n",
    "the expiry of bo was changed",
    false
)]
#[case(SHADOW, "bo:$y$1:1:0:9:7::20000:", "bo:$y$1:2:0:9:7::20000:\n", "", false)]
#[case(SHADOW, "", "eve:$y$1:1:0:9:7:::", "the password of eve was added", true)]
#[case(SHADOW, "al:!:1:0:9:7:::", "al:$y$1:1:0:9:7:::\n", "", false)]
// Groups.
#[case(GROUP, "sudo:x:27:al", "sudo:x:27:al,bo\n", "bo was added to the group sudo", true)]
#[case(GROUP, "ops:x:5:", "ops:x:5:bo\n", "bo was added to the group ops", true)]
#[case(GROUP, "team:x:6:", "team:x:6:bo\n", "bo was added to the group team", false)]
#[case(GROUP, "sudo:x:27:al", "sudo:x:27:\n", "al was taken out of the group sudo", false)]
#[case(GROUP, "", "evil:x:27:bo", "the group evil was added with the group ID of sudo", true)]
#[case(GROUP, "", "evil:x:70:bo", "the group evil was added", false)]
#[case(GROUP, "team:x:6:", "team:x:27:\n", "the group ID of the group team was changed", true)]
#[case(GROUP, "sudo:x:27:al", "sudo::27:al\n", "the password of the group sudo was changed", true)]
#[case(GROUP, "team:x:6:", "", "the group team was removed", false)]
#[case(
    GSHADOW,
    "sudo:*::al",
    "sudo:*:bo:al\n",
    "bo was made an administrator of the group sudo",
    true
)]
#[case(
    GSHADOW,
    "sudo:*::al",
    "sudo:$y$1::al\n",
    "the password of the group sudo was changed",
    true
)]
#[case(GSHADOW, "sudo:*::al", "sudo:*::al,bo\n", "bo was added to the group sudo", true)]
#[case(GSHADOW, "team:!::", "team:!::bo\n", "bo was added to the group team", false)]
fn a_line_that_is_not_as_it_was_is_told_and_put_back(
    #[case] path: &str,
    #[case] line: &str,
    #[case] becomes: &str,
    #[case] expected: &str,
    #[case] is_guarded: bool,
) {
    let (mut now, all) = found(path, line, becomes);
    let said: Vec<_> = all.iter().map(|it| (it.change.as_str(), it.is_guarded)).collect();
    let expected: Vec<_> =
        Some((expected, is_guarded)).filter(|_| !expected.is_empty()).into_iter().collect();
    assert_eq!(said, expected);
    // What the guard undoes is undone whole, by itself, and nothing else.
    for deviation in all.iter().filter(|it| it.is_guarded) {
        let Repair::Edits(edits) = &deviation.repair else { panic!("{deviation:?}") };
        for edit in edits {
            let Content::Text(text) = &mut now.get_mut(edit.path()).unwrap().content else {
                unreachable!()
            };
            *text = edit.apply(text);
        }
        assert_eq!(now, before());
    }
}

#[test]
fn who_is_in_a_group_by_a_right_is_expected_and_goes_with_it() {
    let mut read = crate::journal::Records::default();
    let now = crate::clock::Reading {
        wall: chrono::DateTime::UNIX_EPOCH,
        boottime_ms: 0,
        boot_id: "a".into(),
    };
    let right = crate::right::Right {
        user: "bo".into(),
        uid: 1001,
        starts_at: now.wall,
        expires_at: now.wall + chrono::TimeDelta::hours(1),
        elevation: crate::right::Elevation::Group { name: "sudo".into(), gid: 27 },
        log_off: false,
        containment: None,
        records_children: false,
    };
    let mut record = crate::record::Record::received("g".into(), "u".into(), right, &now);
    record.go(crate::record::Stage::Active, &now);
    read.read.insert(crate::places::Id::of("g"), record.clone());
    let members = super::super::own::Own::of(&read).members;
    let given = ["sudo:x:27:al,bo\n", "sudo:*::al,bo\n"];
    let groups =
        [GROUPS.replace("sudo:x:27:al\n", given[0]), SECRETS.replace("sudo:*::al\n", given[1])];
    let mut with = entries([USERS, PASSWORDS, &groups[0], &groups[1]]);
    let holders = BTreeSet::new();
    let compared = |members: &Members, now: &Entries| {
        compare(&Accounts { before: &before(), now, members, holders: &holders })
    };
    assert_eq!(compared(&members, &with), []);
    // Once it has ended, whoever is there was put there by somebody else.
    assert_eq!(compared(&Members::default(), &with).len(), 1);
    // What there was before it is what there is without it.
    without_own(&mut with, &members);
    assert_eq!(with, before());
}

/// What there is of accounts by rights in force is not what there was: it goes, whether anybody still knows of it or not.
#[test]
fn accounts_that_are_there_by_a_right_are_not_what_there_was() {
    use crate::right::{Elevation, LocalGroup};
    let now = crate::clock::Reading {
        wall: chrono::DateTime::UNIX_EPOCH,
        boottime_ms: 0,
        boot_id: "a".into(),
    };
    let mut records = crate::journal::Records::default();
    let mut hold = |user: &str, uid: u32, action: lapse_crds::AccountAction, groups: &[&str]| {
        let local = |name: &&str| LocalGroup { name: (*name).to_owned(), gid: 27 };
        let groups = groups.iter().map(local).collect();
        let right = crate::right::Right {
            user: user.into(),
            uid,
            starts_at: now.wall,
            expires_at: now.wall + chrono::TimeDelta::hours(1),
            elevation: Elevation::Account { action, groups, authorized_keys: vec![] },
            log_off: false,
            containment: None,
            records_children: false,
        };
        let mut record = crate::record::Record::received(user.into(), "u".into(), right, &now);
        record.undo = Some(Undo::default());
        record.go(crate::record::Stage::Active, &now);
        records.read.insert(crate::places::Id::of(user), record);
    };
    hold("pat", 50_000, lapse_crds::AccountAction::Provision, &["sudo"]);
    hold("bo", 1001, lapse_crds::AccountAction::Enable, &[]);
    let members = super::super::own::Own::of(&records).members;
    let with = entries([
        &format!("{USERS}pat:x:50000:50000::/home/pat:/bin/bash\n"),
        &format!("{PASSWORDS}pat:!:1:0:9:7::20001:\n"),
        &format!("{GROUPS}pat:x:50000:\n").replace("sudo:x:27:al", "sudo:x:27:al,pat"),
        &format!("{SECRETS}pat:!::\n").replace("sudo:*::al", "sudo:*::al,pat"),
    ]);
    let mut left = with.clone();
    without_own(&mut left, &members);
    let without_bo = PASSWORDS.replace("bo:$y$1:1:0:9:7::20000:\n", "");
    assert_eq!(left, entries([USERS, &without_bo, GROUPS, SECRETS]));
    // Neither while it is there, nor when it is gone and forgotten, and bo is disabled again.
    let disabled = PASSWORDS.replace("bo:$y$1:1:0:9:7::20000:", "bo:!$y$1:1:0:9:7::1:");
    let gone = entries([USERS, &disabled, GROUPS, SECRETS]);
    let holders = BTreeSet::new();
    for (members, now) in [(&members, &with), (&Members::default(), &gone)] {
        let found = compare(&Accounts { before: &left, now, members, holders: &holders });
        assert_eq!(found, []);
    }
}

#[test]
fn an_account_that_somebody_made_is_disabled_and_stays() {
    let (before, mut now) = (before(), before());
    let mut add = |path: &str, line: &str| {
        let Content::Text(text) = &mut now.get_mut(path).unwrap().content else { unreachable!() };
        text.push_str(line);
    };
    add(PASSWD, "eve:x:1005:1005::/home/eve:/bin/sh\n");
    add(SHADOW, "eve:$y$1:1:0:9:7:::\n");
    let (members, holders) = (Members::default(), BTreeSet::new());
    let compared = |now: &Entries| {
        compare(&Accounts { before: &before, now, members: &members, holders: &holders })
    };
    let found = compared(&now);
    let [Deviation { repair: Repair::Edits(edits), .. }] = found.as_slice() else {
        panic!("{found:?}");
    };
    let secrets = edits.iter().fold(text(&now, SHADOW).to_owned(), |text, edit| {
        assert_eq!(edit.path(), SHADOW);
        edit.apply(&text)
    });
    assert_eq!(secrets, format!("{PASSWORDS}eve:!$y$1:1:0:9:7::0:\n"));
    now.get_mut(SHADOW).unwrap().content = Content::Text(secrets);
    assert_eq!(compared(&now), [], "that is undone");
}
