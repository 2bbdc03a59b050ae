//! Regular expressions that policies carry.
//!
//! The crate `regex` matches in time linear in the text and knows no backtracking, so that what a
//! requester writes cannot make a pattern slow. What is bounded here is the pattern itself: its length,
//! how deep it nests, and how much it grows when its repetitions are written out.

use std::fmt;

use regex::{Regex, RegexBuilder};

/// The longest pattern, in bytes.
const MAX_BYTES: usize = 256;

/// The memory that a compiled pattern may take, and the cache that matching may, in bytes. Patterns of
/// tickets take some hundred; `\w`, which knows the letters of every script, takes some thousand.
const MAX_COMPILED: usize = 64 * 1024;
const MAX_CACHE: usize = 256 * 1024;

/// How deep the groups and repetitions of a pattern may nest.
const MAX_NESTING: u32 = 16;

/// A regular expression that a whole text must match.
#[derive(Clone)]
pub struct Pattern {
    source: String,
    regex: Regex,
}

impl Pattern {
    /// Compiles the pattern of a field, which the error names. The whole text must match, whether the
    /// pattern says so with `^` and `$` or not: a pattern of tickets that forgot them would accept any
    /// text with a ticket somewhere in it.
    pub fn compile(field: &str, source: &str) -> Result<Self, String> {
        // Checked as it stands first: `a)|(b` must not become valid by what is put around it.
        partial(source).map_err(|why| format!("{field}: {why}"))?;
        let whole =
            build(&format!(r"\A(?:{source})\z")).map_err(|why| format!("{field}: {why}"))?;
        Ok(Self { source: source.to_owned(), regex: whole })
    }

    /// Whether the whole text matches.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.source
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?})", self.source)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

/// Two patterns are equal when they were written alike; what they match does not count.
impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Pattern {}

/// Compiles a pattern that may match anywhere in a text, within the same bounds.
pub(crate) fn partial(source: &str) -> Result<Regex, String> {
    if source.len() > MAX_BYTES {
        let length = source.len();
        return Err(format!("the pattern has {length} bytes; at most {MAX_BYTES} are allowed"));
    }
    build(source)
}

fn build(source: &str) -> Result<Regex, String> {
    let mut builder = RegexBuilder::new(source);
    builder.size_limit(MAX_COMPILED).dfa_size_limit(MAX_CACHE).nest_limit(MAX_NESTING);
    builder.build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => {
            "the pattern grows too large when its repetitions are written out; repeat less, or name \
             characters such as [0-9] in place of classes such as \\d and \\w"
                .to_owned()
        }
        // The crate draws the pattern and a mark below it first; the last line says what is wrong.
        other => {
            let text = other.to_string();
            let last = text.lines().last().unwrap_or_default();
            format!(
                "the pattern is not a regular expression: {}",
                last.strip_prefix("error: ").unwrap_or(last)
            )
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn compiled(source: &str) -> Result<Pattern, String> {
        Pattern::compile("spec.ticket.pattern", source)
    }

    #[rstest]
    #[case("^(INC|CHG)[0-9]+$", "INC0012345", true)]
    #[case("(INC|CHG)[0-9]+", "INC0012345", true)]
    #[case("(INC|CHG)[0-9]+", "see INC0012345", false)]
    #[case("(INC|CHG)[0-9]+", "INC0012345 or so", false)]
    #[case("^INC", "INC0012345", false)]
    #[case("INC[0-9]+|CHG", "CHG", true)]
    #[case("INC[0-9]+|CHG", "INC1CHG", false)]
    #[case("[0-9]+", "1\n", false)]
    #[case("[0-9]+", "1\n2", false)]
    #[case("(?m)^[0-9]+$", "1\n2", false)]
    #[case("(?x) [0-9]+ # digits\n", "42", true)]
    #[case(r"\d{4}", "٠١٢٣", true)]
    #[case("", "", true)]
    #[case("", "INC1", false)]
    #[case("a*", "", true)]
    fn matches_the_whole_text(#[case] source: &str, #[case] text: &str, #[case] matches: bool) {
        assert_eq!(compiled(source).unwrap().is_match(text), matches);
    }

    #[rstest]
    #[case("(", "unclosed group")]
    #[case("a)|(b", "unopened group")]
    #[case("[z-a]", "invalid character class range, the start must be <= the end")]
    #[case("*", "repetition operator missing expression")]
    #[case("a{2,1}", "invalid repetition count range, the start must be <= the end")]
    #[case(r"(a)\1", "backreferences are not supported")]
    #[case("(?=a)", "look-around, including look-ahead and look-behind, is not supported")]
    #[case(r"\p{Klingon}", "Unicode property not found")]
    fn says_what_is_wrong(#[case] source: &str, #[case] why: &str) {
        let error = compiled(source).unwrap_err();
        let expected =
            format!("spec.ticket.pattern: the pattern is not a regular expression: {why}");
        assert_eq!(error, expected);
    }

    #[rstest]
    #[case("(a{1000}){1000}")]
    #[case("((a{100}){100}){100}")]
    #[case(r"\w{200}")]
    #[case(r"(\pL\pN){50}")]
    fn refuses_what_explodes(#[case] source: &str) {
        insta::allow_duplicates! {
            insta::assert_snapshot!(compiled(source).unwrap_err(), @r"spec.ticket.pattern: the pattern grows too large when its repetitions are written out; repeat less, or name characters such as [0-9] in place of classes such as \d and \w");
        }
    }

    #[test]
    fn refuses_what_nests_too_deep() {
        let source = format!("{}a{}", "(".repeat(100), ")".repeat(100));
        insta::assert_snapshot!(compiled(&source).unwrap_err(), @"spec.ticket.pattern: the pattern is not a regular expression: exceed the maximum number of nested parentheses/brackets (16)");
    }

    #[test]
    fn refuses_what_is_too_long() {
        assert!(compiled(&"a".repeat(256)).is_ok());
        insta::assert_snapshot!(compiled(&"a".repeat(257)).unwrap_err(), @"spec.ticket.pattern: the pattern has 257 bytes; at most 256 are allowed");
    }

    proptest! {
        #[test]
        fn no_pattern_panics(source in any::<String>(), text in any::<String>()) {
            if let Ok(pattern) = compiled(&source) {
                prop_assert_eq!(pattern.is_match(&text), pattern.clone().is_match(&text));
            }
        }

        #[test]
        fn a_literal_matches_itself_alone(text in "[a-z]{1,8}", more in "[a-z]{1,8}") {
            let pattern = compiled(&text).unwrap();
            prop_assert!(pattern.is_match(&text));
            prop_assert!(!pattern.is_match(&(more.clone() + &text)));
            prop_assert!(!pattern.is_match(&(text + &more)));
        }
    }
}
