//! Which files of a host make somebody root, or let them in, for good. Data.

use lapse_crds::DriftKind;

/// How a place is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A file, or a folder by itself: whose it is, and who may write it.
    Alone,
    /// A folder, and what lies in it so many levels down.
    Tree(usize),
}

/// A place that is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    /// Where it is.
    pub(super) path: &'static str,
    /// How it is looked at.
    pub(super) shape: Shape,
    /// What a change of it is.
    pub(super) kind: DriftKind,
    /// Whether the guard of a right looks after it while that is held: who writes there is root at once, or lets others in.
    pub(super) is_guarded: bool,
    /// Whether its content is kept, so that it can be put back. What a package brings has its package.
    pub(super) keeps: bool,
}

const fn guarded(path: &'static str, shape: Shape, kind: DriftKind) -> Spot {
    Spot { path, shape, kind, is_guarded: true, keeps: true }
}

const fn compared(path: &'static str, shape: Shape, kind: DriftKind) -> Spot {
    Spot { path, shape, kind, is_guarded: false, keeps: true }
}

const fn without_content(
    path: &'static str,
    shape: Shape,
    kind: DriftKind,
    is_guarded: bool,
) -> Spot {
    Spot { path, shape, kind, is_guarded, keeps: false }
}

/// The program of the agent, which has a copy of it in memory.
pub(super) const PROGRAM: &str = "/usr/bin/lapse-agent";
/// Whom the agent trusts.
pub(super) const TRUST: &str = "/var/lib/lapse/trust.json";
/// Where units come from that make the host do something when it starts.
pub(super) const UNITS: &str = "/etc/systemd/system";
/// Units of this boot, where a unit can be masked until its end.
pub(super) const UNITS_OF_BOOT: &str = "/run/systemd/system";
/// The rules of sudo.
pub(super) const RULES: &str = "/etc/sudoers.d";
/// The services of PAM.
const PAM: &str = "/etc/pam.d";
/// Jobs of cron by user, and of at.
pub(super) const SPOOL: &str = "/var/spool/cron";
/// Jobs of at on other systems.
const AT_SPOOL: &str = "/var/spool/at";
/// Jobs of at, which go when they are done.
pub(super) const AT_JOBS: [&str; 2] = ["/var/spool/cron/atjobs/", "/var/spool/at/"];
/// What at writes down for itself, and what its jobs have said.
pub(super) const AT_NOTES: [&str; 4] = [
    "/var/spool/cron/atjobs/.SEQ",
    "/var/spool/cron/atspool/",
    "/var/spool/at/.SEQ",
    "/var/spool/at/spool/",
];
/// The users.
pub(super) const PASSWD: &str = "/etc/passwd";
/// Their passwords, and when they expire.
pub(super) const SHADOW: &str = "/etc/shadow";
/// The groups.
pub(super) const GROUP: &str = "/etc/group";
/// Their passwords, and who may change them.
pub(super) const GSHADOW: &str = "/etc/gshadow";
/// The users and groups, whose lines are compared one by one.
pub(super) const ACCOUNTS: [&str; 4] = [PASSWD, SHADOW, GROUP, GSHADOW];

