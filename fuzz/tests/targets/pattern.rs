//! Patterns of tickets: a regular expression in the first line, what it is tried on in the rest.

use lapse_engine::pattern::Pattern;
use regex::RegexBuilder;

const FIELD: &str = "spec.ticket.pattern";

fn check(bytes: &[u8]) {
    let Some(input) = crate::text(bytes) else { return };
    let (source, text) = input.split_once('\n').unwrap_or((input, ""));
    let pattern = match Pattern::compile(FIELD, source) {
        Ok(pattern) => pattern,
        Err(why) => {
            assert!(why.starts_with(FIELD), "{why}");
            assert!(why.len() < 1024, "it is told to a person: {why}");
            return;
        }
    };
    assert_eq!(pattern.as_str(), source);
    assert!(source.len() <= 256);
    let matches = pattern.is_match(text);
    // A text that matches as a whole matches somewhere, too, whatever was put around the pattern.
    let anywhere = RegexBuilder::new(source).build().unwrap();
    assert!(!matches || anywhere.is_match(text));
    let whole = anywhere.find(text).is_some_and(|found| found.range() == (0..text.len()));
    assert!(matches || !whole, "the first match is the whole text");
}

#[test]
fn pattern() {
    lapse_fuzz::fuzz!("pattern", check);
}
