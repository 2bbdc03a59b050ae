//! That the hosts are what the other tests take them for: real, apart from each other, and gone afterwards.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use lapse_e2e::host::{GATEWAY, Host, Release, Root, Wire};
use lapse_e2e::plane::{SOON, eventually, loopback};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

/// Present where a test runs itself once more, to see what is left of a process that was not asked.
const ABORTED: &str = "LAPSE_TEST_ABORTED";

async fn host() -> (Wire, Host) {
    let root = Root::ready(Release::Debian12).await.unwrap();
    let wire = Wire::new().unwrap();
    let began = Instant::now();
    let host = Host::start(&root, &wire, "shop").await.unwrap();
    println!("booted in {:?}", began.elapsed());
    (wire, host)
}

async fn has_what_people_enter_by(release: Release, versions: [&str; 2]) {
    let root = Root::ready(release).await.unwrap();
    let wire = Wire::new().unwrap();
    let began = Instant::now();
    let host = Host::start(&root, &wire, "shop").await.unwrap();
    println!("{release:?} booted in {:?}", began.elapsed());
    let state = host.run(&["systemctl", "is-system-running"]).await.unwrap();
    assert_eq!(state.stdout.trim(), "running", "{:?}", host.sh("systemctl --failed").await);
    for unit in ["ssh", "cron", "atd", "dbus", "systemd-logind"] {
        let state = host.run(&["systemctl", "is-active", unit]).await.unwrap();
        assert_eq!(state.stdout.trim(), "active", "{unit}");
    }
    assert_eq!(host.sh("hostname; cat /proc/1/comm").await.unwrap(), "shop\nsystemd\n");
    let said = host.sh("systemctl --version; sudo --version").await.unwrap();
    for version in versions {
        assert!(said.contains(version), "{said}");
    }
}

#[tokio::test]
async fn a_host_has_what_people_enter_by() {
    has_what_people_enter_by(Release::Debian12, ["systemd 252", "Sudo version 1.9.13"]).await;
}

#[tokio::test]
async fn so_has_one_of_the_next_release() {
    has_what_people_enter_by(Release::Debian13, ["systemd 257", "Sudo version 1.9.16"]).await;
}

#[tokio::test]
async fn people_log_in_and_become_root_only_by_a_rule() {
    let (_wire, host) = host().await;
    let began = Instant::now();
    let session = host.as_user("alice", "id -un; pwd; loginctl show-user alice -p State").await;
    println!("logged in in {:?}", began.elapsed());
    assert_eq!(session.unwrap().ok().unwrap(), "alice\n/home/alice\nState=active\n");

    let began = Instant::now();
    let refused = host.as_user("alice", "sudo -n id -u").await.unwrap();
    println!("was refused in {:?}", began.elapsed());
    assert_eq!((refused.status, refused.stdout.as_str()), (1, ""));
    assert!(refused.stderr.contains("password is required"), "{}", refused.stderr);

    let rule = "alice ALL=(root) NOPASSWD: /usr/bin/id";
    host.sh(&format!("echo '{rule}' >/etc/sudoers.d/shop")).await.unwrap();
    let given = host.as_user("alice", "sudo -n id -u").await.unwrap();
    assert_eq!(given.ok().unwrap(), "0\n");
    assert_eq!(host.as_user("bob", "sudo -n id -u").await.unwrap().status, 1);
}

#[tokio::test]
async fn nothing_in_a_host_reaches_the_machine() {
    let (_wire, host) = host().await;
    // Of CAP_SYS_MODULE, CAP_SYS_RAWIO, CAP_SYS_BOOT, CAP_SYS_TIME, CAP_AUDIT_CONTROL, CAP_SYSLOG, CAP_WAKE_ALARM.
    let forbidden: u64 = [16, 17, 22, 25, 30, 34, 35].iter().map(|bit| 1 << bit).sum();
    let own = "grep ^Cap /proc/self/status";
    let spawned = host.spawn(&["grep", "^Cap", "/proc/self/status"]).unwrap();
    spawned.wait().await.unwrap();
    for said in [
        host.sh("cat /proc/1/status").await.unwrap(),
        host.sh(own).await.unwrap(),
        host.as_user("root", own).await.unwrap().stdout,
        spawned.said().unwrap(),
    ] {
        for name in ["CapPrm", "CapEff", "CapBnd"] {
            let line = said.lines().find_map(|line| line.strip_prefix(&format!("{name}:\t")));
            let found = u64::from_str_radix(line.unwrap(), 16).unwrap();
            assert_eq!(found & forbidden, 0, "{name}: {found:x}");
        }
    }
    let written = host.run(&["sh", "-c", "echo 1 >/proc/sys/vm/drop_caches"]).await.unwrap();
    assert!(written.stderr.contains("Read-only file system"), "{}", written.stderr);
}

