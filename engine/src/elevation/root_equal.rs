//! What makes its holder root on a host under another name, as data: what it is called, how it does so, and who says so.
//!
//! Programs are known by their names: one that is copied to another name is not found, and one that is called like one of
//! these and does something else is. Arguments are not looked at. What a program makes of them is its own affair: `find` takes
//! `-exec` anywhere, `tar` a program to compress with, and a request may choose them where a policy offers an expression.
//!
//! Left out, because what they do is what they say: `systemctl`, `journalctl` and the like, whose pager is one without a way
//! out where sudo calls it (systemctl(1), `$SYSTEMD_PAGERSECURE`); groups that read what others wrote (`adm`,
//! `systemd-journal`); and `kvm`, whose members run machines of their own.

/// Something that makes its holder root.
#[derive(Debug, PartialEq, Eq)]
pub struct RootEqual {
    /// What they are.
    pub title: &'static str,
    /// What they are called.
    pub names: &'static [&'static str],
    /// How they make their holder root.
    pub how: &'static str,
    /// Who says so.
    pub source: &'static str,
}

const SUDOERS: &str = "sudoers(5), Preventing shell escapes";
const BINS: &str = "https://gtfobins.github.io/";
const DEBIAN: &str =
    "Users and Groups in the Debian System (/usr/share/doc/base-passwd/users-and-groups.html)";

/// Programs, by name and without the numbers of versions.
pub static PROGRAMS: &[RootEqual] = &[
    RootEqual {
        title: "a shell",
        names: &["ash", "bash", "csh", "dash", "fish", "ksh", "mksh", "rbash", "sh", "tcsh", "zsh"],
        how: "it starts whatever it is told to",
        source: SUDOERS,
    },
    RootEqual {
        title: "an interpreter",
        names: &[
            "awk",
            "expect",
            "gawk",
            "gdb",
            "guile",
            "irb",
            "java",
            "jrunscript",
            "jshell",
            "julia",
            "lua",
            "luajit",
            "mawk",
            "nawk",
            "node",
            "nodejs",
            "octave",
            "perl",
            "php",
            "pwsh",
            "python",
            "ruby",
            "tclsh",
            "wish",
        ],
        how: "it runs whatever is written in its language",
        source: BINS,
    },
    RootEqual {
        title: "an editor",
        names: &[
            "ed", "emacs", "ex", "joe", "mcedit", "micro", "nano", "nvim", "pico", "rvim", "sed",
            "vi", "view", "vigr", "vim", "vimdiff", "vipw", "visudo",
        ],
        how: "it starts others from within, and writes any file",
        source: SUDOERS,
    },
    RootEqual {
        title: "a pager",
        names: &["info", "less", "man", "more", "most", "pg"],
        how: "it starts others from within",
        source: SUDOERS,
    },
    RootEqual {
        title: "a program that starts others",
        names: &[
            "agetty",
            "ansible",
            "ansible-playbook",
            "at",
            "batch",
            "busybox",
            "capsh",
            "chroot",
            "chrt",
            "cpulimit",
            "crontab",
            "doas",
            "env",
            "find",
            "flock",
            "getty",
            "ionice",
            "logrotate",
            "machinectl",
            "make",
            "mc",
            "nice",
            "nohup",
            "nsenter",
            "parallel",
            "pkexec",
            "run-parts",
            "run0",
            "runuser",
            "screen",
            "script",
            "setarch",
            "setpriv",
            "setsid",
            "ssh",
            "start-stop-daemon",
            "stdbuf",
            "strace",
            "su",
            "sudo",
            "sudoedit",
            "systemd-nspawn",
            "systemd-run",
            "taskset",
            "tcpdump",
            "time",
            "timeout",
            "tmux",
            "toybox",
            "unshare",
            "watch",
            "xargs",
            "zip",
        ],
        how: "it starts whatever its arguments or its settings say",
        source: BINS,
    },
    RootEqual {
        title: "a program that writes any file",
        names: &[
            "bsdtar", "chattr", "chgrp", "chmod", "chown", "cp", "cpio", "curl", "dd", "debugfs",
            "gpasswd", "install", "ln", "mount", "mv", "passwd", "patch", "rsync", "scp", "setcap",
            "setfacl", "sftp", "tar", "tee", "unzip", "useradd", "usermod", "wget",
        ],
        how: "whoever writes files as root can add a sudo rule, or an account, of their own",
        source: BINS,
    },
    RootEqual {
        title: "a package manager",
        names: &[
            "apk", "apt", "apt-get", "aptitude", "dnf", "dpkg", "flatpak", "gem", "microdnf",
            "npm", "pacman", "pip", "rpm", "snap", "yum", "zypper",
        ],
        how: "what is installed runs scripts of its own as root",
        source: BINS,
    },
    RootEqual {
        title: "a program that runs containers or virtual machines",
        names: &[
            "crictl",
            "ctr",
            "docker",
            "docker-compose",
            "incus",
            "kubectl",
            "lxc",
            "lxc-execute",
            "nerdctl",
            "podman",
            "qemu-system",
            "runc",
            "virsh",
        ],
        how: "a container or a machine that it starts may have all of the host's files",
        source: "https://docs.docker.com/engine/security/ (Docker daemon attack surface)",
    },
    RootEqual {
        title: "a program with a way to start others from within",
        names: &["ftp", "git", "mutt", "mysql", "psql", "sqlite", "svn", "telnet"],
        how: "it starts others from within, or as its settings say",
        source: BINS,
    },
    RootEqual {
        title: "a program that loads code into the kernel or the firmware",
        names: &["bpftool", "bpftrace", "insmod", "kexec", "modprobe"],
        how: "what runs in the kernel is bound by nothing",
        source: BINS,
    },
];

