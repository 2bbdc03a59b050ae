//! An image as an archive: an OCI image layout in a tar file, which `docker load` takes too.
//!
//! The formats are those of <https://github.com/opencontainers/image-spec>. Nothing of the machine goes in: no owner, no
//! time but the one that is given, no order but that of names.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use chrono::{DateTime, SecondsFormat, Utc};
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::build::Arch;
use crate::hexadecimal;

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// An image, for one architecture or for several.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its name with registry and tag, as container runtimes store it: `docker.io/library/lapse:0.1.0`.
    pub name: String,
    /// The time that everything in it has.
    pub created: DateTime<Utc>,
    /// Who its process is, as `UID:GID`.
    pub user: String,
    /// What a container runs that is told nothing else.
    pub entrypoint: Vec<String>,
    /// Labels by which tools know it.
    pub labels: BTreeMap<String, String>,
    /// What is in it, by architecture.
    pub roots: BTreeMap<Arch, Vec<Entry>>,
}

/// One thing in an image, by its path without a leading slash.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A program that everybody may run and nobody may write.
    Program {
        /// Where it lies in the image.
        path: String,
        /// The file that it is read from.
        from: PathBuf,
    },
    /// A symbolic link.
    Link {
        /// Where it lies in the image.
        path: String,
        /// Where it points.
        to: String,
    },
}

impl Image {
    /// Writes the archive and returns the digest that a registry knows the image by.
    pub fn write(&self, archive: &Path) -> Result<String> {
        let mut blobs = Blobs::default();
        let mut manifests = Vec::new();
        let mut first = None;
        for (arch, entries) in &self.roots {
            let tar = self.layer(entries)?;
            let layer = blobs.add(LAYER, compressed(&tar)?);
            let config = blobs.add_json(CONFIG, &self.config(*arch, &sha256(&tar)))?;
            first.get_or_insert((blob_path(&config), blob_path(&layer)));
            let mut manifest = blobs.add_json(
                MANIFEST,
                &json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}),
            )?;
            manifest["platform"] = json!({"architecture": arch.name(), "os": "linux"});
            manifests.push(manifest);
        }
        let mut top = match &manifests[..] {
            [only] => only.clone(),
            _ => blobs.add_json(INDEX, &index(&manifests))?,
        };
        top["annotations"] = json!({
            "io.containerd.image.name": self.name,
            "org.opencontainers.image.ref.name": self.tag(),
        });
        let digest = top["digest"].as_str().unwrap_or_default().to_owned();
        let mut files = blobs.files;
        files.insert("index.json".to_owned(), serde_json::to_vec(&index(&[top]))?);
        files.insert("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec());
        // Docker before 25 knows no layouts. It runs what is for its own machine: the first is the most usual one.
        let (config, layer) = first.context("an image needs an architecture")?;
        let load = json!([{"Config": config, "RepoTags": [self.name], "Layers": [layer]}]);
        files.insert("manifest.json".to_owned(), serde_json::to_vec(&load)?);
        let bytes = self.tar(files.iter().map(|(path, content)| (path.as_str(), content)))?;
        fs::write(archive, bytes).with_context(|| format!("writing {}", archive.display()))?;
        Ok(digest)
    }

    fn tag(&self) -> &str {
        let last = self.name.rsplit('/').next().unwrap_or_default();
        last.split_once(':').map_or("latest", |(_, tag)| tag)
    }

    fn config(&self, arch: Arch, diff_id: &str) -> Value {
        let created = self.created.to_rfc3339_opts(SecondsFormat::Secs, true);
        json!({
            "architecture": arch.name(),
            "os": "linux",
            "created": created,
            "config": {
                "User": self.user,
                "Env": ["PATH=/usr/local/bin:/bin"],
                "Entrypoint": self.entrypoint,
                "WorkingDir": "/",
                "Labels": self.labels,
            },
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
            "history": [{"created": created, "created_by": "cargo image"}],
        })
    }

    /// The one layer, as a tar file.
    fn layer(&self, entries: &[Entry]) -> Result<Vec<u8>> {
        let mut tar = tar::Builder::new(Vec::new());
        for folder in folders(entries) {
            let mut header = self.header(tar::EntryType::Directory, 0o755);
            tar.append_data(&mut header, format!("{folder}/"), std::io::empty())?;
        }
        for entry in sorted(entries) {
            match entry {
                Entry::Program { path, from } => {
                    let reading = || format!("reading {}", from.display());
                    let file = File::open(from).with_context(reading)?;
                    let mut header = self.header(tar::EntryType::Regular, 0o555);
                    header.set_size(file.metadata().with_context(reading)?.len());
                    tar.append_data(&mut header, path, file).with_context(reading)?;
                }
                Entry::Link { path, to } => {
                    let mut header = self.header(tar::EntryType::Symlink, 0o777);
                    tar.append_link(&mut header, path, to)?;
                }
            }
        }
        tar.into_inner().context("writing a layer")
    }

    fn tar<'a>(&self, files: impl Iterator<Item = (&'a str, &'a Vec<u8>)>) -> Result<Vec<u8>> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = self.header(tar::EntryType::Regular, 0o644);
            header.set_size(u64::try_from(content.len())?);
            tar.append_data(&mut header, path, &content[..])?;
        }
        tar.into_inner().context("writing an archive")
    }

    fn header(&self, kind: tar::EntryType, mode: u32) -> tar::Header {
        header(kind, mode, u64::try_from(self.created.timestamp()).unwrap_or_default())
    }
}