/// All places, but for the keys of users, which follow from the accounts.
pub(super) const SPOTS: &[Spot] = &[
    guarded(PASSWD, Shape::Alone, DriftKind::Account),
    guarded(SHADOW, Shape::Alone, DriftKind::Account),
    guarded(GROUP, Shape::Alone, DriftKind::Group),
    guarded(GSHADOW, Shape::Alone, DriftKind::Group),
    guarded("/etc/sudoers", Shape::Alone, DriftKind::Sudoers),
    guarded(RULES, Shape::Tree(1), DriftKind::Sudoers),
    guarded("/etc/sudo.conf", Shape::Alone, DriftKind::Sudoers),
    guarded("/etc/pam.conf", Shape::Alone, DriftKind::Pam),
    guarded(PAM, Shape::Tree(1), DriftKind::Pam),
    guarded("/etc/security/access.conf", Shape::Alone, DriftKind::Pam),
    guarded("/etc/security/group.conf", Shape::Alone, DriftKind::Pam),
    guarded("/etc/security/namespace.conf", Shape::Alone, DriftKind::Pam),
    guarded("/etc/security/namespace.init", Shape::Alone, DriftKind::Pam),
    guarded("/etc/security/pam_env.conf", Shape::Alone, DriftKind::Pam),
    guarded("/etc/polkit-1", Shape::Tree(3), DriftKind::Polkit),
    guarded("/etc/ld.so.preload", Shape::Alone, DriftKind::Loader),
    guarded("/etc/crontab", Shape::Alone, DriftKind::Cron),
    guarded("/etc/anacrontab", Shape::Alone, DriftKind::Cron),
    guarded("/etc/cron.d", Shape::Tree(1), DriftKind::Cron),
    guarded("/etc/cron.hourly", Shape::Tree(1), DriftKind::Cron),
    guarded("/etc/cron.daily", Shape::Tree(1), DriftKind::Cron),
    guarded("/etc/cron.weekly", Shape::Tree(1), DriftKind::Cron),
    guarded("/etc/cron.monthly", Shape::Tree(1), DriftKind::Cron),
    guarded(SPOOL, Shape::Tree(2), DriftKind::Cron),
    guarded(AT_SPOOL, Shape::Tree(1), DriftKind::Cron),
    // Who may write these writes all of the above.
    guarded("/", Shape::Alone, DriftKind::Folder),
    guarded("/etc", Shape::Alone, DriftKind::Folder),
    guarded("/root", Shape::Alone, DriftKind::Folder),
    guarded("/usr", Shape::Alone, DriftKind::Folder),
    guarded("/usr/bin", Shape::Alone, DriftKind::Folder),
    guarded("/usr/sbin", Shape::Alone, DriftKind::Folder),
    guarded("/usr/lib", Shape::Alone, DriftKind::Folder),
    guarded("/usr/local", Shape::Alone, DriftKind::Folder),
    guarded("/usr/local/bin", Shape::Alone, DriftKind::Folder),
    guarded("/usr/local/sbin", Shape::Alone, DriftKind::Folder),
    guarded("/var", Shape::Alone, DriftKind::Folder),
    guarded("/var/lib", Shape::Alone, DriftKind::Folder),
    guarded("/var/lib/lapse", Shape::Alone, DriftKind::Folder),
    // Its program is put back from memory. Its units and PAM services lie among those of others, and are known by name.
    without_content(PROGRAM, Shape::Alone, DriftKind::Agent, true),
    guarded("/usr/lib/lapse", Shape::Tree(1), DriftKind::Agent),
    // No secret is copied.
    without_content("/var/lib/lapse/key.json", Shape::Alone, DriftKind::Agent, true),
    guarded(TRUST, Shape::Alone, DriftKind::Agent),
    guarded(UNITS_OF_BOOT, Shape::Tree(2), DriftKind::Agent),
    compared(UNITS, Shape::Tree(2), DriftKind::Unit),
    compared("/etc/systemd/system.control", Shape::Tree(2), DriftKind::Unit),
    compared("/etc/systemd/system-generators", Shape::Tree(1), DriftKind::Unit),
    compared("/usr/local/lib/systemd/system", Shape::Tree(2), DriftKind::Unit),
    without_content("/usr/lib/systemd/system", Shape::Tree(2), DriftKind::Unit, false),
    without_content("/lib/systemd/system", Shape::Tree(2), DriftKind::Unit, false),
    without_content("/etc/init.d", Shape::Tree(1), DriftKind::Startup, false),
    compared("/etc/rc.local", Shape::Alone, DriftKind::Startup),
    compared("/etc/profile", Shape::Alone, DriftKind::Startup),
    compared("/etc/profile.d", Shape::Tree(1), DriftKind::Startup),
    compared("/etc/bash.bashrc", Shape::Alone, DriftKind::Startup),
    compared("/etc/environment", Shape::Alone, DriftKind::Startup),
    compared("/root/.profile", Shape::Alone, DriftKind::Startup),
    compared("/root/.bashrc", Shape::Alone, DriftKind::Startup),
    compared("/root/.bash_profile", Shape::Alone, DriftKind::Startup),
    compared("/root/.bash_login", Shape::Alone, DriftKind::Startup),
    compared("/etc/ssh/sshd_config", Shape::Alone, DriftKind::Login),
    compared("/etc/ssh/sshd_config.d", Shape::Tree(1), DriftKind::Login),
    compared("/etc/nsswitch.conf", Shape::Alone, DriftKind::Login),
];

