//! Paths as texts that people can read and files can hold, and back. Pure.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

/// A path as a text. What is no UTF-8, and what would steer a terminal, is written as `\xHH`.
pub(super) fn shown(path: &Path) -> String {
    let mut text = String::new();
    let escape = |bytes: &[u8], text: &mut String| {
        for byte in bytes {
            // A text takes everything.
            let _ = write!(text, "\\x{byte:02x}");
        }
    };
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() || character == '\\' {
                escape(character.encode_utf8(&mut [0; 4]).as_bytes(), &mut text);
            } else {
                text.push(character);
            }
        }
        escape(chunk.invalid(), &mut text);
    }
    text
}

/// The path of such a text.
pub(super) fn real(shown: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(shown.len());
    let mut rest = shown.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(1..3).filter(|_| *first == b'\\' && after.first() == Some(&b'x'));
        let byte = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(byte) = byte.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            bytes.push(byte);
            rest = &after[3..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    OsString::from_vec(bytes).into()
}

/// The last part of such a text.
pub(super) fn last(shown: &str) -> &str {
    shown.rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_is_read_as_it_is_shown() {
        for (bytes, expected) in [
            (b"/etc/sudoers".as_slice(), "/etc/sudoers"),
            ("/é ~".as_bytes(), "/é ~"),
            (b"/a\xff\n\x1b\\x41", "/a\\xff\\x0a\\x1b\\x5cx41"),
        ] {
            let path = PathBuf::from(OsString::from_vec(bytes.to_vec()));
            assert_eq!(shown(&path), expected);
            assert_eq!(real(expected), path);
        }
        assert_eq!(last("/etc/sudoers.d/x"), "x");
    }
}
