//! Names that are made up.

use std::hash::{BuildHasher as _, RandomState};

/// A name that nobody else has by chance.
pub(crate) fn random_name() -> String {
    let [one, other] = [(); 2].map(|()| RandomState::new().hash_one(()));
    format!("{one:016x}{other:016x}")
}
