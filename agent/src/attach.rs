//! One connection after another to the gateway: orders in, receipts out.

use std::collections::HashMap;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use lapse_crds::{AgentReport, Capability};
use lapse_engine::order::DriftReport;
use lapse_wire::{FromAgent, Hello, Renew, ToAgent, from_agent, to_agent};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use tracing::{info, warn};

use crate::backoff::{Backoff, jittered};
use crate::certificate::{check_next, validity};
use crate::chance::random_name;
use crate::clock::{Clock as _, HostClock};
use crate::durable;
use crate::identity::{HostKey, Identity, IdentityError, write_identity};
use crate::journal::{JournalError, read, write};
use crate::link::{LinkError, Trusting, connect};
use crate::outbox::Outbox;
use crate::places::Places;
use crate::requests::courier::Courier;
use crate::standing::Standing;
use crate::worker::{News, Task};

/// The pause after the cluster has said that this host is nobody.
const NOBODY: Duration = Duration::from_mins(5);
/// How long opening a connection may take, from its first answer on.
pub const OPEN: Duration = Duration::from_secs(15);
/// How often it is looked whether the certificate is to be renewed.
const RENEWAL: Duration = Duration::from_hours(1);
/// How long is waited while too much is to be done.
const BUSY: Duration = Duration::from_millis(5);
/// How many messages may wait to be sent.
const WAITING: usize = 64;
/// How many of its connections a host remembers.
const REMEMBERED: usize = 32;
/// What gateways of the first release can read in a report. One that reads another in it ends the connection.
const FIRST: [Capability; 5] = [
    Capability::Admin,
    Capability::Commands,
    Capability::CommandPatterns,
    Capability::Group,
    Capability::RuleCarriesEnd,
];

/// This host, as it talks to the gateway.
pub struct Link {
    places: Places,
    identity: Identity,
    key: HostKey,
    machine: String,
    tasks: SyncSender<Task>,
    news: watch::Receiver<News>,
    /// What was found that would outlast rights.
    drift: watch::Receiver<DriftReport>,
    /// Whether the gateway has said anything on this connection.
    has_heard: bool,
    /// Whether a certificate was asked for.
    asks: bool,
    /// The connections of this host, by which the gateway knows that nobody else has connected in between. Kept on its disk: a
    /// copy has those from before it was copied, and none from since then.
    connections: Vec<String>,
    standing: Option<Standing>,
    outbox: Outbox,
    /// What people on the host say to the cluster.
    courier: Courier,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("the gateway says: {}", .0.message())]
    Told(#[from] Status),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("the gateway has hung up")]
    HungUp,
    #[error("the thread that carries out orders has ended")]
    NoWorker,
}

impl Link {
    /// Who it is, by which key and on which machine; who carries out orders; what the cluster is to know of them, and of what
    /// would outlast them; the record, and what people on the host say.
    #[must_use]
    pub fn new(
        places: Places,
        identity: Identity,
        key: HostKey,
        machine: String,
        tasks: SyncSender<Task>,
        (news, drift): (watch::Receiver<News>, watch::Receiver<DriftReport>),
        (outbox, courier): (Outbox, Courier),
    ) -> Self {
        let (has_heard, asks, standing) = (false, false, None);
        // Who remembers nothing says nothing of others.
        let connections = read(places.connections()).ok().flatten().unwrap_or_default();
        Self {
            places,
            identity,
            key,
            machine,
            tasks,
            news,
            drift,
            has_heard,
            asks,
            connections,
            standing,
            outbox,
            courier,
        }
    }

    /// Stays connected for ever. Ends only with the thread that carries out orders.
    pub async fn stay(mut self) {
        let mut backoff = Backoff::default();
        loop {
            let began = Instant::now();
            let ended = match self.converse().await {
                Err(ended) => ended,
                Ok(never) => match never {},
            };
            self.courier.lost();
            if matches!(ended, Ended::NoWorker) {
                return;
            }
            warn!(error = %ended, "not connected to the gateway: what is in force ends by itself, and nothing new begins");
            self.stands(|before, now| Standing::failed(before, ended.to_string(), now));
            // What was sent as the next certificate may be worth nothing all the same.
            if !self.has_heard
                && let Some(previous) = self.identity.previous.take()
            {
                self.identity.previous =
                    Some(std::mem::replace(&mut self.identity.certificate, previous));
            }
            let mut pause = backoff.after(began.elapsed(), self.is_awaited());
            if let Ended::Told(status) = &ended
                && status.code() == Code::Unauthenticated
            {
                let why = format!("the cluster knows this host no more: {}", status.message());
                let _ = self.hand_over(Task::EndAll(why)).await;
                pause = NOBODY;
            }
            sleep(jittered(pause)).await;
        }
    }

