//! Where each program of a control plane lies: found, downloaded, or built once from `e2e/controlplane/`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use sha2::{Digest, Sha256};

use crate::archive::Archive;
use crate::go::Go;
use crate::module::Module;
use crate::origin::Origin;
use crate::progress::{Jobs, line};
use crate::tool::{Tool, names};
use crate::workspace;

/// A folder with ready programs, as every test environment for operators understands it.
const ASSETS: &str = "KUBEBUILDER_ASSETS";

/// Where each program lies.
#[derive(Clone, Debug)]
pub struct Tools(BTreeMap<Tool, PathBuf>);

impl Tools {
    /// Finds the programs of a control plane, and gets those that are missing. The first time that takes minutes.
    ///
    /// # Errors
    /// If something must be built, and there is neither a Go toolchain nor a folder of ready programs.
    pub async fn ready(origin: Origin) -> Result<Self> {
        Self::shown(Module::ControlPlane, &Tool::PLANE, origin).await
    }

    /// The same, with those of nodes.
    ///
    /// # Errors
    /// As for [`Tools::ready`].
    pub async fn with_nodes(origin: Origin) -> Result<Self> {
        Self::shown(Module::ControlPlane, &with_nodes(), origin).await
    }

    /// promtool alone.
    ///
    /// # Errors
    /// As for [`Tools::ready`].
    pub async fn promtool() -> Result<Self> {
        Self::shown(Module::Promtool, &[Tool::Promtool], Origin::Source).await
    }

    /// Only what Flux and Argo CD are made of: most control planes need none of it.
    ///
    /// # Errors
    /// As for [`Tools::ready`].
    pub async fn gitops() -> Result<Self> {
        Self::shown(Module::ControlPlane, &[Tool::Gitops], Origin::Source).await
    }

    /// All that any test starts, by one command for each module: whoever runs all tests waits for it once, and none of them does.
    ///
    /// # Errors
    /// As for [`Tools::ready`].
    pub async fn everything() -> Result<()> {
        let plane = [with_nodes(), vec![Tool::Gitops]].concat();
        Self::shown(Module::ControlPlane, &plane, Origin::Source).await?;
        Self::promtool().await.map(drop)
    }

    /// As [`Tools::ready`] or [`Tools::with_nodes`], beside other jobs, which are shown with it.
    pub(crate) async fn beside(jobs: &Jobs, nodes: bool, origin: Origin) -> Result<Self> {
        let tools = if nodes { with_nodes() } else { Tool::PLANE.to_vec() };
        let places = Places::of(Module::ControlPlane, origin)?;
        places.get(&tools, jobs).await
    }

    async fn shown(module: Module, tools: &[Tool], origin: Origin) -> Result<Self> {
        let (places, jobs) = (Places::of(module, origin)?, Jobs::default());
        jobs.show(places.get(tools, &jobs)).await
    }

    /// The program's file.
    #[must_use]
    pub fn path(&self, tool: Tool) -> &Path {
        self.0.get(&tool).map_or_else(|| Path::new(tool.name()), PathBuf::as_path)
    }

    /// Makes a folder in which all of them lie under their own names.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn link_into(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        self.0.iter().try_for_each(|(tool, path)| link(path, &folder.join(tool.name())))
    }
}

/// Makes a link to a file, in place of whatever has its name.
///
/// # Errors
/// If its folder cannot be written.
pub fn link(file: &Path, link: &Path) -> Result<()> {
    if link.symlink_metadata().is_ok() {
        fs::remove_file(link).with_context(|| format!("replacing {}", link.display()))?;
    }
    std::os::unix::fs::symlink(file, link).with_context(|| format!("linking {}", link.display()))
}

fn with_nodes() -> Vec<Tool> {
    [&Tool::PLANE[..], &Tool::NODES].concat()
}

/// Where programs are looked for, and what makes those that are missing.
struct Places {
    /// A folder with ready programs.
    assets: Option<PathBuf>,
    /// The folder that keeps what was made.
    cache: PathBuf,
    /// The folder in it of what is built from these sources.
    built: PathBuf,
    /// What may be downloaded.
    archive: Option<Archive>,
    go: Go,
}

impl Places {
    fn of(module: Module, origin: Origin) -> Result<Self> {
        let sources = workspace::root().join(module.folder());
        let cache = workspace::target().join("controlplane");
        let built = cache.join(fingerprint(&sources, module.sources())?);
        let address = origin.address()?.filter(|_| module == Module::ControlPlane);
        let assets = assets(std::env::var_os(ASSETS))?;
        if let Some(missing) = assets.as_ref().filter(|folder| !folder.is_dir()) {
            line(&no_assets(missing));
        }
        Ok(Self {
            assets,
            archive: address.and_then(|address| Archive::pinned(&address)),
            cache,
            built,
            go: Go { program: "go".into(), module, sources },
        })
    }

    /// In the order in which they count. What was built comes before what was downloaded, which is an earlier patch release.
    fn folders(&self) -> Vec<PathBuf> {
        let downloaded = self.archive.as_ref().map(|archive| archive.folder(&self.cache));
        self.assets.iter().chain([&self.built]).cloned().chain(downloaded).collect()
    }

