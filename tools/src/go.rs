//! Building programs from the Go modules of this workspace.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::lock::lock;
use crate::module::Module;
use crate::progress::{Jobs, line};
use crate::tail::Tail;
use crate::tool::{Tool, names};

/// The job's name.
const JOB: &str = "Go";

/// How much of what it says an error shows.
const TAIL_LINES: usize = 20;

/// The toolchain, and the module that it builds from.
#[derive(Clone, Debug)]
pub(crate) struct Go {
    /// The command.
    pub(crate) program: PathBuf,
    pub(crate) module: Module,
    /// The folder of the module.
    pub(crate) sources: PathBuf,
}

impl Go {
    /// Builds these programs into a folder, all by one command: linking takes one core each, and others compile meanwhile.
    pub(crate) async fn build(&self, folder: &Path, tools: &[Tool], jobs: &Jobs) -> Result<()> {
        if tools.is_empty() {
            return Ok(());
        }
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        let _lock = lock(&folder.with_extension("lock")).await?;
        // Another process may have built them while this one waited.
        let missing = tools.iter().copied().filter(|tool| !folder.join(tool.name()).is_file());
        let missing: Vec<Tool> = missing.collect();
        if missing.is_empty() {
            return Ok(());
        }
        let version = self.command(&["version"]).output().await;
        ensure!(version.is_ok_and(|output| output.status.success()), no_go(&missing));
        let names = names(&missing);
        line(&format!("Building {names} from source. This happens once and takes some minutes."));
        let began = Instant::now();
        let built = self.build_now(folder, &missing, jobs).await;
        jobs.done(JOB);
        built.with_context(|| format!("building {names}"))?;
        line(&format!("Built {names} in {} s.", began.elapsed().as_secs()));
        Ok(())
    }

    async fn build_now(&self, folder: &Path, tools: &[Tool], jobs: &Jobs) -> Result<()> {
        let manifest = fs::read_to_string(self.sources.join("go.mod")).context("reading go.mod")?;
        let flags = self.module.linker_flags(&manifest)?;
        let tags = ["-tags", self.module.build_tags()];
        let packages = tools.iter().map(|tool| tool.package()).collect::<Vec<_>>();
        jobs.say(JOB, "fetching modules".to_owned());
        let total = self.count(&[&["list", "-deps"][..], &tags, &packages].concat()).await?;
        // In a folder beside, so that an interrupted build leaves nothing that looks complete.
        let work = folder.join(".building");
        fs::create_dir_all(&work).with_context(|| format!("making {}", work.display()))?;
        let output = format!("{}/", work.display());
        let flags = ["-v", "-trimpath", "-buildvcs=false", "-ldflags", &flags, "-o", &output];
        let args = [&["build"][..], &tags, &flags, &packages].concat();
        self.compile(&args, total, jobs).await?;
        for tool in tools {
            let name = tool.name();
            fs::rename(work.join(name), folder.join(name))
                .with_context(|| format!("putting {name} in place"))?;
        }
        Ok(())
    }

    /// How many packages a build consists of.
    async fn count(&self, args: &[&str]) -> Result<usize> {
        let output = self.command(args).output().await.context("starting go")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "go list failed: {}", said.trim());
        Ok(String::from_utf8_lossy(&output.stdout).lines().count())
    }

    /// Runs a build, and says how far it is: `-v` names each package that is compiled.
    async fn compile(&self, args: &[&str], total: usize, jobs: &Jobs) -> Result<()> {
        let mut command = self.command(args);
        let mut child =
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().context("starting go")?;
        let stderr = child.stderr.take().context("reading what go says")?;
        let (mut lines, mut compiled, mut tail) =
            (BufReader::new(stderr).lines(), 0, Tail::new(TAIL_LINES));
        while let Some(said) = lines.next_line().await.context("reading what go says")? {
            if is_package(&said) {
                compiled += 1;
                // What earlier builds compiled is not named.
                jobs.say(JOB, format!("{compiled} of {total} packages"));
            } else {
                tail.push(said);
            }
        }
        let status = child.wait().await.context("waiting for go")?;
        ensure!(status.success(), "go build failed: {}", tail.text());
        Ok(())
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(args)
            .current_dir(&self.sources)
            .env("CGO_ENABLED", "0")
            .env("GOWORK", "off")
            .stdin(Stdio::null())
            // It stays in this process group: Ctrl-C reaches it, too.
            .kill_on_drop(true);
        command
    }
}

/// Whether a line of a build names a package, and says nothing else.
fn is_package(line: &str) -> bool {
    !line.is_empty() && !line.contains([' ', ':', '\t'])
}

fn no_go(missing: &[Tool]) -> String {
    let names = names(missing);
    format!(
        "{names} must be built from source, and there is no Go toolchain: `go` is not in PATH. Install Go 1.26 or newer \
         (https://go.dev/dl/), or set KUBEBUILDER_ASSETS to a folder that has {names}."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_without_go_says_what_to_do() {
        let message = no_go(&[Tool::Helm]);
        assert!(
            message.contains("go.dev/dl") && message.contains("KUBEBUILDER_ASSETS"),
            "{message}"
        );
    }

    #[test]
    fn packages_are_told_from_the_rest() {
        assert!(is_package("k8s.io/apimachinery/pkg/util/sets"));
        assert!(is_package("vendor/golang.org/x/net/idna"));
        for other in ["go: downloading k8s.io/api v0.36.3", "# k8s.io/api", "x.go:3:1: no", ""] {
            assert!(!is_package(other), "{other}");
        }
    }
}
