//! An address on the web, and as whom it is asked. What is shown of one never says that.

use std::fmt;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// Why an address cannot be used, and what one looks like.
const UNREADABLE: &str = "\
it is no address: write one such as https://mirror.example/envtest; in a user and a password before the host, special \
characters are percent-encoded";

/// Where something lies. Shown, it is without a user and a password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address {
    url: String,
    /// What the header `Authorization` says, if whoever asks has to say who they are.
    authorization: Option<String>,
}

impl Address {
    /// Reads `https://host/path`, or `https://user:password@host/path` (RFC 3986, section 3.2.1).
    ///
    /// # Errors
    /// If it is no such address. What it was is not said, as it may have a password.
    pub(crate) fn read(text: &str) -> Result<Self> {
        let (scheme, rest) = text.split_once("://").context(UNREADABLE)?;
        ensure!(["http", "https"].contains(&scheme), UNREADABLE);
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        let port = host.rsplit_once(':').filter(|_| !host.ends_with(']')).map(|(_, port)| port);
        let is_port = |port: &str| port.parse::<u16>().is_ok();
        // A password with a slash that is not encoded would be taken for a port and a path, and be shown.
        let is_read = port.is_none_or(is_port) && !path.contains(['@', '?', '#']);
        ensure!(!host.is_empty() && is_read, UNREADABLE);
        let authorization = user.map(basic).transpose()?;
        Ok(Self { url: format!("{scheme}://{host}{path}"), authorization })
    }

    /// What lies below it, with the same authorization.
    pub(crate) fn below(&self, path: &str) -> Self {
        let url = format!("{}/{path}", self.url.trim_end_matches('/'));
        Self { url, ..self.clone() }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }
}

/// Basic authentication (RFC 7617) of `user:password`, as an address writes it.
fn basic(user: &str) -> Result<String> {
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    let pair = [decoded(user)?, vec![b':'], decoded(password)?].concat();
    Ok(format!("Basic {}", BASE64_STANDARD.encode(pair)))
}

/// The bytes of a text with percent-encoding.
fn decoded(text: &str) -> Result<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = digit().zip(digit()).context(UNREADABLE)?;
                u8::try_from(high << 4 | low)?
            }
            other => other,
        });
    }
    Ok(decoded)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_is_known_and_not_shown() {
        for (text, shown, authorization) in [
            ("https://mirror.example/envtest/", "https://mirror.example/envtest/x", None),
            ("http://[::1]:8080", "http://[::1]:8080/x", None),
            (
                "https://al:s3cret@mirror.example:8443/e",
                "https://mirror.example:8443/e/x",
                Some("Basic YWw6czNjcmV0"),
            ),
            ("https://al@mirror.example", "https://mirror.example/x", Some("Basic YWw6")),
            (
                "https://al:s%2F%40t@mirror.example",
                "https://mirror.example/x",
                Some("Basic YWw6cy9AdA=="),
            ),
            (
                "https://a@l:s@t@mirror.example",
                "https://mirror.example/x",
                Some("Basic YUBsOnNAdA=="),
            ),
        ] {
            let address = Address::read(text).unwrap().below("x");
            assert_eq!(address.to_string(), shown);
            assert_eq!((address.url(), address.authorization()), (shown, authorization), "{text}");
            assert_eq!(format!("{address:?}"), shown);
        }
    }

    #[test]
    fn what_is_no_address_is_not_repeated() {
        for text in [
            "al:s3cret@mirror.example",
            "ftp://al:s3cret@mirror.example",
            "https://al:s3cret/x@mirror.example",
            "https://al:12/s3cret@mirror.example",
            "https://al:12?s3cret@mirror.example",
            "https://mirror.example/envtest?token=s3cret",
            "https://al:s3cret%2@mirror.example",
            "https://al:s3cret%zz@mirror.example",
            "https://al:s3cret@",
            "s3cret",
        ] {
            let error = format!("{:#} {:?}", Address::read(text).unwrap_err(), Address::read(text));
            assert!(error.contains("https://mirror.example/envtest"), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
