//! The archives that the Kubernetes project publishes for tests of operators (envtest): etcd, kube-apiserver and kubectl, each
//! release at a checksum that is pinned beside the versions of what is built.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::address::Address;
use crate::download::download;
use crate::lock::lock;
use crate::progress::{Jobs, line};
use crate::tool::{Tool, names};
use crate::unpack::{unpack, verified};

/// What is pinned, as sha512sum writes it.
const PINS: &str = include_str!("../../e2e/controlplane/envtest.sha512");

/// What follows the name of a release and a platform.
const SUFFIX: &str = ".tar.gz";

/// The job's name.
const JOB: &str = "archive";

/// An archive: `envtest-v1.36.2-linux-amd64.tar.gz`, at the address that the project's index (`selfLink`) gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Archive {
    name: String,
    sha512: String,
    address: Address,
}

impl Archive {
    /// The pinned one for this machine, below this address; none is published for some machines.
    pub(crate) fn pinned(address: &Address) -> Option<Self> {
        Self::of_pins(PINS, address, &platform(std::env::consts::OS, std::env::consts::ARCH))
    }

    fn of_pins(pins: &str, address: &Address, platform: &str) -> Option<Self> {
        let end = format!("-{platform}{SUFFIX}");
        pins.lines().find_map(|pin| {
            let (sha512, name) = pin.split_once("  ")?;
            let release = name.strip_suffix(&end)?;
            let (name, sha512) = (name.to_owned(), sha512.to_owned());
            let address = address.below(&format!("{release}/{name}"));
            Some(Self { name, sha512, address })
        })
    }

    /// Where its programs lie once they are unpacked.
    pub(crate) fn folder(&self, cache: &Path) -> PathBuf {
        cache.join(self.name.trim_end_matches(SUFFIX))
    }

    /// Downloads, verifies and unpacks it into its folder: all of it is there at the end, or nothing.
    ///
    /// # Errors
    /// If it cannot be had within the time for it, or is not what is pinned.
    pub(crate) async fn fetch(&self, cache: &Path, jobs: &Jobs) -> Result<()> {
        let folder = self.folder(cache);
        fs::create_dir_all(cache).with_context(|| format!("making {}", cache.display()))?;
        let _lock = lock(&cache.join(format!("{}.lock", self.name))).await?;
        if is_whole(&folder) {
            // Another process fetched it while this one waited.
            return Ok(());
        }
        line(&format!("Downloading {} from {}.", names(&Tool::PUBLISHED), self.address));
        let work = cache.join(format!("{}.part", self.name));
        let fetched = self.fetch_by(&work, &folder, jobs).await;
        let _ = fs::remove_dir_all(&work);
        jobs.done(JOB);
        fetched.with_context(|| format!("fetching {}", self.address))
    }

    async fn fetch_by(&self, work: &Path, folder: &Path, jobs: &Jobs) -> Result<()> {
        // What an earlier attempt left that was killed.
        for old in [work, folder] {
            if old.exists() {
                fs::remove_dir_all(old).with_context(|| format!("removing {}", old.display()))?;
            }
        }
        fs::create_dir(work).with_context(|| format!("making {}", work.display()))?;
        let file = work.join(&self.name);
        let told = |remains| jobs.say(JOB, remains);
        download(&self.address, &file, told).await?;
        let programs = work.join("programs");
        fs::create_dir(&programs).with_context(|| format!("making {}", programs.display()))?;
        let (pinned, into) = (self.sha512.clone(), programs.clone());
        // Before anything reads it: a parser is a large surface.
        let unpacked = move || unpack(verified(&file, &pinned)?, &into);
        tokio::task::spawn_blocking(unpacked).await.context("unpacking")??;
        ensure!(is_whole(&programs), "it lacks one of {}", names(&Tool::PUBLISHED));
        fs::rename(&programs, folder).with_context(|| format!("making {}", folder.display()))
    }
}

fn is_whole(folder: &Path) -> bool {
    Tool::PUBLISHED.iter().all(|tool| folder.join(tool.name()).is_file())
}

