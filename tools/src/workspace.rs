//! Where things lie in the workspace, whatever folder a test runs in.

use std::path::PathBuf;

pub use lapse_images::workspace as root;

/// The folder that cargo builds into.
#[must_use]
pub fn target() -> PathBuf {
    lapse_images::build::cargo_target(root())
}
