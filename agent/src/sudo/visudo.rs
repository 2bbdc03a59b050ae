//! What the sudo of the host itself says of a rule.

use std::io;

use crate::places::Places;
use crate::system::{Ran, System};

/// Has `visudo` judge a text. It lies in memory meanwhile, as a disk may be full, under a name that no other process uses.
///
/// # Errors
/// If there is no `visudo`, or no place for the text.
pub fn judge(system: &dyn System, places: &Places, text: &str) -> io::Result<Ran> {
    let path = places.private().join(format!("candidate-{}", std::process::id()));
    system.replace(&path, text.as_bytes(), 0o440)?;
    let shown = path.display().to_string();
    let ran = system.run("visudo", &["--check", "--quiet", "--file", &shown]);
    // What is left of it does no harm.
    let _ = system.remove(&path);
    ran
}
