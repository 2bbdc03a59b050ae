//! The programs that make up a control plane: found, or built once from `e2e/controlplane/`.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use super::module::Module;
use super::process::{Process, Spec};
use super::progress::{Ticker, line};
use super::workspace;

/// A folder with ready programs, as every test environment for operators understands it.
const ASSETS: &str = "KUBEBUILDER_ASSETS";

/// The programs of a control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tool {
    /// The store.
    Etcd,
    /// The API server.
    KubeApiserver,
    /// Garbage collection, namespaces, service accounts, aggregated roles.
    KubeControllerManager,
    /// The command line client.
    Kubectl,
    /// The installer of charts.
    Helm,
    /// What tools that wait make of an object.
    Kstatus,
    /// What Flux and Argo CD make of objects.
    Gitops,
    /// What runs pods on a node.
    Kubelet,
    /// What makes Services reachable on a node.
    KubeProxy,
    /// What says on which node a pod runs.
    KubeScheduler,
    /// What checks metrics and alerts.
    Promtool,
}

impl Tool {
    /// Those of a control plane, in the order in which they are built.
    pub const PLANE: [Self; 6] = [
        Self::Etcd,
        Self::KubeApiserver,
        Self::KubeControllerManager,
        Self::Kubectl,
        Self::Helm,
        Self::Kstatus,
    ];

    /// What nodes need beside them.
    pub const NODES: [Self; 3] = [Self::Kubelet, Self::KubeProxy, Self::KubeScheduler];

    /// The name of its file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::KubeApiserver => "kube-apiserver",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::Kubectl => "kubectl",
            Self::Helm => "helm",
            Self::Kstatus => "kstatus",
            Self::Gitops => "gitops",
            Self::Kubelet => "kubelet",
            Self::KubeProxy => "kube-proxy",
            Self::KubeScheduler => "kube-scheduler",
            Self::Promtool => "promtool",
        }
    }

    fn package(self) -> &'static str {
        match self {
            Self::Etcd => "./etcd",
            Self::KubeApiserver => "k8s.io/kubernetes/cmd/kube-apiserver",
            Self::KubeControllerManager => "k8s.io/kubernetes/cmd/kube-controller-manager",
            Self::Kubectl => "./kubectl",
            Self::Helm => "helm.sh/helm/v4/cmd/helm",
            Self::Kstatus => "./kstatus",
            Self::Gitops => "./gitops",
            Self::Kubelet => "k8s.io/kubernetes/cmd/kubelet",
            Self::KubeProxy => "k8s.io/kubernetes/cmd/kube-proxy",
            Self::KubeScheduler => "k8s.io/kubernetes/cmd/kube-scheduler",
            Self::Promtool => "github.com/prometheus/prometheus/cmd/promtool",
        }
    }
}

/// Where each program lies.
#[derive(Clone, Debug)]
pub struct Tools(BTreeMap<Tool, PathBuf>);

impl Tools {
    /// Finds the programs of a control plane, and builds those that are missing. The first time that takes minutes.
    ///
    /// # Errors
    /// If there is neither a Go toolchain nor a folder of ready programs.
    pub async fn ready() -> Result<Self> {
        Self::all_of(Module::ControlPlane, &Tool::PLANE).await
    }

    /// The same, with those of nodes.
    pub async fn with_nodes() -> Result<Self> {
        Self::all_of(Module::ControlPlane, &[&Tool::PLANE[..], &Tool::NODES].concat()).await
    }

    /// promtool alone.
    pub async fn promtool() -> Result<Self> {
        Self::all_of(Module::Promtool, &[Tool::Promtool]).await
    }

    /// Only what Flux and Argo CD are made of: most control planes need none of it.
    ///
    /// # Errors
    /// As for [`Tools::ready`].
    pub async fn gitops() -> Result<Self> {
        Self::all_of(Module::ControlPlane, &[Tool::Gitops]).await
    }

    async fn all_of(module: Module, tools: &[Tool]) -> Result<Self> {
        let assets = std::env::var_os(ASSETS).map(PathBuf::from).unwrap_or_default();
        let sources = workspace::root().join(module.folder());
        let fingerprint = fingerprint(&sources, module.sources())?;
        let built = workspace::target().join("controlplane").join(fingerprint);
        let places = [assets, built.clone()];
        let missing = match locate(tools, &places) {
            Ok(found) => return Ok(Self(found)),
            Err(missing) => missing,
        };
        build(module, &sources, &built, &missing).await?;
        locate(tools, &places).map(Self).map_err(|missing| {
            let names: Vec<_> = missing.iter().map(|tool| tool.name()).collect();
            anyhow::anyhow!("{} did not come out of the build", names.join(", "))
        })
    }

    /// The program's file.
    #[must_use]
    pub fn path(&self, tool: Tool) -> &Path {
        self.0.get(&tool).map_or_else(|| Path::new(tool.name()), PathBuf::as_path)
    }

    /// Makes a folder in which all of them lie under their own names.
    pub(super) fn link_into(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        for (tool, path) in &self.0 {
            let link = folder.join(tool.name());
            if link.symlink_metadata().is_ok() {
                fs::remove_file(&link).with_context(|| format!("replacing {}", link.display()))?;
            }
            std::os::unix::fs::symlink(path, &link)
                .with_context(|| format!("linking {}", link.display()))?;
        }
        Ok(())
    }
}

