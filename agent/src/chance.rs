//! Names that are made up.

/// A name that nobody else has by chance.
#[must_use]
pub fn random_name() -> String {
    let [one, other] = [(); 2].map(|()| getrandom::u64().unwrap_or_default());
    format!("{one:016x}{other:016x}")
}
