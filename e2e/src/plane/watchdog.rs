//! Nothing that this process starts may outlive it, however it ends.
//!
//! `Drop` does not run when a process is killed, nor for statics when a test binary ends, and the
//! kernel's parent-death signal is Linux's alone and goes by thread. So a shell waits for the other
//! end of a pipe to close, which the kernel does in every case, and then kills what is left. It has
//! a process group of its own, so that Ctrl-C in the terminal does not reach it.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::{Context, Result, anyhow};

/// Lines: `+GROUP` and `-GROUP` for process groups, `/PATH` for a folder to remove at the end, `=PATH` for a cgroup,
/// which can be removed once its processes are gone.
const SCRIPT: &str = r#"
trap '' INT TERM HUP QUIT
groups= cgroups=
while IFS= read -r line; do
  case $line in
    +*) groups="$groups ${line#+}" ;;
    -*) rest=
        for group in $groups; do [ "$group" = "${line#-}" ] || rest="$rest $group"; done
        groups=$rest ;;
    /*) set -- "$@" "$line" ;;
    =*) cgroups="$cgroups ${line#=}" ;;
  esac
done
for group in $groups; do kill -s KILL -- "-$group" 2>/dev/null; done
for cgroup in $cgroups; do
  tries=0
  while [ -d "$cgroup" ] && [ $tries -lt 100 ]; do
    find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.1
    tries=$((tries + 1))
  done
done
[ $# -eq 0 ] && exit 0
rm -rf -- "$@" 2>/dev/null || { sleep 1; rm -rf -- "$@"; }
"#;

static WATCHDOG: OnceLock<Mutex<Child>> = OnceLock::new();

/// Has the process group killed when this process ends.
pub(super) fn guard_group(group: u32) -> Result<()> {
    tell(&format!("+{group}\n"))
}

/// The process group has ended; its number may soon be somebody else's.
pub(super) fn release_group(group: u32) {
    // Without a watchdog nothing was guarded.
    let _ = tell(&format!("-{group}\n"));
}

/// Has the folder removed when this process ends; the path must be absolute.
pub(super) fn guard_folder(folder: &Path) -> Result<()> {
    let path = folder.to_str().filter(|path| path.starts_with('/') && !path.contains('\n'));
    let path = path.with_context(|| format!("{} cannot be guarded", folder.display()))?;
    tell(&format!("{path}\n"))
}

/// Has the cgroup removed when this process ends, with all below it.
pub(crate) fn guard_cgroup(folder: &Path) -> Result<()> {
    let path = folder.to_str().filter(|path| !path.contains(char::is_whitespace));
    let path = path.with_context(|| format!("{} cannot be guarded", folder.display()))?;
    tell(&format!("={path}\n"))
}

fn tell(message: &str) -> Result<()> {
    let watchdog = if let Some(watchdog) = WATCHDOG.get() {
        watchdog
    } else {
        let started = start()?;
        // Of two threads that come here at once one loses, and its watchdog ends with its pipe.
        WATCHDOG.get_or_init(|| Mutex::new(started))
    };
    let mut watchdog = watchdog.lock().unwrap_or_else(PoisonError::into_inner);
    let pipe = watchdog.stdin.as_mut().ok_or_else(|| anyhow!("the watchdog has no pipe"))?;
    pipe.write_all(message.as_bytes()).context("telling the watchdog what to guard")
}

fn start() -> Result<Child> {
    Command::new("/bin/sh")
        .args(["-c", SCRIPT, "lapse-watchdog"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .current_dir("/")
        .spawn()
        .context("starting the watchdog, /bin/sh")
}
