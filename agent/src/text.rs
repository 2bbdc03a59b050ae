//! Text that others wrote, so that it can be shown: it must not steer a terminal.

/// What stands in the place of a character that is not shown.
const HIDDEN: char = '?';

/// At most so many characters, without any that steers a terminal or turns the direction of what is written.
#[must_use]
pub fn plain(text: &str, most: usize) -> String {
    shown(text, most, |character| !character.is_control() && !is_format(character))
}

/// The same, of ASCII alone: a terminal that does not read UTF-8 takes parts of other characters for commands.
#[must_use]
pub fn ascii(text: &str, most: usize) -> String {
    shown(text, most, |character| matches!(character, ' '..='~'))
}

fn shown(text: &str, most: usize, is_shown: impl Fn(char) -> bool) -> String {
    let replaced = text.chars().map(|character| match character {
        '\t' | '\n' | '\r' => ' ',
        character if is_shown(character) => character,
        _ => HIDDEN,
    });
    replaced.take(most).collect()
}

/// Marks that nobody sees, among them those of direction.
fn is_format(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::as_it_is(
        "systemctl restart nginx",
        "systemctl restart nginx",
        "systemctl restart nginx"
    )]
    #[case::an_escape("a\x1b[2Jb", "a?[2Jb", "a?[2Jb")]
    #[case::of_eight_bits("a\u{9b}2J", "a?2J", "a?2J")]
    #[case::lines("a\r\nb\tc", "a  b c", "a  b c")]
    #[case::another_direction("a\u{202e}b", "a?b", "a?b")]
    #[case::a_name("\u{738b} \u{db}", "\u{738b} \u{db}", "? ?")]
    #[case::long(
        "0123456789012345678901234567890",
        "012345678901234567890123",
        "012345678901234567890123"
    )]
    fn what_others_wrote_steers_no_terminal(
        #[case] text: &str,
        #[case] expected: &str,
        #[case] in_ascii: &str,
    ) {
        assert_eq!(plain(text, 24), expected);
        assert_eq!(ascii(text, 24), in_ascii);
    }
}
