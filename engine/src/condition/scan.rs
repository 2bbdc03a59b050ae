//! What is bounded in the text of an expression, before the parser sees it.
//!
//! The parser recurses for each bracket and each `?`, with about 20 KiB of stack in a release and ten
//! times that in a debug build; a worker of the runtime has 2 MiB. It also looks ahead without limit
//! where brackets do not match. So here they are matched and counted, and nothing gets through that is
//! no part of an expression.

/// The longest expression, in bytes.
pub(super) const MAX_BYTES: usize = 2048;

/// The most words and signs.
pub(super) const MAX_TOKENS: usize = 400;

/// How deep brackets may nest.
pub(super) const MAX_NESTING: usize = 6;

/// The most conditional operators, `a ? b : c`.
pub(super) const MAX_CHOICES: usize = 6;

/// Checks the text; the error says what is wrong with it.
pub(super) fn scan(source: &str) -> Result<(), String> {
    if source.len() > MAX_BYTES {
        let length = source.len();
        return Err(format!(
            "the expression has {length} bytes; at most {MAX_BYTES} are allowed: write several conditions, all of \
             which must be true"
        ));
    }
    let mut scan = Scan { rest: source, ..Scan::default() };
    while let Some(next) = scan.rest.chars().next() {
        scan.token(next)?;
        if scan.tokens > MAX_TOKENS {
            return Err(format!(
                "the expression has more than {MAX_TOKENS} tokens: write several conditions, all of which must be true"
            ));
        }
    }
    match scan.open.last() {
        Some(closing) => Err(format!("the expression does not compile: a {closing} is missing")),
        None if scan.tokens == 0 => Err("the expression is empty".to_owned()),
        None => Ok(()),
    }
}

#[derive(Default)]
struct Scan<'a> {
    rest: &'a str,
    /// The brackets that will close those that are open.
    open: Vec<char>,
    tokens: usize,
    choices: usize,
}

impl Scan<'_> {
    /// Reads one word, sign, text or comment, or white space.
    fn token(&mut self, next: char) -> Result<(), String> {
        if next.is_ascii_whitespace() {
            self.rest = self.rest.trim_start_matches(|c: char| c.is_ascii_whitespace());
            return Ok(());
        }
        if self.rest.starts_with("//") {
            self.rest = self.rest.split_once('\n').map_or("", |(_, rest)| rest);
            return Ok(());
        }
        self.tokens += 1;
        match next {
            '\'' | '"' => return self.text(next, false),
            'r' | 'R' if self.rest[1..].starts_with(['\'', '"']) => {
                self.rest = &self.rest[1..];
                return self.text(self.rest.chars().next().unwrap_or_default(), true);
            }
            'A'..='Z' | 'a'..='z' | '0'..='9' | '_' => {
                let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
                self.rest = self.rest.trim_start_matches(word);
                if self.rest.starts_with(['\'', '"']) {
                    return Err(
                        "a string follows a word directly; the only prefix of a string is r, as in r'…', where a \
                         backslash is a backslash"
                            .to_owned(),
                    );
                }
                return Ok(());
            }
            '(' => self.opened(')')?,
            '[' => self.opened(']')?,
            ')' | ']' => self.closed(next)?,
            '{' | '}' => {
                return Err("maps and messages, {…}, are not supported in conditions".to_owned());
            }
            '?' => {
                self.choices += 1;
                if self.choices > MAX_CHOICES {
                    return Err(format!(
                        "the expression has more than {MAX_CHOICES} choices, a ? b : c: write several conditions, all \
                         of which must be true"
                    ));
                }
            }
            '.' | ',' | ':' | '+' | '-' | '*' | '/' | '%' | '<' | '>' | '=' | '!' | '&' | '|' => {}
            other => return Err(format!("{other:?} is not allowed in an expression")),
        }
        self.rest = &self.rest[next.len_utf8()..];
        Ok(())
    }

    /// Reads a text in quotes.
    fn text(&mut self, quote: char, raw: bool) -> Result<(), String> {
        if self.rest.starts_with("'''") || self.rest.starts_with(r#"""""#) {
            return Err("strings in triple quotes are not supported; use single or double quotes"
                .to_owned());
        }
        let mut characters = self.rest.char_indices().skip(1);
        while let Some((index, character)) = characters.next() {
            match character {
                '\n' | '\r' => break,
                '\\' if !raw => {
                    characters.next();
                }
                _ if character == quote => {
                    self.rest = &self.rest[index + 1..];
                    return Ok(());
                }
                _ => {}
            }
        }
        Err(format!("the expression does not compile: a string has no closing {quote}"))
    }

    fn opened(&mut self, closing: char) -> Result<(), String> {
        self.open.push(closing);
        if self.open.len() > MAX_NESTING {
            return Err(format!(
                "brackets nest more than {MAX_NESTING} deep: write several conditions, all of which must be true"
            ));
        }
        Ok(())
    }

    fn closed(&mut self, bracket: char) -> Result<(), String> {
        if self.open.pop() == Some(bracket) {
            return Ok(());
        }
        Err(format!("the expression does not compile: there is a {bracket} that closes nothing"))
    }
}
