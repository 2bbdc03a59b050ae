//! The last thing that the cluster hears of a host: what has ended there, as the agent was removed.

use std::collections::HashMap;
use std::time::Duration;

use lapse_crds::AgentReport;
use lapse_engine::order::Receipt;
use lapse_wire::{FromAgent, Hello, from_agent, to_agent};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::attach::random_name;
use crate::identity::Enrolled;
use crate::link::{LinkError, Trusting, connect};

/// How long it may take: whoever removes a package waits for it, with or without a network.
const PATIENCE: Duration = Duration::from_secs(15);

/// What the Endpoint says from then on.
const REMOVED: &str =
    "the agent was removed from this host: install it and enrol it again, or delete the Endpoint";

/// Why the cluster has not heard of all.
#[derive(Debug, thiserror::Error)]
pub enum FarewellError {
    /// There is no connection.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The gateway does not take it.
    #[error("the gateway says: {}", .0.message())]
    Told(#[from] Status),
    /// It cannot be said.
    #[error("what has ended cannot be signed")]
    Unsigned,
    /// It has ended the connection.
    #[error("the gateway has hung up")]
    HungUp,
    /// It took too long.
    #[error("the gateway did not answer within {} s", PATIENCE.as_secs())]
    Late,
}

/// Says what has ended, and waits until it is stored.
///
/// # Errors
/// If not all of it is.
pub async fn say_farewell(
    enrolled: &Enrolled,
    machine: String,
    receipts: &[Receipt],
) -> Result<(), FarewellError> {
    timeout(PATIENCE, tell(enrolled, machine, receipts)).await.map_err(|_| FarewellError::Late)?
}

async fn tell(
    Enrolled { identity, key, trust }: &Enrolled,
    machine: String,
    receipts: &[Receipt],
) -> Result<(), FarewellError> {
    let trusting = Trusting::Authorities(trust.authorities());
    let own = Some((identity.certificate.as_str(), key));
    let mut client = connect(&identity.gateway, trusting, own).await?;
    let report = AgentReport {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        problem: Some(REMOVED.to_owned()),
        ..AgentReport::default()
    };
    let report = serde_json::to_string(&report).map_err(|_| FarewellError::Unsigned)?;
    let grants = receipts.iter().map(|receipt| receipt.grant.clone()).collect();
    let hello = Hello { report, machine, grants, connection: random_name(), before: vec![] };
    let mut messages = vec![from_agent::Message::Hello(hello)];
    let mut open: HashMap<&str, i64> = HashMap::new();
    for receipt in receipts {
        let signed = receipt.clone().sign(&identity.endpoint.uid, key.signing());
        let json = signed.ok().and_then(|signed| serde_json::to_string(&signed).ok());
        let json = json.ok_or(FarewellError::Unsigned)?;
        messages.push(from_agent::Message::Receipt(lapse_wire::Receipt { json }));
        open.insert(&receipt.grant, receipt.sequence);
    }
    let (sender, stream) = mpsc::channel(messages.len());
    for message in messages {
        let sent = sender.send(FromAgent { message: Some(message) }).await;
        sent.map_err(|_| FarewellError::HungUp)?;
    }
    let mut inbound = client.attach(ReceiverStream::new(stream)).await?.into_inner();
    // Nothing that is ordered meanwhile is carried out: it is not written down, so nobody says that it is given.
    while !open.is_empty() {
        let said = inbound.message().await?.ok_or(FarewellError::HungUp)?;
        if let Some(to_agent::Message::Recorded(recorded)) = said.message
            && open.get(&*recorded.grant).is_some_and(|sequence| recorded.sequence >= *sequence)
        {
            open.remove(&*recorded.grant);
        }
    }
    drop(sender);
    Ok(())
}