/// A machine by the words of Go.
fn platform(os: &str, arch: &str) -> String {
    let os = if os == "macos" { "darwin" } else { os };
    let arch = match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("{os}-{arch}")
}

#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
mod tests {
    use super::testing::{Answer, archive_at, serve, tarball};
    use super::*;

    #[test]
    fn the_pins_name_an_archive_for_each_machine() {
        let somewhere = Address::read("https://x.example").unwrap();
        for platform in ["linux-amd64", "linux-arm64", "darwin-amd64", "darwin-arm64"] {
            let archive = Archive::of_pins(PINS, &somewhere, platform).unwrap();
            assert_eq!(archive.sha512.len(), 128, "{archive:?}");
            let release = archive.address.url().split('/').nth(3).unwrap();
            assert_eq!(archive.name, format!("{release}-{platform}.tar.gz"));
        }
        assert_eq!(Archive::of_pins(PINS, &somewhere, "plan9-mips"), None);
        assert_eq!(platform("linux", "x86_64"), "linux-amd64");
        assert_eq!(platform("macos", "aarch64"), "darwin-arm64");
    }

    /// Kubernetes supports no part that is of a later minor release than the API server
    /// (<https://kubernetes.io/releases/version-skew-policy/>), and some are built.
    #[test]
    fn the_archive_is_of_the_minor_release_that_is_built() {
        let manifest = include_str!("../../e2e/controlplane/go.mod");
        let built = manifest.split("k8s.io/kubernetes v").nth(1).unwrap();
        let minor = built.split('.').take(2).collect::<Vec<_>>().join(".");
        let somewhere = Address::read("https://x.example").unwrap();
        let archive = Archive::of_pins(PINS, &somewhere, "linux-amd64").unwrap();
        assert!(archive.name.starts_with(&format!("envtest-v{minor}.")), "{archive:?} or {minor}");
    }

    #[tokio::test]
    async fn what_is_pinned_is_unpacked_and_fetched_once() {
        let (cache, jobs) = (tempfile::tempdir().unwrap(), Jobs::default());
        let bytes = tarball(&["etcd", "kube-apiserver", "kubectl"]);
        let archive = archive_at(&serve(Answer::Whole(bytes.clone())), &bytes);
        archive.fetch(cache.path(), &jobs).await.unwrap();
        let kubectl = archive.folder(cache.path()).join("kubectl");
        let said = std::process::Command::new(kubectl).output().unwrap().stdout;
        assert_eq!(String::from_utf8(said).unwrap(), "kubectl\n");
        // Nobody answers there, and nobody is asked.
        let again = archive_at("http://127.0.0.1:1", &bytes);
        again.fetch(cache.path(), &jobs).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_not_as_pinned_leaves_nothing() {
        let whole = tarball(&["etcd", "kube-apiserver", "kubectl"]);
        let lacking = tarball(&["etcd", "kubectl"]);
        let half = whole[..whole.len() / 2].to_vec();
        for (answer, pinned, why) in [
            (Answer::Whole(lacking.clone()), &whole, "it is not what is pinned"),
            (
                Answer::Whole(lacking.clone()),
                &lacking,
                "it lacks one of etcd, kube-apiserver, kubectl",
            ),
            // Cut off where it was made, and on its way.
            (Answer::Whole(half.clone()), &half, "unpacking"),
            (Answer::Cut(half.clone()), &whole, "downloading"),
            (Answer::NotFound, &whole, "404"),
        ] {
            let cache = tempfile::tempdir().unwrap();
            let archive = archive_at(&serve(answer), pinned);
            let error = archive.fetch(cache.path(), &Jobs::default()).await.unwrap_err();
            let error = format!("{error:#}");
            assert!(error.contains(why) && error.contains("http://127.0.0.1"), "{why}: {error}");
            let left = fs::read_dir(cache.path()).unwrap().map(|entry| entry.unwrap().file_name());
            let left: Vec<_> = left.collect();
            assert!(left.iter().all(|name| name.to_string_lossy().ends_with(".lock")), "{left:?}");
        }
    }
}
