//! A machine of its own: another kernel, and clocks that may be set. It is emulated, so that it takes no right of this
//! machine's kernel, and starts in some twenty seconds.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use lapse_e2e::host::{GATEWAY, Release, Root, package};
use lapse_e2e::plane::{Answer, Process, SOON, Spec, eventually, free_port, workspace};
use lapse_images::cargo::output;
use tempfile::TempDir;

const EMULATOR: &str = "qemu-system-x86_64";

/// What it takes beside what hosts take.
const PROGRAMS: [&str; 5] = [EMULATOR, "mke2fs", "ssh", "ssh-keygen", "dpkg-deb"];

/// Of the kernel, in the order in which they need one another: its disk and its network.
const MODULES: [&str; 9] = [
    "drivers/virtio/virtio_ring",
    "drivers/virtio/virtio",
    "drivers/virtio/virtio_pci_legacy_dev",
    "drivers/virtio/virtio_pci_modern_dev",
    "drivers/virtio/virtio_pci",
    "drivers/block/virtio_blk",
    "net/core/failover",
    "drivers/net/net_failover",
    "drivers/net/virtio_net",
];

const INIT: &str = r"#!/bin/busybox sh
b=/bin/busybox
$b mount -t devtmpfs dev /dev
while read -r module; do $b insmod /modules/$module; done </modules/list
until [ -b /dev/vda ]; do $b sleep 0.05; done
$b mount -t ext4 /dev/vda /root
$b mount -o move /dev /root/dev
exec $b switch_root /root /sbin/init
";

/// There is no udev in it that would tell systemd of devices.
const NETWORK: &str = "[Unit]\nDefaultDependencies=no\nBefore=network.target\n[Service]\nType=oneshot\n\
    ExecStart=/bin/sh -c 'ip link set eth0 up; ip address add 10.77.0.15/24 dev eth0'\n";

pub(crate) struct Machine {
    emulator: Option<Process>,
    folder: TempDir,
    kernel: PathBuf,
    port: u16,
}

impl Machine {
    /// Starts one with Debian 12 and the agent's package, and waits until it can be reached.
    pub(crate) async fn start() -> Result<Self> {
        let missing: Vec<&str> =
            PROGRAMS.into_iter().filter(|program| !is_there(program)).collect();
        ensure!(
            missing.is_empty(),
            "there is no {}: apt-get install qemu-system-x86 e2fsprogs openssh-client",
            missing.join(", no ")
        );
        let root = Root::ready(Release::Debian12).await?;
        let kernel = kernel()?;
        let folder = tempfile::tempdir().context("making a folder")?;
        let disk = folder.path().join("root");
        output(Command::new("cp").arg("--archive").arg(root.folder()).arg(&disk))?;
        let key = folder.path().join("key");
        output(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key))?;
        let units = "etc/systemd/system";
        fs::create_dir_all(disk.join("root/.ssh"))?;
        fs::set_permissions(disk.join("root/.ssh"), fs::Permissions::from_mode(0o700))?;
        fs::create_dir_all(disk.join(units).join("sysinit.target.wants"))?;
        fs::copy(folder.path().join("key.pub"), disk.join("root/.ssh/authorized_keys"))?;
        fs::copy(package().await?, disk.join("root/lapse-agent.deb"))?;
        fs::write(disk.join(units).join("wire.service"), NETWORK)?;
        let enabled = disk.join(units).join("sysinit.target.wants/wire.service");
        std::os::unix::fs::symlink("../wire.service", enabled)?;
        // Nobody would say that its device is there, and systemd would wait for it.
        let console = disk.join(units).join("serial-getty@ttyS0.service");
        std::os::unix::fs::symlink("/dev/null", console)?;
        let image = folder.path().join("disk");
        output(
            Command::new("mke2fs")
                .args(["-q", "-t", "ext4", "-d"])
                .arg(&disk)
                .arg(&image)
                .arg("1500M"),
        )?;
        fs::remove_dir_all(&disk)?;

