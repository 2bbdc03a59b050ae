//! What this host says of requests that people make on it: that it is they who ask, and here. Pure.
//!
//! The local user comes from the kernel, by the credentials of whoever is at the other end of the socket. What they ask for
//! comes as a digest, which the cluster compares with the request: it can be about nothing but a request, as the digest of
//! one begins with what kind of object it is.

use chrono::{DateTime, Utc};
use lapse_crds::Origin;
use lapse_engine::order::Host;
use lapse_engine::origin::{StatementError, is_digest, sign};

use crate::identity::HostKey;

/// The command on the socket by which somebody asks for a statement, with the digest of their request.
pub const COMMAND: &str = "prove";
/// Who belongs to nobody.
const ROOT: &str = "root";

/// Why nothing is said for somebody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProveError {
    /// root is no person.
    #[error(
        "root belongs to nobody in the cluster: request as the local user that is yours, without sudo"
    )]
    Root,
    /// What is asked for is no digest.
    #[error("the digest of a request is sha256: and 64 hexadecimal digits in lower case")]
    Digest,
    /// It cannot be written.
    #[error("the statement cannot be signed: {0}")]
    Statement(#[from] StatementError),
}

/// States that this local user asks, on this host and now, for what has this digest.
///
/// # Errors
/// If nothing is said for them.
pub fn prove(
    host: &Host,
    local_user: &str,
    digest: &str,
    now: DateTime<Utc>,
    key: &HostKey,
) -> Result<Origin, ProveError> {
    if local_user == ROOT {
        return Err(ProveError::Root);
    }
    if !is_digest(digest) {
        return Err(ProveError::Digest);
    }
    Ok(sign(host, local_user, digest, now, key.signing())?)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD as BASE64;
    use lapse_engine::origin::verify;
    use rstest::rstest;

    use super::*;

    const DIGEST: &str = "sha256:3b2a000000000000000000000000000000000000000000000000000000000000";

    fn proven(local_user: &str, digest: &str) -> Result<Origin, ProveError> {
        let host = Host { name: "web-1".into(), uid: "u-1".into() };
        prove(&host, local_user, digest, DateTime::UNIX_EPOCH, &HostKey::from_seed(&[5; 32]))
    }

    #[test]
    fn it_is_said_who_asks_for_what_on_which_host_and_when() {
        let origin = proven("al", DIGEST).unwrap();
        assert_eq!((&*origin.endpoint, &*origin.uid, &*origin.local_user), ("web-1", "u-1", "al"));
        assert_eq!(origin.signed_at.time(), DateTime::UNIX_EPOCH);
        let key = BASE64.encode(HostKey::from_seed(&[5; 32]).public());
        verify(&origin, &key, DIGEST).unwrap();
    }

    #[rstest]
    #[case::root(
        "root",
        DIGEST,
        "root belongs to nobody in the cluster: request as the local user that is yours, without sudo"
    )]
    #[case::nothing(
        "al",
        "",
        "the digest of a request is sha256: and 64 hexadecimal digits in lower case"
    )]
    #[case::something_else(
        "al",
        "{\"kind\":\"Receipt\"}",
        "the digest of a request is sha256: and 64 hexadecimal digits in lower case"
    )]
    fn nothing_else_is_signed(
        #[case] local_user: &str,
        #[case] digest: &str,
        #[case] expected: &str,
    ) {
        assert_eq!(proven(local_user, digest).unwrap_err().to_string(), expected);
    }
}