/// What something is that lies in a place, by its path there, and whether the guard looks after it. `None` for what is not
/// looked at.
pub(super) fn kind_of(spot: &Spot, inside: &str, uid: u32) -> Option<(DriftKind, bool)> {
    let is_name = |name: &str| name.starts_with("lapse-") || name.starts_with(".lapse-");
    let is_own = inside.split('/').any(is_name);
    let is_among_others = spot.kind == DriftKind::Unit || spot.path == PAM;
    match spot.path {
        _ if is_own && is_among_others => Some((DriftKind::Agent, true)),
        // Nothing that anybody else puts there lasts.
        UNITS_OF_BOOT if !is_own => None,
        // What users have done at a time of theirs is theirs; only root's makes somebody root.
        SPOOL | AT_SPOOL => {
            Some((spot.kind, uid == 0 || inside.ends_with("/root") || inside == "root"))
        }
        _ => Some((spot.kind, spot.is_guarded)),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::unit(UNITS, "lapse-agent.service", 0, Some((DriftKind::Agent, true)))]
    #[case::drop_in(UNITS, "lapse-agent.service.d/x.conf", 0, Some((DriftKind::Agent, true)))]
    #[case::enabled(UNITS, "multi-user.target.wants/lapse-agent.service", 0, Some((DriftKind::Agent, true)))]
    #[case::other_unit(UNITS, "evil.service", 0, Some((DriftKind::Unit, false)))]
    #[case::service(PAM, "lapse-sudo", 0, Some((DriftKind::Agent, true)))]
    #[case::other_service(PAM, "sudo", 0, Some((DriftKind::Pam, true)))]
    #[case::masked(UNITS_OF_BOOT, "lapse-agent.service", 0, Some((DriftKind::Agent, true)))]
    #[case::of_boot(UNITS_OF_BOOT, "netplan.service", 0, None)]
    #[case::rule(RULES, "lapse-x", 0, Some((DriftKind::Sudoers, true)))]
    #[case::crontab_of_root(SPOOL, "crontabs/root", 0, Some((DriftKind::Cron, true)))]
    #[case::crontab_for_root(SPOOL, "root", 1000, Some((DriftKind::Cron, true)))]
    #[case::crontab(SPOOL, "crontabs/bo", 1001, Some((DriftKind::Cron, false)))]
    #[case::at_job_of_root(AT_SPOOL, "a0001", 0, Some((DriftKind::Cron, true)))]
    fn what_makes_somebody_root_is_told_from_the_rest(
        #[case] spot: &str,
        #[case] inside: &str,
        #[case] uid: u32,
        #[case] expected: Option<(DriftKind, bool)>,
    ) {
        let spot = SPOTS.iter().find(|known| known.path == spot).unwrap();
        assert_eq!(kind_of(spot, inside, uid), expected);
    }

    #[test]
    fn each_place_is_named_once() {
        let mut paths: Vec<&str> = SPOTS.iter().map(|spot| spot.path).collect();
        paths.sort_unstable();
        let all = paths.len();
        paths.dedup();
        assert_eq!(paths.len(), all);
        assert!(ACCOUNTS.iter().all(|path| paths.contains(path)));
    }
}