#[tokio::test]
async fn a_relay_reaches_this_process_unless_it_is_cut() {
    let (wire, mut host) = host().await;
    let server = TcpListener::bind(loopback(0)).await.unwrap();
    let to = server.local_addr().unwrap();
    let serve = async || {
        let mut streams = Vec::new();
        while let Ok((mut stream, _)) = server.accept().await {
            stream.write_all(b"hello\n").await.unwrap();
            streams.push(stream);
        }
    };
    let ask = "exec 3<>/dev/tcp/gateway/8443 && head -n 1 <&3";
    let test = async {
        let mut relay = wire.relay(8443, to).unwrap();
        assert_eq!(relay.address(), (GATEWAY, 8443).into());
        assert_eq!(host.sh(ask).await.unwrap(), "hello\n");
        // One that stays open, until the relay is cut.
        let open = host.spawn(&["bash", "-c", &format!("{ask} && cat <&3")]).unwrap();
        let look = async || Ok((open.said()? == "hello\n").then_some(()));
        eventually("a connection", SOON, look).await.unwrap();
        relay.cut().await;
        tokio::time::timeout(SOON, open.wait()).await.unwrap().unwrap();
        let refused = host.sh(ask).await.unwrap_err().to_string();
        assert!(refused.contains("Connection refused"), "{refused}");
        relay.join().unwrap();
        assert_eq!(host.sh(ask).await.unwrap(), "hello\n");
        host.cut().unwrap();
        let cut = host.sh(&format!("timeout 1 bash -c '{ask}'")).await.unwrap_err().to_string();
        assert!(cut.contains("(124)") || cut.contains("No route"), "{cut}");
        host.reboot().await.unwrap();
        assert!(host.sh(&format!("timeout 1 bash -c '{ask}'")).await.is_err());
        host.join().unwrap();
        // The kernel tells of a link that is up a moment later.
        let heard = async || Ok((host.sh(ask).await? == "hello\n").then_some(()));
        eventually("the relay to be reached again", SOON, heard).await.unwrap();
    };
    tokio::select! {
        () = test => {}
        () = serve() => {}
    }
}

#[tokio::test]
async fn a_disk_outlives_what_runs() {
    let (_wire, mut host) = host().await;
    let number = host.sh("cat /etc/machine-id").await.unwrap();
    let write =
        "echo kept >/var/kept; touch /run/lost; sleep 600 & mkdir -p /sys/fs/cgroup/lost.slice";
    host.sh(write).await.unwrap();
    assert_eq!(fs::read_to_string(host.disk().join("var/kept")).unwrap(), "kept\n");
    fs::write(host.share().join("given"), "by the machine").unwrap();
    for how in ["a crash", "a reboot"] {
        let began = Instant::now();
        if how == "a crash" {
            host.crash().unwrap();
            assert!(host.sh("true").await.unwrap_err().to_string().contains("boot it first"));
            println!("crashed in {:?}", began.elapsed());
            host.boot().await.unwrap();
        } else {
            host.reboot().await.unwrap();
        }
        println!("there again after {how} in {:?}", began.elapsed());
        assert_eq!(host.sh("cat /var/kept").await.unwrap(), "kept\n", "{how}");
        assert_eq!(host.sh("cat /etc/machine-id").await.unwrap(), number, "{how}");
        assert_eq!(host.sh("cat /mnt/given").await.unwrap(), "by the machine", "{how}");
        let look = ["ls", "/run/lost", "/sys/fs/cgroup/lost.slice"];
        assert_eq!(host.run(&look).await.unwrap().stdout, "", "{how}");
        assert_eq!(host.run(&["pgrep", "sleep"]).await.unwrap().status, 1, "{how}");
        host.sh("touch /run/lost").await.unwrap();
    }
}

#[tokio::test]
async fn two_hosts_at_once_reach_each_other_and_differ() {
    let root = Root::ready(Release::Debian12).await.unwrap();
    let wire = Wire::new().unwrap();
    let began = Instant::now();
    let (shop, mill) =
        tokio::try_join!(Host::start(&root, &wire, "shop"), Host::start(&root, &wire, "mill"))
            .unwrap();
    println!("two booted in {:?}", began.elapsed());
    assert_ne!(shop.address(), mill.address());
    for (from, to) in [(&shop, &mill), (&mill, &shop)] {
        let ask = format!("exec 3<>/dev/tcp/{}/22 && head -c 4 <&3", to.address());
        assert_eq!(from.sh(&ask).await.unwrap(), "SSH-");
        let own = from.sh("ip -4 -o address show dev eth0").await.unwrap();
        assert!(own.contains(&format!(" {}/24 ", from.address())), "{own}");
    }
    let numbers = (shop.sh("cat /etc/machine-id").await, mill.sh("cat /etc/machine-id").await);
    assert_ne!(numbers.0.unwrap(), numbers.1.unwrap());
    shop.sh("touch /root/here").await.unwrap();
    assert!(mill.sh("ls /root/here").await.is_err());
    drop(shop);
    mill.sh("true").await.unwrap();
}

