//! The user IDs of accounts that Lapse makes. Each is given once: files that such an account leaves behind keep its number,
//! and must not become somebody else's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::accounts;
use crate::journal::{JournalError, read};
use crate::places::{Id, Places};
use crate::system::System;

/// The first of them.
pub const FIRST: u32 = 50_000;
/// And the last.
pub const LAST: u32 = 59_999;

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum NumberError {
    /// What was given is not known.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The users and groups of the host are not known.
    #[error("reading the accounts of this host: {0}")]
    Accounts(std::io::Error),
    /// It cannot be written down.
    #[error("writing down which user ID is given: {0}")]
    Write(std::io::Error),
    /// All were given.
    #[error(
        "all user IDs from {FIRST} to {LAST} have been given to accounts on this host, and none is given twice. Remove the \
         files that still have one of them (find / -uid +49999 -uid -60000), then remove /var/lib/lapse/numbers.json"
    )]
    Exhausted,
}

/// What was given.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Numbers {
    /// The lowest that nobody was given.
    next: u32,
    /// By which orders, as long as they are known: one that is tried again gets its own again.
    given: BTreeMap<String, u32>,
}

/// The number of the account of an order, which is never given to another. It is free as a group, too. `known` are the other
/// orders that are remembered.
///
/// # Errors
/// If there is none, or it cannot be written down.
pub fn number_of(
    system: &dyn System,
    places: &Places,
    id: &Id,
    known: &[Id],
) -> Result<u32, NumberError> {
    let path = places.numbers();
    let first = Numbers { next: FIRST, given: BTreeMap::new() };
    let Numbers { next, mut given } = read(path.clone())?.unwrap_or(first);
    if let Some(number) = given.get(&id.to_string()) {
        return Ok(*number);
    }
    let (uids, gids) = (
        accounts::uids(places).map_err(NumberError::Accounts)?,
        accounts::gids(places).map_err(NumberError::Accounts)?,
    );
    let is_free = |number: &u32| !uids.contains(number) && !gids.contains(number);
    let number = (next..=LAST).find(is_free).ok_or(NumberError::Exhausted)?;
    given.retain(|other, _| known.iter().any(|known| known.to_string() == *other));
    given.insert(id.to_string(), number);
    let numbers = Numbers { next: number + 1, given };
    let bytes = serde_json::to_vec(&numbers)
        .map_err(|error| NumberError::Write(std::io::Error::other(error)))?;
    system.replace(&path, &bytes, 0o600).map_err(NumberError::Write)?;
    Ok(number)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::system::HostSystem;

    fn host() -> (tempfile::TempDir, Places) {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::under(folder.path());
        fs::create_dir_all(places.state()).unwrap();
        fs::create_dir_all(places.at("/etc")).unwrap();
        fs::write(places.at("/etc/passwd"), "al:x:1000:1000::/:/bin/sh\nx:x:50001:1::/:\n")
            .unwrap();
        fs::write(places.at("/etc/group"), "al:x:1000:\ny:x:50002:\n").unwrap();
        (folder, places)
    }

    #[test]
    fn each_is_given_once_and_to_its_own_order_again() {
        let (_folder, places) = host();
        let given = |grant: &str, known: &[&str]| {
            let known: Vec<Id> = known.iter().map(|grant| Id::of(grant)).collect();
            number_of(&HostSystem, &places, &Id::of(grant), &known).unwrap()
        };
        assert_eq!(given("a", &[]), FIRST);
        assert_eq!(given("a", &[]), FIRST, "it was written down before anything was done by it");
        assert_eq!(given("b", &["a"]), 50_003, "what others have is not given");
        assert_eq!(given("a", &["b"]), FIRST);
        assert_eq!(given("c", &["b"]), 50_004);
        // An order that is forgotten does not come back, and its number goes to nobody.
        let text = fs::read_to_string(places.numbers()).unwrap();
        assert!(!text.contains(&Id::of("a").to_string()) && text.contains("50003"), "{text}");
    }

    #[test]
    fn when_all_are_given_it_is_said_what_to_do() {
        let (_folder, places) = host();
        fs::write(places.numbers(), r#"{"next":60000,"given":{}}"#).unwrap();
        let error = number_of(&HostSystem, &places, &Id::of("a"), &[]).unwrap_err().to_string();
        let said = "all user IDs from 50000 to 59999 have been given to accounts on this host, and none is given twice. Remove \
                    the files that still have one of them (find / -uid +49999 -uid -60000), then remove \
                    /var/lib/lapse/numbers.json";
        assert_eq!(error, said);
    }

    #[test]
    fn what_cannot_be_read_gives_none() {
        let (_folder, places) = host();
        fs::write(places.numbers(), "{").unwrap();
        let error = number_of(&HostSystem, &places, &Id::of("a"), &[]).unwrap_err().to_string();
        assert!(error.contains("cannot be understood"), "{error}");
    }
}
