//! A cluster leaves nothing behind on the machine, however it ends, and says what a machine lacks.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use lapse_e2e::plane::{SOON, eventually};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

/// What nodes and their parts make where they are not told otherwise.
const PLACES: [&str; 7] = [
    "/etc/cni",
    "/opt/containerd",
    "/run/containerd",
    "/run/netns",
    "/usr/libexec/kubernetes",
    "/var/lib/kubelet",
    "/var/log/pods",
];

/// How long a cluster may take to start that builds its images first, beside another one.
const STARTING: Duration = Duration::from_mins(15);

/// The cgroups below a folder that have these words in their name.
fn cgroups(folder: &Path, words: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if entry.file_name().to_string_lossy().contains(words) {
                found.push(entry.path().display().to_string());
            }
            found.extend(cgroups(&entry.path(), words));
        }
    }
    found
}

/// The processes whose cgroup has these words in its name.
fn processes(words: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let inside = entries.filter(|entry| {
        fs::read_to_string(entry.path().join("cgroup")).is_ok_and(|text| text.contains(words))
    });
    inside.map(|entry| entry.path().display().to_string()).collect()
}

#[tokio::test]
async fn a_cluster_that_is_killed_leaves_nothing_behind() {
    let before = PLACES.map(|place| Path::new(place).exists());
    let mut playground = Command::new(env!("CARGO_BIN_EXE_playground"))
        .args(["--node", "--no-examples"])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let pid = playground.id().unwrap();
    let words = format!("lapse-{pid}-");
    let mut steps = BufReader::new(playground.stderr.take().unwrap()).lines();
    let installing = async {
        while let Some(step) = steps.next_line().await.unwrap() {
            if step.starts_with("installing") {
                return true;
            }
        }
        false
    };
    assert!(tokio::time::timeout(STARTING, installing).await.unwrap(), "it ended before");
    let root = Path::new("/sys/fs/cgroup");
    assert!(!cgroups(root, &words).is_empty() && !processes(&words).is_empty());
    // The number of a process that this test has started and not waited for is nobody else's.
    kill(Pid::from_raw(pid.try_into().unwrap()), Signal::SIGKILL).unwrap();
    playground.wait().await.unwrap();
    eventually("all of it to be gone", SOON, async || {
        Ok((cgroups(root, &words).is_empty() && processes(&words).is_empty()).then_some(()))
    })
    .await
    .unwrap();
    let after = PLACES.map(|place| Path::new(place).exists());
    assert_eq!(after, before, "{PLACES:?}");
}

#[tokio::test]
async fn who_is_not_root_is_told_so() {
    // In a namespace of users that has none: whoever is in there is nobody.
    let playground = env!("CARGO_BIN_EXE_playground");
    let run = Command::new("unshare").args(["--user", playground, "--node"]).output().await;
    let run = run.unwrap();
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(!run.status.success());
    assert!(said.contains("cannot carry nodes: this process is not root"), "{said}");
}
