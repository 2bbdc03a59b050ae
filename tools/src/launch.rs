//! Building a program of this workspace side by side with the control plane that it starts: the one in Rust, the other in Go.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::origin::Origin;
use crate::programs;
use crate::progress::Jobs;
use crate::tools::Tools;

/// What the programs that are launched start beside the control plane, or give to people.
const COMPONENTS: [&str; 3] = ["lapse-controller", "lapse-webhook", "kubectl-jit"];

/// Asks for nodes, which consist of more programs. They are built, so all of the cluster is: it is of one release then.
const NODE: &str = "--node";

/// How programs are asked what they take.
const HELP: [&str; 2] = ["--help", "-h"];

/// What comes of launching a program.
#[derive(Debug, PartialEq, Eq)]
pub enum Launched {
    /// It is ready to be started.
    Ready(PathBuf),
    /// It is asked what it takes, and not built yet: what is known meanwhile.
    Usage(String),
}

/// Builds a program, and what it will start when it is given these arguments. What it takes it says itself, without any of
/// that, if it was built before.
///
/// The two builds share the processors as the system divides them: neither has priority, as either can be the last to end.
///
/// # Errors
/// If something cannot be built.
pub async fn launched(program: &str, args: &[impl AsRef<OsStr>]) -> Result<Launched> {
    if args.iter().any(|arg| HELP.iter().any(|help| arg.as_ref() == *help)) {
        let this = std::env::current_exe().context("finding the folder of the programs")?;
        return Ok(asked(program, &this.with_file_name(program)));
    }
    let jobs = Jobs::default();
    let nodes = args.iter().any(|arg| arg.as_ref() == NODE);
    let wanted = [&[program][..], &COMPONENTS].concat();
    let origin = if nodes { Origin::Source } else { Origin::Published };
    let go = Tools::beside(&jobs, nodes, origin);
    let rust = programs::build_beside(&jobs, &wanted);
    let (_, mut built) = jobs.show(async { tokio::try_join!(go, rust) }).await?;
    built
        .remove(program)
        .map(Launched::Ready)
        .with_context(|| format!("there is no program {program}"))
}

/// What a program takes, by itself if it lies there.
fn asked(program: &str, file: &Path) -> Launched {
    if file.is_file() {
        return Launched::Ready(file.to_owned());
    }
    Launched::Usage(format!(
        "Usage: cargo {program} [OPTIONS]\n\n\
         What it does is in README.md, \"See it work\". Its options it says itself, and it is not built yet: `cargo {program}` \
         builds it with {}, and downloads or builds the control plane (CONTRIBUTING.md, \"The control plane\"). That takes some \
         minutes.",
        COMPONENTS.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_takes_is_said_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("playground");
        let Launched::Usage(told) = asked("playground", &file) else { panic!("it is not there") };
        assert!(told.starts_with("Usage: cargo playground [OPTIONS]\n\nWhat it does"), "{told}");
        std::fs::write(&file, "").unwrap();
        assert_eq!(asked("playground", &file), Launched::Ready(file));
    }

    #[tokio::test]
    async fn nothing_is_built_for_whoever_asks() {
        for help in HELP {
            let told = launched("no-such-program", &["--controllers", "2", help]).await.unwrap();
            assert!(matches!(told, Launched::Usage(_)), "{told:?}");
        }
    }
}
