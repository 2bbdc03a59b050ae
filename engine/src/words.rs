//! Lists in words.

/// The first few of a list, then a count.
pub(crate) fn few<'a>(list: impl ExactSizeIterator<Item = &'a str>, most: usize) -> String {
    let more = list.len().saturating_sub(most);
    let first = list.take(most).collect::<Vec<_>>().join(", ");
    if more == 0 { first } else { format!("{first} and {more} more") }
}