    async fn get(&self, tools: &[Tool], jobs: &Jobs) -> Result<Tools> {
        let missing = match locate(tools, &self.folders()) {
            Ok(found) => return Ok(Tools(found)),
            Err(missing) => missing,
        };
        let is_published = |tool: &Tool| self.archive.is_some() && Tool::PUBLISHED.contains(tool);
        let (published, rest): (Vec<_>, Vec<_>) = missing.into_iter().partition(is_published);
        let fetch = async {
            Ok::<_, anyhow::Error>(match &self.archive {
                Some(archive) if !published.is_empty() => archive.fetch(&self.cache, jobs).await,
                _ => Ok(()),
            })
        };
        // What is not published is built meanwhile.
        let build = self.go.build(&self.built, &rest, jobs);
        let (fetched, ()) = tokio::try_join!(fetch, build)?;
        if let Err(error) = fetched {
            let names = names(&published);
            line(&format!("{names} are built, as they cannot be downloaded: {error:#}."));
            self.go.build(&self.built, &published, jobs).await?;
        }
        locate(tools, &self.folders())
            .map(Tools)
            .map_err(|missing| anyhow!("{} did not come out of the build", names(&missing)))
    }
}

/// The folder that the environment names, from the current one on, as other tools read it.
fn assets(named: Option<OsString>) -> Result<Option<PathBuf>> {
    let named = named.filter(|named| !named.is_empty());
    named.map(std::path::absolute).transpose().with_context(|| format!("finding {ASSETS}"))
}

fn no_assets(folder: &Path) -> String {
    format!(
        "{ASSETS} names the folder {}, which is not there: nothing is taken from it.",
        folder.display()
    )
}

/// These programs, each from the first folder that has it; or those that none has.
fn locate(tools: &[Tool], places: &[PathBuf]) -> Result<BTreeMap<Tool, PathBuf>, Vec<Tool>> {
    let find = |tool: Tool| {
        let mut candidates = places.iter().map(|place| place.join(tool.name()));
        candidates.find(|path| path.is_file())
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::archive::testing::{Answer, archive_at, serve, tarball};

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
    fn ready_programs_are_named_from_the_current_folder_on() {
        let found = |named: &str| assets(Some(named.into())).unwrap();
        let here = std::env::current_dir().unwrap();
        assert_eq!(found("bin/k8s"), Some(here.join("bin/k8s")));
        assert_eq!(found("/opt/k8s"), Some(PathBuf::from("/opt/k8s")));
        assert_eq!((found(""), assets(None).unwrap()), (None, None));
        let told = no_assets(Path::new("/opt/k8s"));
        assert!(told.starts_with("KUBEBUILDER_ASSETS names the folder /opt/k8s, which"), "{told}");
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

    /// Stands in for Go: what it builds are empty files, and it writes down their names.
    const GO: &str = r#"#!/bin/sh
[ "$1" = build ] || exit 0
for arg; do
  case $arg in
  */) output=$arg ;;
  ./* | *.*/cmd/*) echo "${arg##*/}" >> "${0%/*}/built"; : > "$output${arg##*/}" ;;
  esac
done
"#;

    /// Places in a folder, where the server answers in this way to a request for this archive.
    fn places(folder: &Path, answer: Answer, pinned: &[u8]) -> Places {
        let go = folder.join("go");
        fs::write(&go, GO).unwrap();
        fs::set_permissions(&go, fs::Permissions::from_mode(0o755)).unwrap();
        let module = Module::ControlPlane;
        let sources = workspace::root().join(module.folder());
        let cache = folder.join("cache");
        Places {
            assets: None,
            built: cache.join("built"),
            cache,
            archive: Some(archive_at(&serve(answer), pinned)),
            go: Go { program: go, module, sources },
        }
    }

    fn built(folder: &Path) -> Vec<String> {
        let names = fs::read_to_string(folder.join("built")).unwrap();
        let mut names: Vec<_> = names.lines().map(ToOwned::to_owned).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn what_is_not_published_is_built() {
        let folder = tempfile::tempdir().unwrap();
        let archive = tarball(&["etcd", "kube-apiserver", "kubectl"]);
        let places = places(folder.path(), Answer::Whole(archive.clone()), &archive);
        let tools = places.get(&Tool::PLANE, &Jobs::default()).await.unwrap();
        assert_eq!(built(folder.path()), ["helm", "kstatus", "kube-controller-manager"]);
        let parent = |tool| tools.path(tool).parent().unwrap().to_owned();
        assert_eq!(parent(Tool::Helm), places.built);
        assert_eq!(parent(Tool::Kubectl), places.archive.unwrap().folder(&places.cache));
    }

    #[tokio::test]
    async fn what_cannot_be_downloaded_is_built_too() {
        let archive = tarball(&["etcd", "kube-apiserver", "kubectl"]);
        let other = Answer::Whole(tarball(&["kubectl"]));
        for answer in [Answer::NotFound, Answer::Cut(archive.clone()), other] {
            let folder = tempfile::tempdir().unwrap();
            let places = places(folder.path(), answer, &archive);
            places.get(&Tool::PLANE, &Jobs::default()).await.unwrap();
            assert_eq!(built(folder.path()).len(), Tool::PLANE.len());
        }
    }

    #[tokio::test]
    async fn what_is_there_is_neither_downloaded_nor_built() {
        let folder = tempfile::tempdir().unwrap();
        let places = places(folder.path(), Answer::NotFound, &[]);
        fs::create_dir_all(&places.built).unwrap();
        for tool in Tool::PLANE {
            fs::write(places.built.join(tool.name()), "").unwrap();
        }
        places.get(&Tool::PLANE, &Jobs::default()).await.unwrap();
        assert!(!folder.path().join("built").exists());
    }
}
