//! Text and SIDs as Windows has them.

use std::ffi::c_void;

use windows_sys::Win32::Foundation::{ERROR_INVALID_NAME, ERROR_INVALID_SID};
use windows_sys::Win32::Security::{GetLengthSid, IsValidSid, PSID};

use crate::failure::Failure;

/// Text with the zero by which Windows knows its end.
pub(crate) fn wide(text: &str) -> Result<Vec<u16>, Failure> {
    if text.contains('\0') {
        // Windows would read a part of it.
        return Err(Failure { call: "reading a name", code: ERROR_INVALID_NAME });
    }
    Ok(text.encode_utf16().chain([0]).collect())
}

/// Text of so many units.
pub(crate) fn of_units(units: &[u16]) -> String {
    String::from_utf16_lossy(units)
}

/// Text up to its zero. No text is an empty one.
///
/// # Safety
/// The pointer is null, or leads to text with a zero at its end that stays as it is until this returns.
pub(crate) unsafe fn at(pointer: *const u16) -> String {
    if pointer.is_null() {
        return String::new();
    }
    let mut units = Vec::new();
    loop {
        // SAFETY: the zero was not reached yet, so there is another unit.
        let unit = unsafe { pointer.add(units.len()).read_unaligned() };
        if unit == 0 {
            return of_units(&units);
        }
        units.push(unit);
    }
}

/// A SID where Windows expects one: aligned to four bytes.
pub(crate) struct Sid(Vec<u32>);

impl Sid {
    /// Of its bytes.
    pub(crate) fn of(bytes: &[u8]) -> Result<Self, Failure> {
        let wrong = Failure { call: "reading a SID", code: ERROR_INVALID_SID };
        // Eight bytes, and four for each of so many parts.
        let is_whole =
            bytes.len() >= 8 && bytes[0] == 1 && bytes.len() == 8 + 4 * usize::from(bytes[1]);
        if !is_whole || bytes[1] > 15 {
            return Err(wrong);
        }
        let words = bytes.chunks_exact(4).map(|part| [part[0], part[1], part[2], part[3]]);
        Ok(Self(words.map(u32::from_ne_bytes).collect()))
    }

    /// For a call that reads it. It must not outlive this.
    pub(crate) fn pointer(&self) -> PSID {
        self.0.as_ptr().cast_mut().cast::<c_void>()
    }
}

/// The bytes of a SID.
///
/// # Safety
/// The pointer is null, or leads to a SID that stays as it is until this returns.
pub(crate) unsafe fn bytes_of(sid: PSID) -> Option<Vec<u8>> {
    if sid.is_null() {
        return None;
    }
    // SAFETY: it leads to a SID, as the caller says.
    if unsafe { IsValidSid(sid) } == 0 {
        return None;
    }
    // SAFETY: the same, and it is valid.
    let length = unsafe { GetLengthSid(sid) } as usize;
    // SAFETY: a valid SID is so long, and nobody changes it meanwhile.
    Some(unsafe { std::slice::from_raw_parts(sid.cast::<u8>(), length) }.to_vec())
}
