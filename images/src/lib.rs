//! Builds the image of Lapse: the three programs of the cluster, linked statically, and nothing else; the package of the
//! agent; and the plugin of kubectl.
//!
//! No registry and no daemon is needed: the image is an archive that container runtimes import and that tools push.
//! The same commit, built with the same Rust, linker and C library, gives the same bytes.

pub mod archive;
pub mod build;
pub mod cargo;
pub mod deb;
pub mod plugin;
mod release;
mod sbom;

pub use self::release::{NAME, Options, Written, image_of, run};

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

/// The root of the workspace that this library was compiled in.
#[must_use]
pub fn workspace() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// Bytes in hexadecimal.
#[must_use]
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// How a program ends with this, and what it says.
#[must_use]
pub fn exit(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
