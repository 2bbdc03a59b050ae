//! A host becomes the agent of an Endpoint: it believes what is published by the pin, then shows its token to whoever has
//! a certificate of the authorities that it believes in.

use std::time::Duration;

use lapse_engine::order::{Host, PublishedTrust, TrustError, TrustStore};
use lapse_wire::{EnrolRequest, GetTrustRequest};
use tokio::time::{Instant, sleep};
use tonic::{Code, Status};
use tracing::info;

use crate::backoff::jittered;
use crate::certificate::validity;
use crate::durable;
use crate::fingerprint::machine;
use crate::identity::{Enrolled, HostKey, Identity, IdentityError};
use crate::journal::JournalError;
use crate::link::{LinkError, Trusting, connect};
use crate::places::Places;

/// How long is asked again, and how often.
const PATIENCE: Duration = Duration::from_mins(5);
const AGAIN: Duration = Duration::from_secs(4);

/// Where to enrol, and as what.
#[derive(Clone, Debug)]
pub struct Invitation {
    /// Where the gateway is: `https://HOST:PORT`.
    pub gateway: String,
    /// The name of the Endpoint.
    pub endpoint: String,
    /// The pin of the installation.
    pub pin: String,
    /// The one-time token.
    pub token: String,
}

/// Why a host has not enrolled.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The way.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// What the gateway says.
    #[error("the gateway at {gateway} says: {message}")]
    Refused {
        /// Which.
        gateway: String,
        /// What.
        message: String,
    },
    /// What is published is not believed.
    #[error("what the gateway at {gateway} publishes is not believed: {why}")]
    Trust {
        /// Which.
        gateway: String,
        /// Why. Not the source of this: it would be said twice.
        why: TrustError,
    },
    /// It is not what a gateway says.
    #[error("what the gateway at {gateway} says cannot be read: {why}")]
    Malformed {
        /// Which.
        gateway: String,
        /// Why.
        why: String,
    },
    /// Keys and files.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Files.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Enrols, and keeps what comes of it.
///
/// # Errors
/// If the gateway cannot be reached, is of another installation, or refuses the token. Then nothing is kept.
pub async fn enrol(places: &Places, invitation: Invitation) -> Result<Enrolled, EnrolError> {
    let Invitation { gateway, endpoint, pin, token } = invitation;
    let machine = machine(places)?;
    let refused = |status: &Status| EnrolError::Refused {
        gateway: gateway.clone(),
        message: status.message().to_owned(),
    };
    let mut client = connect(&gateway, Trusting::Anybody, None).await?;
    let published = patiently(async || client.clone().get_trust(GetTrustRequest {}).await).await;
    let published = published.map_err(|status| refused(&status))?;
    let published: PublishedTrust =
        serde_json::from_str(&published.into_inner().json).map_err(|error| {
            EnrolError::Malformed { gateway: gateway.clone(), why: error.to_string() }
        })?;
    let trust = TrustStore::pinned(&published, &pin)
        .map_err(|why| EnrolError::Trust { gateway: gateway.clone(), why })?;

    let key = HostKey::generate()?;
    let csr = key.certificate_request()?;
    client = connect(&gateway, Trusting::Authorities(trust.authorities()), None).await?;
    let asked = EnrolRequest { endpoint: endpoint.clone(), token, csr, machine: machine.clone() };
    let answer = patiently(async || client.clone().enrol(asked.clone()).await).await;
    let answer = answer.map_err(|status| refused(&status))?.into_inner();
    let endpoint = Host { name: endpoint, uid: answer.endpoint_uid };
    let certificate = answer.certificate;
    let (enrolled_at, _) = validity(&certificate)
        .map_err(|why| EnrolError::Malformed { gateway: gateway.clone(), why: why.to_string() })?;
    let identity =
        Identity { gateway, endpoint, machine, enrolled_at, certificate, previous: None };
    let enrolled = Enrolled { identity, key, trust };
    // Who connected to this Endpoint before is another.
    let path = places.connections();
    durable::remove(&path).map_err(|why| JournalError::Write { path, why })?;
    enrolled.write(places)?;
    Ok(enrolled)
}

/// Asks again for a while where the gateway has too much to do, as when many hosts enrol at once behind one address.
async fn patiently<T>(ask: impl AsyncFn() -> Result<T, Status>) -> Result<T, Status> {
    let began = Instant::now();
    loop {
        match ask().await {
            Err(status) if is_passing(&status) && began.elapsed() < PATIENCE => {
                info!("the gateway says: {}", status.message());
                sleep(jittered(AGAIN)).await;
            }
            answer => return answer,
        }
    }
}

fn is_passing(status: &Status) -> bool {
    matches!(status.code(), Code::ResourceExhausted | Code::Unavailable)
}
