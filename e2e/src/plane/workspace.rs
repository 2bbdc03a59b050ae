//! Where things lie in the workspace, whatever folder a test runs in.

use std::path::{Path, PathBuf};

/// The root of the workspace that this library was compiled in.
#[must_use]
pub fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// The folder that cargo builds into.
pub(crate) fn target() -> PathBuf {
    let chosen = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    chosen.filter(|path| path.is_absolute()).unwrap_or_else(|| root().join("target"))
}
