//! The last thing that the cluster hears of a host: what has ended there, as the agent was removed, and the last of the record.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use lapse_crds::AgentReport;
use lapse_engine::activity::Batch;
use lapse_engine::order::Receipt;
use lapse_wire::{FromAgent, Hello, ToAgent, from_agent, to_agent};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::chance::random_name;
use crate::identity::Enrolled;
use crate::link::{LinkError, Trusting, connect};
use crate::outbox::signed;

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

/// Says what has ended, and waits until it is stored; then as much of the record as there is time for. How many parts of that
/// are not told.
///
/// # Errors
/// If not all that has ended is stored.
pub async fn say_farewell(
    enrolled: &Enrolled,
    machine: String,
    receipts: &[Receipt],
    record: Vec<Batch>,
) -> Result<usize, FarewellError> {
    let told = timeout(PATIENCE, Farewell::tell(enrolled, machine, receipts)).await;
    let mut farewell = told.map_err(|_| FarewellError::Late)??;
    let mut record = VecDeque::from(record);
    // What has ended is stored, whatever becomes of this.
    let _ = timeout(PATIENCE, farewell.hand_over(enrolled, &mut record)).await;
    Ok(record.len())
}

/// The last connection of a host.
struct Farewell {
    sender: mpsc::Sender<FromAgent>,
    inbound: Streaming<ToAgent>,
    /// Whether the gateway takes the record, if it has said so.
    takes_activity: Option<bool>,
}

impl Farewell {
    async fn tell(
        Enrolled { identity, key, trust }: &Enrolled,
        machine: String,
        receipts: &[Receipt],
    ) -> Result<Self, FarewellError> {
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
        let connection = random_name();
        let hello = Hello { report, machine, grants, connection, ..Hello::default() };
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
        let inbound = client.attach(ReceiverStream::new(stream)).await?.into_inner();
        let mut farewell = Self { sender, inbound, takes_activity: None };
        // Nothing that is ordered meanwhile is carried out: it is not written down, so nobody says that it is given.
        while !open.is_empty() {
            if let Some(to_agent::Message::Recorded(recorded)) = farewell.hear().await?
                && open.get(&*recorded.grant).is_some_and(|number| recorded.sequence >= *number)
            {
                open.remove(&*recorded.grant);
            }
        }
        Ok(farewell)
    }

    async fn hear(&mut self) -> Result<Option<to_agent::Message>, FarewellError> {
        let said = self.inbound.message().await?.ok_or(FarewellError::HungUp)?;
        if let Some(to_agent::Message::Trust(trust)) = &said.message {
            self.takes_activity = Some(trust.takes_activity);
        }
        Ok(said.message)
    }

    /// Hands over what is left of the record, each part when the one before is noted.
    async fn hand_over(
        &mut self,
        Enrolled { identity, key, .. }: &Enrolled,
        record: &mut VecDeque<Batch>,
    ) -> Result<(), FarewellError> {
        while let Some(batch) = record.front() {
            while self.takes_activity.is_none() {
                self.hear().await?;
            }
            if self.takes_activity == Some(false) {
                return Ok(());
            }
            let message = signed(batch, &identity.endpoint.uid, key);
            let message = message.ok_or(FarewellError::Unsigned)?;
            let sent = self.sender.send(FromAgent { message: Some(message) }).await;
            sent.map_err(|_| FarewellError::HungUp)?;
            loop {
                if let Some(to_agent::Message::Noted(noted)) = self.hear().await?
                    && (&noted.series, noted.last) == (&batch.series, batch.last)
                {
                    break;
                }
            }
            record.pop_front();
        }
        Ok(())
    }
}
