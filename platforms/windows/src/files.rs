//! Files.

use std::path::Path;

use windows_sys::Win32::Foundation::ERROR_INVALID_NAME;
use windows_sys::Win32::Storage::FileSystem::{
    MOVEFILE_REPLACE_EXISTING, MOVEFILE_WRITE_THROUGH, MoveFileExW,
};

use crate::failure::{Failure, check_bool};
use crate::text::wide;

/// Puts a file in place of another one, and returns when that is on the disk.
pub fn move_through(from: &Path, to: &Path) -> Result<(), Failure> {
    let text = |path: &Path| {
        let wrong = Failure { call: "MoveFileExW", code: ERROR_INVALID_NAME };
        wide(path.to_str().ok_or(wrong)?)
    };
    let (from, to) = (text(from)?, text(to)?);
    let how = MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH;
    // SAFETY: both have a zero at their end.
    check_bool("MoveFileExW", unsafe { MoveFileExW(from.as_ptr(), to.as_ptr(), how) })
}
