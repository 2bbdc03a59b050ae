//! What agents and the gateway say to one another, as `proto/lapse/v1/gateway.proto` defines it.

#![expect(
    missing_docs,
    clippy::pedantic,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "what is generated is documented in the definition"
)]

mod codec;

tonic::include_proto!("lapse.v1");
