//! Whether somebody can log in, as `/etc/shadow` has it (shadow(5)).

use std::io;

use super::{read, rows};
use crate::places::Places;

const SHADOW: (&str, usize) = ("/etc/shadow", 9);

/// What is said of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shadow {
    /// Whether there is a password to log in by.
    pub password: Password,
    /// The first day on which the account has expired, counted from 1970 in UTC. `None`: it never does.
    pub expires: Option<i64>,
}

/// A password, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Password {
    /// One can log in by it. An empty one is one.
    Usable,
    /// There is one, and it is locked: taking the lock away makes it usable.
    Locked,
    /// There is none, so nobody logs in by it, whether it is locked or not.
    None,
}

impl Password {
    fn of(field: &str) -> Self {
        match field.strip_prefix('!') {
            None if field.starts_with('*') => Self::None,
            None => Self::Usable,
            // A second lock, or what is no password, stays when the first lock is taken away.
            Some(rest) if rest.is_empty() || rest.starts_with(['!', '*']) => Self::None,
            Some(_) => Self::Locked,
        }
    }
}

/// What is said of the user of this name.
///
/// # Errors
/// If the file cannot be read.
pub fn shadow(places: &Places, name: &str) -> io::Result<Option<Shadow>> {
    let text = read(places, SHADOW)?;
    let found = rows(&text, SHADOW.1).find(|row| row[0] == name);
    Ok(found.map(|row| Shadow {
        password: Password::of(row[1]),
        expires: row[7].parse().ok().filter(|day: &i64| *day >= 0),
    }))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::a_password("al:$y$x:1:0:99999:7:::", Password::Usable, None)]
    #[case::an_empty_one("al::1:0:99999:7:::", Password::Usable, None)]
    #[case::locked("al:!$y$x:1:0:99999:7::0:", Password::Locked, Some(0))]
    #[case::none("al:!:1:0:99999:7::20000:", Password::None, Some(20_000))]
    #[case::none_of_another_kind("al:*:1:0:99999:7::-1:", Password::None, None)]
    #[case::locked_twice("al:!!:1::::::", Password::None, None)]
    #[case::a_lock_before_none("al:!*:1::::::", Password::None, None)]
    #[case::a_password_that_is_locked_twice("al:!!$y$x:1::::::", Password::None, None)]
    fn what_is_said_of_a_user(
        #[case] line: &str,
        #[case] password: Password,
        #[case] expires: Option<i64>,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::under(folder.path());
        fs::create_dir(places.at("/etc")).unwrap();
        fs::write(places.at("/etc/shadow"), format!("alice:x:1::::::\nbroken\n{line}\n")).unwrap();
        assert_eq!(shadow(&places, "al").unwrap(), Some(Shadow { password, expires }));
        assert_eq!(shadow(&places, "nobody").unwrap(), None);
    }
}
