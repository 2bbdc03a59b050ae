//! Real Linux hosts to throw away: systemd as the first process, with sudo, PAM, logind, sshd, cron and at, and people
//! who log in.
//!
//! A host is namespaces and a cgroup of its own on an overlay of a root file system that is made once. Nothing is
//! installed on the machine, and its interfaces and addresses stay as they are. What ends with a host leaves nothing. It
//! takes root.
//!
//! These are the machine's own in each host: the clock, so nothing may set it; the boot id; and the kernel, so there is
//! no audit of its own and no process events.

mod agent;
mod cgroup;
mod console;
mod machine;
mod root;
mod wire;

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

pub use self::agent::package;
use self::cgroup::Cgroup;
pub use self::console::Running;
pub use self::root::{Release, Root};
pub use self::wire::{GATEWAY, Relay, Wire};
use crate::plane::{Process, SOON, Spec, eventually, prepare};

const START: &str = include_str!("start.sh");

/// Puts itself into a cgroup, `$1`, and becomes the command that follows.
const ENTER: &str = r#"echo $$ >"$1/cgroup.procs" && shift && exec "$@""#;

/// What nothing in a host may do, because it would happen to the machine: set its clock, load modules, restart it, read
/// and write its devices, read and clear its log.
const BOUNDING_SET: &str =
    "-sys_time,-sys_module,-sys_boot,-sys_rawio,-syslog,-wake_alarm,-audit_control";

/// How many hosts this process has started.
static STARTED: AtomicUsize = AtomicUsize::new(0);

/// Whether this machine can carry hosts.
///
/// # Errors
/// If it cannot, with all that is missing.
pub fn possible() -> Result<()> {
    machine::ready().map(drop)
}

/// Whether so many hosts may run on this machine at once.
///
/// # Errors
/// If they may not, with what to do.
pub fn room_for(hosts: usize) -> Result<()> {
    machine::room_for(hosts)
}

/// A host. Dropping it ends it and all that runs in it, and removes its disk; so does the end of this process, however
/// it comes.
#[derive(Debug)]
pub struct Host {
    // Fields are dropped in this order: its cgroup and its disk can be removed once its processes are gone.
    first: Option<Process>,
    cgroup: Cgroup,
    _temporary: Option<TempDir>,
    folder: PathBuf,
    name: String,
    address: Ipv4Addr,
    is_cut: bool,
    lower: PathBuf,
    wire: Wire,
    spawned: AtomicUsize,
}

impl Host {
    /// Starts a host with a fresh disk, and waits until systemd has started all that it starts. Its name is that by
    /// which it knows itself.
    ///
    /// # Errors
    /// If the machine cannot carry hosts, or the host does not boot.
    pub async fn start(root: &Root, wire: &Wire, name: &str) -> Result<Self> {
        let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        ensure!(is_name && !name.is_empty(), "`{name}` is no name of a host");
        let cgroups = machine::ready()?;
        let (folder, temporary) = prepare(None)?;
        for made in ["upper", "upper/etc", "work", "root", "share", "logs"] {
            let made = folder.join(made);
            fs::create_dir(&made).with_context(|| format!("making {}", made.display()))?;
            readable(&made, 0o755)?;
        }
        // With a number of its own it is no first boot, in which systemd would set up the rest anew.
        let number: String =
            (0..2).map(|_| Ok(format!("{:016x}", getrandom::u64()?))).collect::<Result<_>>()?;
        let files = [
            ("start.sh", START.to_owned()),
            ("upper/etc/machine-id", format!("{number}\n")),
            ("upper/etc/hostname", format!("{name}\n")),
            ("upper/etc/hosts", format!("127.0.0.1 localhost {name}\n{GATEWAY} gateway\n")),
        ];
        for (file, content) in files {
            let file = folder.join(file);
            fs::write(&file, content).with_context(|| format!("writing {}", file.display()))?;
            readable(&file, 0o644)?;
        }
        let count = STARTED.fetch_add(1, Ordering::Relaxed);
        let cgroup =
            Cgroup::new(cgroups.join(format!("lapse-host-{}-{count}", std::process::id())))?;
        let mut host = Self {
            first: None,
            cgroup,
            _temporary: temporary,
            folder,
            name: name.to_owned(),
            address: wire.address()?,
            is_cut: false,
            lower: root.folder().to_owned(),
            wire: wire.clone(),
            spawned: AtomicUsize::new(0),
        };
        host.boot().await?;
        Ok(host)
    }

    /// The name by which it knows itself.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address on the wire.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// A folder of the machine that the host sees as `/mnt`.
    #[must_use]
    pub fn share(&self) -> PathBuf {
        self.folder.join("share")
    }

    /// The folder of the machine with what differs from the root file system: the host's disk. It is for reading.
    #[must_use]
    pub fn disk(&self) -> PathBuf {
        self.folder.join("upper")
    }

    /// Its cgroup on the machine, which it sees as the root of all.
    #[must_use]
    pub fn cgroup(&self) -> &Path {
        self.cgroup.folder()
    }

    /// The number of its first process, as the machine counts.
    ///
    /// # Errors
    /// If the host is not running.
    pub fn pid(&self) -> Result<u32> {
        let is_running = self.first.as_ref().is_some_and(|first| first.exit().is_none());
        ensure!(is_running, "the host {} is not running: boot it first", self.name);
        let leader = self.leader();
        let pid =
            fs::read_to_string(&leader).with_context(|| format!("reading {}", leader.display()))?;
        pid.trim().parse().with_context(|| format!("{} has no number", leader.display()))
    }