    /// Whether access is in force here, or the cluster does not know yet what became of it.
    fn is_awaited(&self) -> bool {
        let news = self.news.borrow();
        !news.grants.is_empty() || !news.receipts.is_empty()
    }

    async fn converse(&mut self) -> Result<std::convert::Infallible, Ended> {
        (self.has_heard, self.asks) = (false, false);
        self.outbox.begin();
        let authorities = self.news.borrow().authorities.clone();
        let identity = Some((self.identity.certificate.as_str(), &self.key));
        let trusting = Trusting::Authorities(&authorities);
        let mut client = connect(&self.identity.gateway, trusting, identity).await?;
        let (sender, stream) = mpsc::channel(WAITING);
        let say = async |message| {
            sender.send(FromAgent { message: Some(message) }).await.map_err(|_| Ended::HungUp)
        };
        let mut told = self.news.borrow_and_update().clone();
        self.drift.mark_unchanged();
        let connection = random_name();
        let hello = self.hello(&told, &connection);
        // Before it can stand anywhere else.
        self.remember(connection.clone());
        say(hello).await?;
        let opened = timeout(OPEN, client.attach(ReceiverStream::new(stream))).await;
        if matches!(opened, Ok(Err(_))) {
            // One that was refused is none, and one without an answer may be one.
            self.forget(&connection);
        }
        let mut inbound = opened.map_err(|_| Ended::HungUp)??.into_inner();
        info!(gateway = self.identity.gateway, "connected to the gateway");
        self.stands(Standing::connected);
        let mut sent: HashMap<String, i64> = HashMap::new();
        let mut renewal = tokio::time::interval(RENEWAL);
        loop {
            let receipts = told.receipts.iter();
            let fresh: Vec<_> = receipts
                .filter(|receipt| sent.get(&receipt.grant) != Some(&receipt.sequence))
                .collect();
            for receipt in fresh {
                let status = receipt.clone().sign(&self.identity.endpoint.uid, self.key.signing());
                let json = status.ok().and_then(|status| serde_json::to_string(&status).ok());
                let Some(json) = json else { continue };
                say(from_agent::Message::Receipt(lapse_wire::Receipt { json })).await?;
                sent.insert(receipt.grant.clone(), receipt.sequence);
            }
            sent.retain(|grant, _| told.receipts.iter().any(|receipt| receipt.grant == *grant));
            if let Some(activity) = self.outbox.next(&self.identity.endpoint.uid, &self.key) {
                say(activity).await?;
            }
            tokio::select! {
                said = inbound.message() => {
                    let ToAgent { message } = said?.ok_or(Ended::HungUp)?;
                    self.has_heard = true;
                    self.hear(message.ok_or(Ended::HungUp)?).await?;
                }
                changed = self.news.changed() => {
                    changed.map_err(|_| Ended::NoWorker)?;
                    let news = self.news.borrow_and_update().clone();
                    if news.report != told.report {
                        say(self.hello(&news, &connection)).await?;
                    }
                    told = news;
                }
                changed = self.drift.changed() => {
                    changed.map_err(|_| Ended::NoWorker)?;
                    say(self.hello(&told, &connection)).await?;
                }
                () = self.outbox.changed() => {}
                message = self.courier.next() => say(message).await?,
                _ = renewal.tick() => {
                    let now = HostClock.read().map(|now| now.wall);
                    if now.is_ok_and(|now| is_worn(&self.identity.certificate, now)) {
                        self.asks = true;
                        let csr = self.key.certificate_request()?;
                        say(from_agent::Message::Renew(Renew { csr })).await?;
                    }
                }
            }
        }
    }