#[tokio::test]
async fn what_runs_on_is_killed_in_the_end() {
    let (_wire, host) = host().await;
    let is_there = async || host.run(&["pgrep", "sleep"]).await.unwrap().status == 0;
    let running = host.spawn(&["sh", "-c", "sleep 601; true"]).unwrap();
    eventually("it to run", SOON, async || Ok(is_there().await.then_some(()))).await.unwrap();
    // What is killed may be seen for a moment.
    let is_gone = async || Ok((!is_there().await).then_some(()));
    drop(running);
    eventually("it to be killed", SOON, is_gone).await.unwrap();

    let limit = Duration::from_millis(500);
    let login = ["su", "--login", "alice", "--command", "sleep 602; true"];
    let late = host.run_within(limit, &login).await.unwrap_err().to_string();
    assert!(late.contains("did not end within"), "{late}");
    eventually("it to be killed, too", SOON, is_gone).await.unwrap();

    // What a script leaves running is not waited for, and not killed.
    host.sh("sleep 603 & true").await.unwrap();
    assert!(is_there().await);
}

/// All by which a host can be found on the machine.
struct Traces {
    spaces: Vec<PathBuf>,
    cgroup: PathBuf,
    folder: PathBuf,
}

impl Traces {
    fn of(host: &Host) -> Self {
        let spaces = fs::read_dir(format!("/proc/{}/ns", host.pid().unwrap())).unwrap();
        let spaces = spaces.map(|space| fs::read_link(space.unwrap().path()).unwrap());
        let own = |space: &PathBuf| {
            let name = space.display().to_string();
            let (kind, _) = name.split_once(':').unwrap();
            fs::read_link(format!("/proc/self/ns/{kind}")).is_ok_and(|mine| mine != *space)
        };
        let spaces: Vec<_> = spaces.filter(own).collect();
        assert!(spaces.len() >= 6, "{spaces:?}");
        Self {
            spaces,
            cgroup: host.cgroup().to_owned(),
            folder: host.share().parent().unwrap().to_owned(),
        }
    }

    /// What of it is still there.
    fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        for folder in [&self.cgroup, &self.folder] {
            left.extend(folder.exists().then(|| folder.display().to_string()));
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let folder = self.folder.display().to_string();
        left.extend(mounts.lines().filter(|line| line.contains(&folder)).map(String::from));
        for process in fs::read_dir("/proc").unwrap().flatten() {
            let spaces = fs::read_dir(process.path().join("ns")).into_iter().flatten().flatten();
            let spaces = spaces.filter_map(|space| fs::read_link(space.path()).ok());
            let is_in = spaces.into_iter().any(|space| self.spaces.contains(&space));
            let is_left = is_in && !self.is_of_another(&process.path());
            left.extend(is_left.then(|| process.path().display().to_string()));
        }
        left
    }

    /// Whether a process is in another host. The kernel gives the number of a space that is gone to the next one that is made,
    /// and other tests make theirs meanwhile.
    fn is_of_another(&self, process: &Path) -> bool {
        let own = self.cgroup.file_name();
        let cgroups = fs::read_to_string(process.join("cgroup")).unwrap_or_default();
        let mut names = cgroups.lines().flat_map(|line| line.split('/'));
        names.any(|name| name.starts_with("lapse-host-") && own != Some(OsStr::new(name)))
    }
}

/// What would live on, if anything did.
const STUBBORN: &str =
    "trap '' TERM HUP; setsid sleep 604 & systemd-run --scope sleep 605 & sleep 0.1";

#[tokio::test]
async fn nothing_is_left_of_a_host() {
    let (wire, host) = host().await;
    host.sh(STUBBORN).await.unwrap();
    let traces = Traces::of(&host);
    assert!(traces.left().len() > 5);
    let began = Instant::now();
    drop((host, wire));
    println!("dropped in {:?}", began.elapsed());
    assert_eq!(traces.left(), [""; 0]);
}

#[tokio::test]
async fn nothing_is_left_of_a_host_whose_test_was_killed() {
    if std::env::var_os(ABORTED).is_some() {
        let (_wire, host) = host().await;
        host.sh(STUBBORN).await.unwrap();
        let traces = Traces::of(&host);
        let spaces = traces.spaces.iter().map(|space| space.display().to_string());
        println!("spaces={}", spaces.collect::<Vec<_>>().join(" "));
        println!("cgroup={}\nfolder={}", traces.cgroup.display(), traces.folder.display());
        std::process::abort();
    }
    let name = "harness::nothing_is_left_of_a_host_whose_test_was_killed";
    let mut again = Command::new(std::env::current_exe().unwrap());
    let again = again.args([name, "--exact", "--nocapture"]).env(ABORTED, "");
    let output = again.output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    let value = |key: &str| said.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    let traces = Traces {
        spaces: value("spaces=").split(' ').map(PathBuf::from).collect(),
        cgroup: Path::new(value("cgroup=")).to_owned(),
        folder: Path::new(value("folder=")).to_owned(),
    };
    let look = async || Ok(traces.left().is_empty().then_some(()));
    let gone = eventually("nothing to be left", SOON, look).await;
    assert!(gone.is_ok(), "{:?}", traces.left());
}