    /// Boots it again, after [`Host::shut_down`] or [`Host::crash`], on the disk that it had.
    ///
    /// # Errors
    /// If it is running, or does not boot.
    pub async fn boot(&mut self) -> Result<()> {
        ensure!(self.first.is_none(), "the host {} is running already", self.name);
        self.cgroup.renew()?;
        let _ = fs::remove_file(self.leader());
        let spec = self.spec(format!("the host {}", self.name), self.first_words(), "console.log");
        self.first = Some(Process::spawn(spec)?);
        let what = format!("{} to have booted", self.name);
        eventually(&what, SOON, async || {
            // What fails at once need not be waited for.
            let is_over = self.first.as_ref().is_none_or(|first| first.exit().is_some());
            Ok((is_over || self.has_booted().await?).then_some(()))
        })
        .await
        .with_context(|| self.first.as_ref().map(Process::tail).unwrap_or_default())?;
        self.first.iter().try_for_each(Process::ensure_running)
    }

    /// Whether systemd has started all that it starts, be it with a failure.
    async fn has_booted(&self) -> Result<bool> {
        if !self.leader().exists() {
            return Ok(false);
        }
        if !Path::new(&format!("/proc/{}/root/run/systemd/system", self.pid()?)).exists() {
            return Ok(false);
        }
        let state = self.run(&["systemctl", "is-system-running"]).await?;
        match state.stdout.trim() {
            "running" | "degraded" => Ok(true),
            other => bail!("it is {other} {}", state.stderr.trim()),
        }
    }

    /// Shuts it down as people do, and boots it again.
    ///
    /// # Errors
    /// If it does not end, or does not boot.
    pub async fn reboot(&mut self) -> Result<()> {
        self.shut_down().await?;
        self.boot().await
    }

    /// Shuts it down as people do: what runs is asked to stop.
    ///
    /// # Errors
    /// If it does not end.
    pub async fn shut_down(&mut self) -> Result<()> {
        self.pid()?;
        // It may end before the command that ended it has answered.
        let _ = self.run(&["systemctl", "poweroff"]).await;
        if let Some(first) = &self.first {
            let ended = tokio::time::timeout(SOON, first.wait()).await;
            let _ = ended.with_context(|| format!("{} does not shut down", self.name))?;
        }
        self.first = None;
        Ok(())
    }

    /// A power cut: all that runs is gone at once. The disk stays as it is.
    ///
    /// # Errors
    /// If it is not running.
    pub fn crash(&mut self) -> Result<()> {
        self.pid()?;
        self.end();
        Ok(())
    }

    /// Takes its link off the wire. It stays off over a boot.
    ///
    /// # Errors
    /// If it is not running.
    pub fn cut(&mut self) -> Result<()> {
        self.set_link(true)
    }

    /// Puts its link on the wire again.
    ///
    /// # Errors
    /// If it is not running.
    pub fn join(&mut self) -> Result<()> {
        self.set_link(false)
    }

    fn set_link(&mut self, is_cut: bool) -> Result<()> {
        self.pid()?;
        let state = if is_cut { "down" } else { "up" };
        self.wire.ip(&format!("link set {} {state}", self.link()))?;
        self.is_cut = is_cut;
        Ok(())
    }

    /// The other end of its link, on the wire.
    fn link(&self) -> String {
        format!("host{}", self.address.octets()[3])
    }

    fn leader(&self) -> PathBuf {
        self.folder.join("leader")
    }

    fn end(&mut self) {
        let Some(first) = self.first.take() else { return };
        let pid = fs::read_to_string(self.leader()).ok().and_then(|pid| pid.trim().parse().ok());
        if let Some(pid) = pid
            && first.exit().is_none()
        {
            // It ends when all in it has ended, and only then does the process that waits for it.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            let end = Instant::now() + Duration::from_secs(10);
            while first.exit().is_none() && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        first.kill();
    }

    /// What becomes its first process.
    fn first_words(&self) -> Vec<String> {
        let cgroup = self.cgroup.folder().display().to_string();
        let init = self.cgroup.init().display().to_string();
        let state = if self.is_cut { "down" } else { "up" };
        let words = |text: &str| text.split_whitespace().map(String::from).collect::<Vec<_>>();
        // A namespace of cgroups begins where a process is that makes it, and that is no place to stay in.
        let mut all = ["/bin/sh", "-c", ENTER, "enter", &cgroup].map(String::from).to_vec();
        all.extend(words("unshare --cgroup /bin/sh -c"));
        all.extend([ENTER, "enter", &init].map(String::from));
        all.extend(words(
            "unshare --mount --net --pid --ipc --uts --fork --kill-child=KILL \
             --propagation private /bin/sh",
        ));
        all.extend(
            [self.folder.join("start.sh"), self.folder.clone(), self.lower.clone()]
                .map(|path| path.display().to_string()),
        );
        all.extend([self.name.clone(), self.address.to_string(), self.wire.path()]);
        all.extend([self.link(), state.to_owned(), BOUNDING_SET.to_owned()]);
        all
    }

    /// A process of the machine with these words.
    fn spec(&self, name: String, words: Vec<String>, log: &str) -> Spec {
        let mut words = words.into_iter();
        Spec {
            name,
            program: words.next().unwrap_or_default().into(),
            args: words.collect(),
            env: BTreeMap::from([("PATH".to_owned(), machine::PATH.to_owned())]),
            inherit_env: false,
            folder: None,
            log: self.folder.join("logs").join(log),
        }
    }
}

/// Gives a file its mode, whatever the mask of this process: on the disk of a host, everybody there must read it.
fn readable(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .with_context(|| format!("making {} readable", path.display()))
}

impl Drop for Host {
    fn drop(&mut self) {
        self.end();
    }
}
