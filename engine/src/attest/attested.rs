//! An object together with what its attestation is worth.

use super::{Attestation, AttestationError};

/// An object that was read from the cluster, and whether admission stamped what it says.
#[derive(Clone, Debug, PartialEq)]
pub struct Attested<K> {
    /// The object.
    pub object: K,
    /// The verified attestation, or why it is worth nothing.
    pub attestation: Result<Attestation, AttestationError>,
}