    fn hello(&self, news: &News, connection: &str) -> from_agent::Message {
        let drift = self.drift.borrow().clone();
        let drift = drift.sign(&self.identity.endpoint.uid, self.key.signing()).ok();
        let report = AgentReport { drift, ..news.report.clone() };
        let (report, capabilities) = said_of_itself(&report);
        let (machine, grants) = (self.machine.clone(), news.grants.clone());
        let (connection, before) = (connection.to_owned(), self.connections.clone());
        let (asks, requests) = (true, self.courier.names());
        let hello =
            Hello { report, machine, grants, connection, before, capabilities, asks, requests };
        from_agent::Message::Hello(hello)
    }

    fn remember(&mut self, connection: String) {
        if self.connections.len() >= REMEMBERED {
            self.connections.remove(0);
        }
        self.connections.push(connection);
        self.note_connections();
    }

    fn forget(&mut self, connection: &str) {
        self.connections.retain(|known| known != connection);
        self.note_connections();
    }

    /// What is not all is worth nothing: without a file it is not known what there was. Removing one takes no room.
    fn note_connections(&self) {
        let path = self.places.connections();
        if write(path.clone(), &self.connections).is_err() {
            let _ = durable::remove(&path);
        }
    }

    /// Notes how the connection stands.
    fn stands(&mut self, next: impl FnOnce(Option<Standing>, DateTime<Utc>) -> Standing) {
        let Ok(now) = HostClock.read() else { return };
        let standing = next(self.standing.take(), now.wall);
        standing.write(&self.places);
        self.standing = Some(standing);
    }

    async fn hear(&mut self, message: to_agent::Message) -> Result<(), Ended> {
        let task = match message {
            to_agent::Message::Order(order) => Task::Order(order.json),
            to_agent::Message::Trust(trust) => {
                self.outbox.wanted(trust.takes_activity);
                self.courier.opened(&trust.carries_to);
                Task::Trust(trust.json)
            }
            to_agent::Message::Noted(noted) => {
                self.outbox.note(noted);
                return Ok(());
            }
            to_agent::Message::Recorded(recorded) => {
                Task::Recorded { grant: recorded.grant, sequence: recorded.sequence }
            }
            to_agent::Message::End(end) => {
                let lapse_wire::End { grant, reason, request_uid } = end;
                Task::End { grant, reason, request_uid }
            }
            to_agent::Message::Renewed(renewed) => return self.renewed(renewed.certificate),
            to_agent::Message::Asked(asked) => {
                self.courier.hear(asked);
                return Ok(());
            }
            to_agent::Message::Progress(progress) => {
                // Who cannot tell the time shows what was known.
                if let Ok(now) = HostClock.read() {
                    self.courier.note(&progress, now.wall);
                }
                return Ok(());
            }
        };
        self.hand_over(task).await
    }

    fn renewed(&mut self, next: String) -> Result<(), Ended> {
        let (authorities, key) = (self.news.borrow().authorities.clone(), self.key.public());
        match check_next(&next, &self.identity.certificate, &key, &authorities) {
            Ok(()) if self.asks => {
                self.asks = false;
                let old = std::mem::replace(&mut self.identity.certificate, next);
                self.identity.previous = Some(old);
                write_identity(&self.places, &self.identity)?;
                info!("the certificate of this host is renewed");
            }
            Ok(()) => warn!("the gateway sent a certificate that was not asked for"),
            Err(error) => warn!(%error, "a certificate that the gateway sent is not taken"),
        }
        Ok(())
    }

    /// Hands something over to whoever carries it out. While that has enough to do, the gateway is not listened to.
    async fn hand_over(&self, task: Task) -> Result<(), Ended> {
        let mut task = task;
        loop {
            match self.tasks.try_send(task) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Disconnected(_)) => return Err(Ended::NoWorker),
                Err(TrySendError::Full(back)) => task = back,
            }
            sleep(BUSY).await;
        }
    }
}

/// What an agent says of itself: what every gateway can read, and all that the host can do.
#[must_use]
pub fn said_of_itself(report: &AgentReport) -> (String, Vec<String>) {
    let all = report.capabilities.iter().map(Capability::to_string).collect();
    let mut report = report.clone();
    report.capabilities.retain(|capability| FIRST.contains(capability));
    (serde_json::to_string(&report).unwrap_or_default(), all)
}

/// Whether a third of a certificate's time has passed.
fn is_worn(certificate: &str, now: DateTime<Utc>) -> bool {
    validity(certificate).is_ok_and(|(from, to)| now - from > (to - from) / 3)
}
