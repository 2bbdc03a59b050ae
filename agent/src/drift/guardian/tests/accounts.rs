//! Members of groups that are equivalent to root, accounts that are made with such a group, and homes.

use std::os::unix::fs::{MetadataExt as _, symlink};

use chrono::TimeDelta;
use lapse_crds::AccountAction;

use super::*;
use crate::drift::period::begin;
use crate::record::{Made, Stage, Undo};
use crate::right::{Elevation, LocalGroup, Right};
use crate::timers;

const ENFORCE: Option<Containment> = Some(Containment { guard: Guard::Enforce, reverts: true });
const PAT: &str = "pat:x:50000:50000::/home/pat:/bin/bash\n";
const KEYS: &str = "/home/pat/.ssh/authorized_keys";

/// The groups of the host, and who is in one that is equivalent to root.
fn groups(docker: &str) -> String {
    format!("{GROUPS}docker:x:998:{docker}\n")
}

fn account(action: AccountAction, groups: &[(&str, u32)]) -> Elevation {
    let local = |(name, gid): &(&str, u32)| LocalGroup { name: (*name).into(), gid: *gid };
    let groups = groups.iter().map(local).collect();
    Elevation::Account { action, groups, authorized_keys: vec!["key".into()] }
}

impl Host {
    /// Somebody is given a right, as hands do it, but for what they then do to the accounts.
    fn hold(
        &self,
        (user, uid): (&str, u32),
        elevation: Elevation,
        containment: Option<Containment>,
    ) -> Record {
        let now = now();
        let made = matches!(elevation, Elevation::Account { action: AccountAction::Provision, .. });
        let right = Right {
            user: user.into(),
            uid,
            starts_at: now.wall,
            expires_at: now.wall + TimeDelta::hours(1),
            elevation,
            log_off: false,
            containment,
            records_children: false,
        };
        let mut record = Record::received(user.into(), "u".into(), right.clone(), &now);
        let _lock = self.journal.lock().unwrap();
        begin(&self.system, &self.places, &self.journal, (&record, &right), &now).unwrap();
        let id = Id::of(user);
        let rest = TimeDelta::hours(1);
        timers::arm(&self.system, &self.places, (&id, user), right.expires_at, rest).unwrap();
        record.undo = Some(Undo { made: made.then_some(Made { uid }), ..Undo::default() });
        record.go(Stage::Active, &now);
        self.journal.write(&self.system, &record).unwrap();
        record
    }

    fn over(&self, record: &mut Record) {
        timers::disarm(&self.system, &self.places, &Id::of(&record.grant)).unwrap();
        record.go(Stage::Over, &now());
        self.journal.write(&self.system, record).unwrap();
    }

    /// What the host's own programs do to make an account that is in a group.
    fn make(&self) {
        let users = self.text("/etc/passwd").unwrap();
        self.write("/etc/passwd", &format!("{users}{PAT}"));
        self.write("/etc/group", &(groups("pat") + "pat:x:50000:\n"));
        self.write(KEYS, "key\n");
    }

    /// And to remove it.
    fn unmake(&self) {
        self.write("/etc/passwd", &self.text("/etc/passwd").unwrap().replace(PAT, ""));
        self.write("/etc/group", &groups(""));
        fs::remove_dir_all(self.places.at("/home/pat")).unwrap();
    }
}

/// What its members do by a daemon that is root is theirs, and that they are members is Lapse's.
#[test]
fn who_is_root_by_a_group_is_looked_after_and_compared_after() {
    let docker = || Elevation::Group { name: "docker".into(), gid: 998 };
    let raise = || account(AccountAction::Raise, &[("docker", 998)]);
    for elevation in [docker(), raise()] {
        let host = Host::new();
        host.write("/etc/group", &groups(""));
        let mut guardian = host.guardian();
        guardian.keep(&walk(&host.places, &now(), &|| false).unwrap()).unwrap();
        let mut record = host.hold(("al", 4242), elevation, ENFORCE);
        host.write("/etc/group", &groups("al"));
        guardian.check().unwrap();
        assert_eq!((told(&mut guardian), host.text("/etc/group")), (vec![], Some(groups("al"))));

        host.write("/etc/group", &groups("al,bo"));
        host.write("/etc/sudoers.d/evil", "al ALL=(ALL) NOPASSWD: ALL\n");
        host.write("/home/al/shell", "sh");
        let shell = host.places.at("/home/al/shell");
        fs::set_permissions(&shell, fs::Permissions::from_mode(0o4755)).unwrap();
        guardian.check().unwrap();
        assert_eq!(host.text("/etc/group"), Some(groups("al")));
        let at_once =
            ["/etc/group bo was added to the group docker", "/etc/sudoers.d/evil was added"];
        assert_eq!(told(&mut guardian), undone(&at_once));

        host.write("/etc/group", &groups(""));
        host.over(&mut record);
        host.compare(&mut guardian);
        let found = fs::metadata(&shell).unwrap();
        let setuid = format!("/home/al/shell runs as the user {} (mode 4755)", found.uid());
        assert_eq!(told(&mut guardian), undone(&[at_once[0], at_once[1], &setuid]));
        assert_eq!(found.permissions().mode() & 0o7777, 0o755);
        assert_eq!(host.text("/etc/group"), Some(groups("")));
        let report = guardian.report();
        let [ComparedGrant { grant, found: 3, reverted: 3, .. }] = report.compared.as_slice()
        else {
            panic!("{report:?}");
        };
        assert_eq!(grant, "al");
    }
}

