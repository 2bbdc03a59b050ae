//! Objects by which the programs find one another, in the installation's own namespace.

/// The config map with the public keys, which only the webhook writes.
pub const ATTESTATION_KEYS: &str = "lapse-attestation-keys";
/// The `ConfigMap` with what hosts are to trust.
pub const ENDPOINT_TRUST: &str = "lapse-endpoint-trust";
/// The config map in which the processes of the gateway show one another that they live.
pub const GATEWAYS: &str = "lapse-gateways";
/// The lease without which no controller gives anything. The chart creates it; one that somebody deletes is made again.
pub const LEASE: &str = "lapse-controller";
