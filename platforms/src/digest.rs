//! The digest of a file, and how large one may be that is looked at each time.

use std::fmt::Write as _;
use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

/// How much is read at most, in bytes: others wait meanwhile.
const MOST: u64 = 256 * 1024 * 1024;
/// How much is read at once, in bytes.
const PART: usize = 64 * 1024;

/// The digest of what can be read, as `sha256:` and 64 hexadecimal digits.
///
/// # Errors
/// If it cannot be read, or is too much to look at each time.
pub fn sha256_of(file: &mut dyn Read) -> io::Result<String> {
    digest_of(file, MOST)
}

fn digest_of(file: &mut dyn Read, most: u64) -> io::Result<String> {
    let (mut digest, mut part, mut count) = (Sha256::new(), vec![0; PART], 0);
    loop {
        let read = match file.read(&mut part) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if read == 0 {
            break;
        }
        count += read as u64;
        check(count, most)?;
        digest.update(&part[..read]);
    }
    let mut text = "sha256:".to_owned();
    for byte in digest.finalize() {
        // What cannot be written to memory is written nowhere.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

/// Whether a file of this size, in bytes, may be looked at each time.
///
/// # Errors
/// If it is too large.
pub fn check_size(size: u64) -> io::Result<()> {
    check(size, MOST)
}

fn check(size: u64, most: u64) -> io::Result<()> {
    if size <= most {
        return Ok(());
    }
    let limit = most / 1024 / 1024;
    Err(io::Error::other(format!(
        "it is larger than {limit} MiB, which is too much to look at each time"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_that_of_all_that_there_is() {
        // As in the standard (FIPS 180-2, B.1).
        let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_of(&mut &b"abc"[..]).unwrap(), abc);
        let long = vec![b'a'; 2 * PART + 1];
        let digest = |bytes: &[u8]| sha256_of(&mut &*bytes).unwrap();
        assert_ne!(digest(&long), digest(&long[..2 * PART]));
    }

    #[test]
    fn what_is_too_large_is_not_read_to_its_end() {
        let said = digest_of(&mut io::repeat(0), 1024 * 1024).unwrap_err().to_string();
        assert_eq!(said, "it is larger than 1 MiB, which is too much to look at each time");
        assert!(check_size(MOST).is_ok() && check_size(MOST + 1).is_err());
    }
}