        let mut machine = Self { emulator: None, folder, kernel, port: free_port()? };
        machine.boot("utc").await?;
        machine.sh("groupadd ops && dpkg --install /root/lapse-agent.deb").await?;
        Ok(machine)
    }

    /// Starts it with this clock (`-rtc base=` of qemu), from the disk as it is.
    pub(crate) async fn boot(&mut self, clock: &str) -> Result<()> {
        let at = |name: &str| self.folder.path().join(name).display().to_string();
        // This machine has the address by which hosts know the gateway.
        let wire = format!(
            "user,model=virtio-net-pci,net={GATEWAY}/24,host={GATEWAY},hostfwd=tcp:127.0.0.1:{}-10.77.0.15:22",
            self.port
        );
        let args = [
            ["-accel", "tcg"],
            ["-m", "512"],
            ["-rtc", &format!("base={clock}")],
            ["-kernel", &self.kernel.join("vmlinuz").display().to_string()],
            ["-initrd", &self.kernel.join("initrd").display().to_string()],
            ["-append", "console=ttyS0 root=/dev/vda rw net.ifnames=0"],
            ["-drive", &format!("file={},if=virtio,format=raw", at("disk"))],
            ["-nic", &wire],
            ["-serial", "stdio"],
            ["-display", "none"],
            ["-monitor", "none"],
        ];
        let spec = Spec {
            name: "machine".into(),
            program: EMULATOR.into(),
            args: args.as_flattened().iter().map(|arg| (*arg).to_owned()).collect(),
            env: [].into(),
            inherit_env: true,
            folder: None,
            log: self.folder.path().join("console"),
        };
        self.emulator = Some(Process::spawn(spec)?);
        let up = eventually("the machine to start", SOON, async || {
            Ok(self.run("true").await?.success().then_some(()))
        });
        let console = || fs::read_to_string(self.folder.path().join("console"));
        up.await.with_context(|| console().unwrap_or_default())
    }

    /// Takes its power away. What was not written to its disk is lost.
    pub(crate) fn cut_power(&mut self) {
        drop(self.emulator.take());
    }

    /// What a script says that root runs in it.
    pub(crate) async fn sh(&self, script: &str) -> Result<String> {
        self.run(script).await?.ok()
    }

    /// What alice is told by a script.
    pub(crate) async fn as_alice(&self, script: &str) -> Result<Answer> {
        self.run(&format!("su --login alice --command '{script}'")).await
    }

    async fn run(&self, script: &str) -> Result<Answer> {
        let (key, port) = (self.folder.path().join("key"), self.port.to_string());
        let mut ssh = tokio::process::Command::new("ssh");
        ssh.args(["-q", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]);
        ssh.args(["-o", "ConnectTimeout=10", "-o", "BatchMode=yes", "-i"]).arg(key);
        ssh.args(["-p", &port, "root@127.0.0.1", script]).kill_on_drop(true);
        let Ok(done) = tokio::time::timeout(SOON, ssh.output()).await else {
            bail!("`{script}` did not end")
        };
        let done = done.context("starting ssh")?;
        Ok(Answer {
            command: script.to_owned(),
            status: done.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&done.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&done.stderr).into_owned(),
        })
    }
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin".into(), "/sbin".into()];
    std::env::split_paths(&path).chain(more).any(|folder| folder.join(program).is_file())
}

/// A folder with Debian's kernel for virtual machines, and what it starts first. Made once.
fn kernel() -> Result<PathBuf> {
    let made = workspace::target().join("hosts").join("kernel");
    if made.is_dir() {
        return Ok(made);
    }
    let work =
        tempfile::tempdir_in(workspace::target().join("hosts")).context("making a folder")?;
    let depends = output(Command::new("apt-cache").args(["depends", "linux-image-cloud-amd64"]))?;
    let image = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
    let image = image.context("linux-image-cloud-amd64 depends on no kernel")?;
    let mut fetch = Command::new("apt-get");
    fetch.args([
        "--option",
        "APT::Sandbox::User=root",
        "--quiet",
        "download",
        "busybox-static",
        image,
    ]);
    output(fetch.current_dir(work.path()))?;
    let unpacked = work.path().join("unpacked");
    for file in
        files(work.path())?.iter().filter(|file| file.extension().is_some_and(|end| end == "deb"))
    {
        output(Command::new("dpkg-deb").arg("--extract").arg(file).arg(&unpacked))?;
    }
    let first = work.path().join("first");
    for folder in ["bin", "modules", "dev", "root"] {
        fs::create_dir_all(first.join(folder))?;
    }
    let busybox = first.join("bin/busybox");
    fs::copy(unpacked.join("bin/busybox"), &busybox)?;
    let version = image.trim_start_matches("linux-image-");
    let modules = unpacked.join("lib/modules").join(version).join("kernel");
    let mut list = String::new();
    for module in MODULES {
        let name = format!("{}.ko", module.rsplit('/').next().unwrap_or(module));
        fs::copy(modules.join(format!("{module}.ko")), first.join("modules").join(&name))?;
        list = format!("{list}{name}\n");
    }
    fs::write(first.join("modules/list"), list)?;
    fs::write(first.join("init"), INIT)?;
    fs::set_permissions(first.join("init"), fs::Permissions::from_mode(0o755))?;
    let result = work.path().join("result");
    fs::create_dir(&result)?;
    let pack =
        format!("find . | {} cpio -o -H newc >{}/initrd", busybox.display(), result.display());
    output(Command::new("sh").args(["-c", &pack]).current_dir(&first))?;
    fs::copy(unpacked.join(format!("boot/vmlinuz-{version}")), result.join("vmlinuz"))?;
    // Another process may have been quicker: one is as good as the other.
    let renamed = fs::rename(&result, &made);
    ensure!(made.is_dir(), "making {}: {renamed:?}", made.display());
    Ok(made)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?;
    Ok(entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?)
}
