//! What people are told by an event, and what the event is called.

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};

use crate::role::hex;

/// Something to tell people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whether it is bad news.
    pub warning: bool,
    /// One word for programs.
    pub reason: String,
    /// In words.
    pub message: String,
}

/// What is told of an object whose reconciliation panicked.
#[must_use]
pub fn panicked() -> Notice {
    let message = "Lapse hit an internal error on this object, and will try again. What it grants still ends on time. The log of the controllers says where the error is: please report it.";
    Notice { warning: true, reason: "Panicked".to_owned(), message: message.to_owned() }
}

/// The most characters of the name of an event (RFC 1123 subdomain).
const LONGEST_NAME: usize = 253;
/// How much of a hash ends the name.
const HASH: usize = 16;

/// The name of an event about the object of this name and UID: what people recognise, then a hash. An object may
/// have a name of 253 characters, and is told of all the same, so the name is cut where the hash would not fit.
#[must_use]
pub fn event_name(about: &str, uid: &str, reason: &str, at: DateTime<Utc>) -> String {
    let readable = &about[..about.floor_char_boundary(LONGEST_NAME - HASH - 1)];
    // A dot or dash before the dot of the hash would not be a name.
    let readable = readable.trim_end_matches(['.', '-']);
    let hash = hex(&Sha256::digest(format!("{uid}/{reason}/{}", at.timestamp_micros())));
    format!("{readable}.{}", &hash[..HASH])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::life::time;

    #[test]
    fn is_readable_and_follows_from_what_is_told_and_when() {
        let name = event_name("fix-checkout", "uid", "Granted", time(0));
        assert!(name.starts_with("fix-checkout."), "{name}");
        assert_eq!(name, event_name("fix-checkout", "uid", "Granted", time(0)));
        assert_ne!(name, event_name("fix-checkout", "uid", "Granted", time(1)));
        assert_ne!(name, event_name("fix-checkout", "uid", "Expired", time(0)));
        assert_ne!(name, event_name("fix-checkout", "another", "Granted", time(0)));
    }

    #[test]
    fn fits_whatever_the_name_of_the_object() {
        for length in [1, 235, 236, 237, 253] {
            let name = event_name(&"a".repeat(length), "uid", "Granted", time(0));
            assert!(name.len() <= LONGEST_NAME, "{length}: {name}");
        }
        let name = event_name(&format!("{}.-b", "a".repeat(234)), "uid", "Granted", time(0));
        assert!(name.contains("a."), "neither a dot nor a dash before the hash: {name}");
    }

    #[test]
    fn a_mistake_of_the_program() {
        insta::assert_snapshot!(panicked().message, @"Lapse hit an internal error on this object, and will try again. What it grants still ends on time. The log of the controllers says where the error is: please report it.");
    }
}
