//! The images of a node: Lapse's own, and one with a shell and its tools for everything else.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use chrono::DateTime;
use lapse_images::archive::{Entry, Image};
use lapse_images::build::{Arch, PROGRAMS, linked};
use lapse_images::{NAME, image_of};

use super::packages::Packages;
use crate::plane::workspace;

/// What people, and tests, run in pods.
pub const SHELL: &str = "docker.io/library/busybox:node";

/// The commands of the image with the shell.
const APPLETS: [&str; 12] =
    ["cat", "date", "echo", "env", "httpd", "id", "ls", "nc", "ps", "sh", "sleep", "wget"];

/// The archives of the images.
#[derive(Clone, Debug)]
pub(crate) struct Images {
    /// Of the shell, which also holds the namespaces of each pod.
    pub(crate) shell: PathBuf,
    /// Of Lapse.
    pub(crate) lapse: PathBuf,
}

impl Images {
    /// Writes them to a folder. The programs are those of this build, linked statically.
    pub(crate) async fn write(folder: &Path, packages: &Packages) -> Result<Self> {
        let images = Self { shell: folder.join("shell.tar"), lapse: folder.join("lapse.tar") };
        let (written, busybox) = (images.clone(), packages.program("busybox")?);
        let write = move || -> Result<()> {
            shell(busybox).write(&written.shell)?;
            let programs = linked(workspace::root(), !cfg!(debug_assertions), &PROGRAMS)?;
            let of_machine = [(Arch::native(), programs.as_path())].into();
            image_of(NAME, DateTime::UNIX_EPOCH, &of_machine).write(&written.lapse)?;
            Ok(())
        };
        tokio::task::spawn_blocking(write).await.context("writing images")??;
        Ok(images)
    }
}

fn shell(busybox: PathBuf) -> Image {
    let program = Entry::Program { path: "bin/busybox".to_owned(), from: busybox };
    let applets =
        APPLETS.map(|name| Entry::Link { path: format!("bin/{name}"), to: "busybox".to_owned() });
    Image {
        name: SHELL.to_owned(),
        created: DateTime::UNIX_EPOCH,
        user: "65534:65534".to_owned(),
        // For ever, as far as pods are concerned.
        entrypoint: ["/bin/sleep", "2147483647"].map(String::from).to_vec(),
        labels: [].into(),
        roots: [(Arch::native(), std::iter::once(program).chain(applets).collect())].into(),
    }
}
