//! The name of a Grant follows from its request, so that two tries make the same Grant.

use lapse_crds::OBJECT_PREFIX;
use sha2::{Digest, Sha256};

use crate::role::hex;

/// How much of `namespace-name` a name keeps; with the dash and the hash this makes 63 characters,
/// the length of a label value.
const READABLE: usize = 52;
const HASH: usize = 10;

/// The name of the Grant of a request: what people recognise, then a hash of the UID.
#[must_use]
pub fn grant_name(namespace: &str, name: &str, uid: &str) -> String {
    let mut readable = format!("{namespace}-{name}");
    readable.truncate(readable.floor_char_boundary(READABLE));
    // A dot or dash before the dash of the hash would not be a name (RFC 1123).
    let readable = readable.trim_end_matches(['.', '-']);
    let hash = hex(&Sha256::digest(uid));
    format!("{readable}-{}", &hash[..HASH])
}

/// The name of every object that a Grant has made.
#[must_use]
pub fn object_name(grant_name: &str) -> String {
    format!("{OBJECT_PREFIX}{grant_name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_readable_and_follows_from_the_uid() {
        let name = grant_name("shop", "fix-checkout", "5d8f1c2a-0000");
        assert_eq!(name, grant_name("shop", "fix-checkout", "5d8f1c2a-0000"));
        assert_ne!(name, grant_name("shop", "fix-checkout", "5d8f1c2a-0001"));
        assert!(name.starts_with("shop-fix-checkout-"), "{name}");
    }

    #[test]
    fn fits_a_label_and_never_has_a_dot_before_the_hash() {
        let long = format!("{}.{}", "a".repeat(46), "b".repeat(200));
        let name = grant_name("shop", &long, "uid");
        assert!(name.len() <= 63, "{name}");
        let (readable, _) = name.rsplit_once('-').unwrap();
        assert!(readable.ends_with('a'), "{name}");
    }
}