/// These programs, each from the first folder that has it; or those that none has.
fn locate(tools: &[Tool], places: &[PathBuf]) -> Result<BTreeMap<Tool, PathBuf>, Vec<Tool>> {
    let find = |tool: Tool| {
        let mut candidates = places.iter().map(|place| place.join(tool.name()));
        candidates.find(|path| path.is_absolute() && path.is_file())
    };
    let found: BTreeMap<_, _> =
        tools.iter().filter_map(|&tool| Some((tool, find(tool)?))).collect();
    let missing: Vec<_> = tools.iter().copied().filter(|tool| !found.contains_key(tool)).collect();
    if missing.is_empty() { Ok(found) } else { Err(missing) }
}

/// Names a build by all that goes into it.
fn fingerprint(sources: &Path, names: &[&str]) -> Result<String> {
    let mut hash = Sha256::new();
    for name in names {
        let path = sources.join(name);
        let content = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        hash.update(name);
        hash.update([0]);
        hash.update(content);
        hash.update([0]);
    }
    let digest = hash.finalize();
    let leading = digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte));
    Ok(format!("{leading:016x}"))
}

async fn build(module: Module, sources: &Path, folder: &Path, missing: &[Tool]) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let _lock = lock(&folder.with_extension("lock")).await?;
    // Another process may have built them while this one waited.
    let missing: Vec<Tool> =
        missing.iter().copied().filter(|tool| !folder.join(tool.name()).is_file()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let (go, proof) = ("go", "version");
    let version = std::process::Command::new(go).arg(proof).output();
    ensure!(version.is_ok_and(|output| output.status.success()), no_go(&missing));
    let manifest = fs::read_to_string(sources.join("go.mod")).context("reading go.mod")?;
    let flags = module.linker_flags(&manifest)?;
    let flags = ["-trimpath", "-buildvcs=false", "-tags", module.build_tags(), "-ldflags", &flags];
    line("Building programs for the tests from source. This happens once and takes some minutes.");
    let began = Instant::now();
    for (index, tool) in missing.iter().enumerate() {
        let position = format!("{} of {}", index + 1, missing.len());
        build_one(sources, folder, *tool, &flags, &position).await?;
    }
    line(&format!("Built in {} s.", began.elapsed().as_secs()));
    Ok(())
}

async fn build_one(
    sources: &Path,
    folder: &Path,
    tool: Tool,
    flags: &[&str],
    position: &str,
) -> Result<()> {
    let name = tool.name();
    // In a folder beside, so that an interrupted build leaves nothing that looks complete.
    let work = folder.join(".building");
    fs::create_dir_all(&work).with_context(|| format!("making {}", work.display()))?;
    let (output, log) = (work.join(name), work.join(format!("{name}.log")));
    let args = ["build"].iter().chain(flags).chain(&["-o"]);
    let mut args: Vec<String> = args.map(ToString::to_string).collect();
    args.push(output.display().to_string());
    args.push(tool.package().to_owned());
    let env = [("CGO_ENABLED", "0"), ("GOWORK", "off")];
    let process = Process::spawn(Spec {
        name: format!("the build of {name}"),
        program: "go".into(),
        args,
        env: env.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        inherit_env: true,
        folder: Some(sources.to_owned()),
        log: log.clone(),
    })?;
    let began = Instant::now();
    let mut ticker = Ticker::new();
    let status = loop {
        let seconds = began.elapsed().as_secs();
        ticker.update(&format!("  building {name} ({position}), {seconds} s"));
        if let Ok(status) = tokio::time::timeout(Duration::from_secs(1), process.wait()).await {
            break status?;
        }
    };
    ensure!(status.success(), "building {name} failed{}", process.tail());
    fs::rename(&output, folder.join(name)).with_context(|| format!("putting {name} in place"))?;
    let _ = fs::remove_file(log);
    ticker.finish(&format!("  built {name} ({position}) in {} s", began.elapsed().as_secs()));
    Ok(())
}

/// Waits for the lock without blocking the runtime; it is released when the file is dropped.
pub(crate) async fn lock(path: &Path) -> Result<File> {
    let file = File::create(path).with_context(|| format!("making {}", path.display()))?;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("locking {}", path.display()));
            }
        }
        if !told {
            line("Waiting for another process that makes the same.");
            told = true;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn no_go(missing: &[Tool]) -> String {
    let names: Vec<_> = missing.iter().map(|tool| tool.name()).collect();
    format!(
        "{} must be built from source, and there is no Go toolchain: `go` is not in PATH. Install \
         Go 1.26 or newer (https://go.dev/dl/), or set {ASSETS} to a folder that has {}.",
        names.join(", "),
        names.join(", "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_folder_takes_precedence() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for tool in Tool::PLANE {
            fs::write(second.path().join(tool.name()), "").unwrap();
        }
        let places = [first.path().to_owned(), second.path().to_owned()];
        fs::write(first.path().join("etcd"), "").unwrap();
        let found = locate(&Tool::PLANE, &places).unwrap();
        assert_eq!(found[&Tool::Etcd], first.path().join("etcd"));
        assert_eq!(found[&Tool::Helm], second.path().join("helm"));
        assert_eq!(locate(&Tool::PLANE, &places[..1]).unwrap_err(), Tool::PLANE[1..]);
    }

    #[test]
    fn the_message_without_go_says_what_to_do() {
        let message = no_go(&[Tool::Helm]);
        assert!(message.contains("go.dev/dl") && message.contains(ASSETS), "{message}");
    }

    #[test]
    fn the_fingerprint_follows_the_sources() {
        let folder = tempfile::tempdir().unwrap();
        let sources = Module::ControlPlane.sources();
        for name in sources {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        let before = fingerprint(folder.path(), sources).unwrap();
        assert_eq!(before, fingerprint(folder.path(), sources).unwrap());
        fs::write(folder.path().join("go.sum"), "changed").unwrap();
        assert_ne!(before, fingerprint(folder.path(), sources).unwrap());
    }
}
