//! Lists in words, and messages that fit where they are written.

/// The first few of a list, then a count.
pub(crate) fn few<'a>(list: impl ExactSizeIterator<Item = &'a str>, most: usize) -> String {
    let more = list.len().saturating_sub(most);
    let first = list.take(most).collect::<Vec<_>>().join(", ");
    if more == 0 { first } else { format!("{first} and {more} more") }
}

/// A text with at most so many characters; the last says that some were cut.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most.saturating_sub(1)) {
        Some((cut, last)) if text.len() > cut + last.len_utf8() => format!("{}…", &text[..cut]),
        _ => text.to_owned(),
    }
}

/// The most bytes of a message that the schema of every status takes.
const LONGEST_MESSAGE: usize = 4096;

/// Cuts a message where the schema would refuse it: a status that is refused would say nothing at all.
pub(crate) fn clip(message: &mut String) {
    if message.len() > LONGEST_MESSAGE {
        message.truncate(message.floor_char_boundary(LONGEST_MESSAGE - '…'.len_utf8()));
        message.push('…');
    }
}

/// The same message, cut where the schema of a status would refuse it.
#[must_use]
pub fn clipped(message: &str) -> String {
    let mut message = message.to_owned();
    clip(&mut message);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_cut_to_the_character() {
        for (text, expected) in [("", ""), ("four", "four"), ("fives", "fiv…"), ("äöüßé", "äöü…")]
        {
            assert_eq!(shortened(text, 4), expected);
        }
    }

    #[test]
    fn messages_fit_the_schema() {
        let long = clipped(&"ä".repeat(4096));
        assert!(long.len() <= LONGEST_MESSAGE && long.ends_with('…'), "{} bytes", long.len());
        assert_eq!(clipped("short"), "short");
    }
}
