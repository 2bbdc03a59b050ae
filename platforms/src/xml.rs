//! Text in XML. Pure.

/// Text as it stands in an element. What XML has no way to write is left out.
#[must_use]
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\t' | '\n' | '\r' => escaped.push(' '),
            '\u{fffe}' | '\u{ffff}' => {}
            character if character.is_control() => {}
            character => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn text_stays_text() {
        let text = "</Command><Exec a=\"b\">&amp;\n\u{1}\u{ffff}\u{e4}";
        let escaped = "&lt;/Command&gt;&lt;Exec a=&quot;b&quot;&gt;&amp;amp; \u{e4}";
        assert_eq!(escape(text), escaped);
    }
}
