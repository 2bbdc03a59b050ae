//! One process at a time makes what several need.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::progress::line;

/// Waits for the lock without blocking the runtime; it is released when the file is dropped.
///
/// # Errors
/// If the file cannot be made or locked.
pub async fn lock(path: &Path) -> Result<File> {
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