/// Its line, its group, its memberships, its home and its keys are Lapse's; what it then does as root is not.
#[test]
fn an_account_that_is_made_with_a_group_of_root_is_lapses_own() {
    let host = Host::new();
    host.write("/etc/group", &groups(""));
    let mut guardian = host.guardian();
    let made = account(AccountAction::Provision, &[("docker", 998)]);
    let mut record = host.hold(("pat", 50_000), made, ENFORCE);
    host.make();
    guardian.check().unwrap();
    assert_eq!(told(&mut guardian), [""; 0]);
    assert_eq!(host.text(KEYS).as_deref(), Some("key\n"));
    // Their own keys and jobs are theirs, and go with them.
    host.write(KEYS, "another\n");
    host.write("/var/spool/cron/crontabs/pat", "* * * * * true\n");
    host.write("/root/.ssh/authorized_keys", "evil\n");
    guardian.check().unwrap();
    assert_eq!(told(&mut guardian), undone(&["/root/.ssh/authorized_keys was changed"]));
    assert_eq!(host.text(KEYS).as_deref(), Some("another\n"));

    host.unmake();
    fs::remove_file(host.places.at("/var/spool/cron/crontabs/pat")).unwrap();
    host.over(&mut record);
    host.compare(&mut guardian);
    assert_eq!(told(&mut guardian), undone(&["/root/.ssh/authorized_keys was changed"]));
    assert!(!guardian.is_open() && host.text(KEYS).is_none());
}

/// It is there by a right that nobody looks after, when another begins; then it goes, and is forgotten.
#[test]
fn an_account_that_was_made_for_another_right_comes_and_goes() {
    let host = Host::new();
    host.write("/etc/group", &groups(""));
    let mut guest = host.hold(("pat", 50_000), account(AccountAction::Provision, &[]), None);
    host.make();
    host.write("/etc/group", &(groups("") + "pat:x:50000:\n"));
    let mut record = host.give("g", Guard::Enforce, true);
    let mut guardian = host.guardian();
    guardian.check().unwrap();
    assert_eq!(host.text(KEYS).as_deref(), Some("key\n"));
    host.unmake();
    host.over(&mut guest);
    host.journal.forget(&host.system, &Id::of("pat")).unwrap();
    guardian.check().unwrap();
    host.end(&mut record);
    host.compare(&mut guardian);
    assert_eq!(told(&mut guardian), [""; 0]);
    assert!(!host.places.at("/home/pat").exists());
}

/// Whoever is root puts a link in the place of their home: what lies behind it is not theirs by that.
#[test]
fn a_home_is_where_it_was_before() {
    let host = Host::new();
    fs::create_dir_all(host.places.at("/home/al")).unwrap();
    host.give("g", Guard::Enforce, false);
    let mut guardian = host.guardian();
    host.write("/home/al/.ssh/authorized_keys", "al\n");
    guardian.check().unwrap();
    assert_eq!(told(&mut guardian), [""; 0], "their own keys");
    fs::rename(host.places.at("/home/al"), host.places.at("/home/moved")).unwrap();
    symlink("/etc", host.places.at("/home/al")).unwrap();
    host.write("/etc/sudoers.d/evil", "x");
    guardian.check().unwrap();
    assert_eq!(host.text("/etc/sudoers.d/evil"), None);
    assert_eq!(told(&mut guardian), undone(&["/etc/sudoers.d/evil was added"]));
}
