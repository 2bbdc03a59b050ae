//! The image as a release ships it, with its bill of materials and checksums beside it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, Utc};
use clap::Parser;

use crate::archive::{Entry, Image, sha256};
use crate::build::{self, Arch, PROGRAMS};
use crate::{cargo, sbom, workspace};

/// The user of the chart's pods, who is no user of any node.
const USER: &str = "65532:65532";

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The name by which the chart asks for the image where nothing else is said.
pub const NAME: &str = concat!("docker.io/library/lapse:", env!("CARGO_PKG_VERSION"));

/// Builds the image of Lapse as an OCI archive, with its bill of materials and checksums.
#[derive(Clone, Debug, Parser)]
#[command(name = "cargo image", bin_name = "cargo image")]
pub struct Options {
    /// Where the files go; target/image if not given
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// An architecture to build for; may be given several times. This machine's if not given
    #[arg(long, value_name = "ARCH", value_enum)]
    pub arch: Vec<Arch>,
    /// The image's name, as container runtimes store it
    #[arg(long, value_name = "NAME", default_value = NAME)]
    pub name: String,
    /// Build the commit a second time, in another folder, and fail unless it is the same image
    #[arg(long)]
    pub twice: bool,
}

/// What was written.
#[derive(Clone, Debug)]
pub struct Written {
    /// The archive.
    pub archive: PathBuf,
    /// The digest by which a registry knows the image.
    pub digest: String,
}

/// Builds everything and says where it is.
///
/// # Errors
/// If the programs cannot be built, or `--twice` found a difference.
pub fn run(options: &Options) -> Result<()> {
    let target = build::cargo_target(workspace());
    let folder = options.out.clone().unwrap_or_else(|| target.join("image"));
    let written = write(workspace(), &target, &folder, options)?;
    println!("{}\n{}\n{}", written.archive.display(), options.name, written.digest);
    if options.twice {
        let again = again(options)?;
        ensure!(
            again == written.digest,
            "the same commit gave another image: {again}. Is there something that is not committed?"
        );
        println!("built twice, with the same digest");
    }
    Ok(())
}

fn write(root: &Path, target: &Path, folder: &Path, options: &Options) -> Result<Written> {
    let source = Source::of(root)?;
    let mut programs = BTreeMap::new();
    for arch in Arch::or_native(&options.arch) {
        programs.insert(arch, build::release(root, target, arch, &PROGRAMS)?);
    }
    let programs = programs.iter().map(|(arch, folder)| (*arch, folder.as_path())).collect();
    let mut image = image_of(&options.name, source.created, &programs);
    if let Some(revision) = source.revision {
        image.labels.insert("org.opencontainers.image.revision".to_owned(), revision);
    }
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let archive = folder.join(format!("lapse-{VERSION}.tar"));
    let digest = image.write(&archive)?;
    let bill = folder.join(format!("lapse-{VERSION}.cdx.json"));
    let content = sbom::of_image(root, VERSION, source.created, &programs)?;
    fs::write(&bill, serde_json::to_string_pretty(&content)? + "\n")
        .with_context(|| format!("writing {}", bill.display()))?;
    let mut sums = String::new();
    for file in [&bill, &archive] {
        let content = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        let sum = sha256(&content);
        let name = file.file_name().unwrap_or_default().display();
        writeln!(sums, "{}  {name}", sum.trim_start_matches("sha256:"))?;
    }
    let path = folder.join("SHA256SUMS");
    fs::write(&path, sums).with_context(|| format!("writing {}", path.display()))?;
    Ok(Written { archive, digest })
}

/// The image with the programs of these folders.
#[must_use]
pub fn image_of(name: &str, created: DateTime<Utc>, programs: &BTreeMap<Arch, &Path>) -> Image {
    let entry = |folder: &Path, program: &str| Entry::Program {
        path: format!("usr/local/bin/{program}"),
        from: folder.join(program),
    };
    let entries =
        |folder: &Path| PROGRAMS.iter().map(|program| entry(folder, program)).collect::<Vec<_>>();
    let labels = [
        ("org.opencontainers.image.title", "Lapse"),
        ("org.opencontainers.image.version", VERSION),
        ("org.opencontainers.image.licenses", "Apache-2.0"),
    ];
    Image {
        name: name.to_owned(),
        created,
        user: USER.to_owned(),
        entrypoint: vec!["lapse-controller".to_owned()],
        labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        roots: programs.iter().map(|(arch, folder)| (*arch, entries(folder))).collect(),
    }
}

/// Builds what is committed in a folder of its own, and returns the digest.
fn again(options: &Options) -> Result<String> {
    let folder = tempfile::tempdir().context("making a temporary folder")?;
    let copy = folder.path().join("elsewhere");
    cargo::output(
        Command::new("git").args(["clone", "--quiet", "--shared"]).arg(workspace()).arg(&copy),
    )?;
    let target = copy.join("target");
    Ok(write(&copy, &target, &folder.path().join("image"), options)?.digest)
}

/// Which sources an image is of.
struct Source {
    created: DateTime<Utc>,
    revision: Option<String>,
}

impl Source {
    /// By `SOURCE_DATE_EPOCH`, and by git where the sources are a checkout.
    fn of(root: &Path) -> Result<Self> {
        let git = |args: &[&str]| cargo::output(Command::new("git").current_dir(root).args(args));
        let seconds = match std::env::var("SOURCE_DATE_EPOCH") {
            Ok(given) => given,
            Err(_) => git(&["log", "-1", "--format=%ct"])
                .context("there is no SOURCE_DATE_EPOCH, and no commit to take the time from")?,
        };
        let seconds =
            seconds.trim().parse().context("SOURCE_DATE_EPOCH is no number of seconds")?;
        let created =
            DateTime::from_timestamp(seconds, 0).context("SOURCE_DATE_EPOCH is no time")?;
        let commit = git(&["rev-parse", "HEAD"]).ok();
        let changed = git(&["status", "--porcelain"]).is_ok_and(|changes| !changes.is_empty());
        let revision = commit.map(|commit| {
            format!("{}{}", commit.trim(), if changed { "-with-changes" } else { "" })
        });
        Ok(Self { created, revision })
    }
}