/// The header of an entry without owner, size and checksum, at a time in seconds since 1970.
pub(crate) fn header(kind: tar::EntryType, mode: u32, time: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    header.set_mtime(time);
    header
}

impl Entry {
    fn path(&self) -> &str {
        match self {
            Self::Program { path, .. } | Self::Link { path, .. } => path,
        }
    }
}

fn sorted(entries: &[Entry]) -> Vec<&Entry> {
    let mut entries: Vec<&Entry> = entries.iter().collect();
    entries.sort_by_key(|entry| entry.path());
    entries
}

/// The folders of the entries, each after the one that it is in.
fn folders(entries: &[Entry]) -> Vec<String> {
    let parents = entries.iter().flat_map(|entry| Path::new(entry.path()).ancestors().skip(1));
    let mut folders: Vec<String> = parents.map(|path| path.display().to_string()).collect();
    folders.retain(|folder| !folder.is_empty());
    folders.sort();
    folders.dedup();
    folders
}

/// The files of an archive that are found by what is in them.
#[derive(Default)]
struct Blobs {
    files: BTreeMap<String, Vec<u8>>,
}

impl Blobs {
    /// Adds one and returns its descriptor.
    fn add(&mut self, media_type: &str, content: Vec<u8>) -> Value {
        let digest = sha256(&content);
        let descriptor = json!({"mediaType": media_type, "digest": digest, "size": content.len()});
        self.files.insert(blob_path(&descriptor), content);
        descriptor
    }

    fn add_json(&mut self, media_type: &str, content: &Value) -> Result<Value> {
        Ok(self.add(media_type, serde_json::to_vec(content)?))
    }
}

fn blob_path(descriptor: &Value) -> String {
    let digest = descriptor["digest"].as_str().unwrap_or_default();
    format!("blobs/{}", digest.replace(':', "/"))
}

fn index(manifests: &[Value]) -> Value {
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests})
}

pub(crate) fn compressed(content: &[u8]) -> Result<Vec<u8>> {
    let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::default());
    gzip.write_all(content).context("compressing an archive")?;
    gzip.finish().context("compressing an archive")
}

/// `sha256:` and the digest in hexadecimal.
pub(crate) fn sha256(content: &[u8]) -> String {
    format!("sha256:{}", hexadecimal(&Sha256::digest(content)))
}