/// Local groups.
pub static GROUPS: &[RootEqual] = &[
    RootEqual {
        title: "a group of administrators",
        names: &["admin", "root", "sudo", "wheel"],
        how: "the rules of sudo and polkit let its members do everything on most hosts",
        source: DEBIAN,
    },
    RootEqual {
        title: "a group that runs containers or virtual machines",
        names: &["docker", "incus-admin", "libvirt", "lxd", "microk8s"],
        how: "its members start containers or machines with all of the host's files",
        source: "https://docs.docker.com/engine/install/linux-postinstall/ (Manage Docker as a non-root user)",
    },
    RootEqual {
        title: "a group with raw access",
        names: &["disk", "kmem"],
        how: "its members read and write disks or memory below all permissions",
        source: DEBIAN,
    },
    RootEqual {
        title: "a group that reads the passwords",
        names: &["shadow"],
        how: "its members read the hashes of all passwords, root's among them",
        source: DEBIAN,
    },
    RootEqual {
        title: "a group that writes programs",
        names: &["staff"],
        how: "its members change /usr/local, where root looks for programs first",
        source: DEBIAN,
    },
];

/// What a program is known for, by its path.
#[must_use]
pub fn of_program(path: &str) -> Option<&'static RootEqual> {
    let name = path.rsplit('/').next()?;
    of(PROGRAMS, name).or_else(|| of(PROGRAMS, unversioned(name)))
}

/// What a group is known for.
#[must_use]
pub fn of_group(name: &str) -> Option<&'static RootEqual> {
    of(GROUPS, name)
}

fn of(list: &'static [RootEqual], name: &str) -> Option<&'static RootEqual> {
    list.iter().find(|entry| entry.names.contains(&name))
}

/// The name of a program without what tells its versions and builds apart: `python3.11`, `vim.basic`, `qemu-system-x86_64`.
fn unversioned(name: &str) -> &str {
    let name = if name.starts_with("qemu-system-") { "qemu-system" } else { name };
    let name = name.split('.').next().unwrap_or(name);
    name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-')
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Write as _;

    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("/bin/bash", Some("a shell"))]
    #[case("/usr/bin/python3.11", Some("an interpreter"))]
    #[case("/usr/bin/perl5.36.0", Some("an interpreter"))]
    #[case("/usr/bin/vim.basic", Some("an editor"))]
    #[case("/usr/bin/sqlite3", Some("a program with a way to start others from within"))]
    #[case(
        "/usr/bin/qemu-system-x86_64",
        Some("a program that runs containers or virtual machines")
    )]
    #[case("/opt/find/bin/report", None)]
    #[case("/usr/bin/systemctl", None)]
    #[case("/usr/bin/bashful", None)]
    fn a_program_is_known_by_its_name(#[case] path: &str, #[case] expected: Option<&str>) {
        assert_eq!(of_program(path).map(|entry| entry.title), expected);
    }

    #[test]
    fn every_name_stands_once_and_is_found() {
        for (list, find) in [
            (PROGRAMS, of_program as fn(&str) -> Option<&'static RootEqual>),
            (GROUPS, of_group as fn(&str) -> Option<&'static RootEqual>),
        ] {
            let mut seen = BTreeSet::new();
            for entry in list {
                for name in entry.names {
                    assert!(seen.insert(*name), "{name} stands twice");
                    assert_eq!(find(name), Some(entry), "{name}");
                }
                assert!(entry.names.is_sorted(), "{}", entry.title);
            }
        }
        assert_eq!(of_group("adm"), None);
    }

    #[test]
    fn every_entry_says_how_and_who_says_so() {
        let mut text = String::new();
        for RootEqual { title, names, how, source } in PROGRAMS.iter().chain(GROUPS) {
            writeln!(text, "{title} ({}): {how}. {source}", names.join(", ")).unwrap();
        }
        insta::assert_snapshot!(text);
    }
}
