//! One agent, for as long as it is connected.

use std::sync::Arc;
use std::time::Duration;

use lapse_crds::{AgentReport, Capability, Endpoint, OrderStatus, SigningRequest};
use lapse_engine::order::{verify_drift, verify_receipt};
use lapse_wire::{
    End, FromAgent, Hello, Order, Progress, Renew, Renewed, ToAgent, Trust, from_agent, to_agent,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tonic::{Status, Streaming};
use tracing::{info, warn};

use crate::attached::{Ears, EndCause};
use crate::book::{DELETED, Stand, Tell};
use crate::carry::{Carrier, look};
use crate::endpoints::{self, is_of};
use crate::identity::Identity;
use crate::intake::{Intake, Step};
use crate::metrics::{ReceiptOutcome, RefusalReason};
use crate::requests;
use crate::scribe::scribe;
use crate::shared::{Answers, Shared};
use crate::status::{CONTACT, Heard, Opened, Presence};

/// The most Grants that an agent may say that it has.
pub(crate) const MOST_GRANTS: usize = 1024;
/// How many receipts, or parts of the record, that are not its own an agent may send.
const MOST_FORGED: usize = 16;
/// How many names of what its host can do an agent may say.
const MOST_CAPABILITIES: usize = 64;
/// The most requests that an agent may ask about when it connects.
const MOST_REQUESTS: usize = 64;
/// The longest text of a receipt.
const LONGEST_RECEIPT: usize = 4096;

/// One agent.
pub(crate) struct Session {
    pub(crate) shared: Arc<Shared>,
    pub(crate) identity: Arc<Identity>,
    /// The name of its connection.
    pub(crate) connection: Arc<str>,
    pub(crate) answers: Answers,
    /// Whether people on its host may request, as far as it knows of that.
    pub(crate) asks: bool,
}

/// What is said and to be said when an agent connects. Boxed, as it is gone when that is done.
pub(crate) struct Welcome {
    /// What it says.
    pub(crate) hello: Hello,
    /// The connection that this is.
    pub(crate) opened: Opened,
    /// What it is to be told.
    pub(crate) tells: Vec<Tell>,
    /// The Grants that it has and nothing is known of.
    pub(crate) unknown: Vec<String>,
}

fn message(message: to_agent::Message) -> ToAgent {
    ToAgent { message: Some(message) }
}

impl Session {
    /// Serves the agent that has connected.
    pub(crate) async fn serve(
        self,
        live: Box<Endpoint>,
        welcome: Box<Welcome>,
        ears: Ears,
        mut inbound: Streaming<FromAgent>,
    ) {
        let (heard, says) = mpsc::channel(64);
        let (shared, identity) = (self.shared.clone(), self.identity.clone());
        let (connection, answers) = (self.connection.clone(), self.answers.clone());
        let writing = scribe(shared, identity, connection, live, says, answers);
        let mut writing = Some(tokio::spawn(writing));
        let number = ears.number;
        self.shared.metrics.agents.inc();
        info!(endpoint = %self.identity.name, "an agent is connected");
        let mut intake = Intake::new(self.shared.clone(), self.identity.clone());
        let mut cause = self.converse(welcome, ears, &mut inbound, (&heard, &mut intake)).await;
        if cause == Some(EndCause::Gone)
            && let Some(writing) = writing.take()
            && writing.await.is_err()
        {
            // It broke, which says nothing of the Endpoint: the agent connects again.
            cause = None;
        }
        let is_current = self.shared.attached().detach(&self.identity.uid, number);
        self.shared.metrics.agents.dec();
        let why = cause.map(tracing::field::debug);
        info!(endpoint = %self.identity.name, cause = why, "an agent is disconnected");
        if cause == Some(EndCause::Replaced) {
            self.shared.metrics.replaced.inc();
        }
        if let Some(status) = cause.map(told) {
            let _ = self.answers.send(Box::new(Err(status))).await;
        }
        let activity = intake.rest();
        if !activity.is_empty() {
            let _ = heard.try_send(Box::new(Heard { activity, ..Heard::default() }));
        }
        // Who has connected again here is there, and another replica says so when this one stops.
        let is_gone = matches!(cause, None | Some(EndCause::Slow)) && is_current;
        if is_gone {
            let connection = self.connection.clone();
            let presence = Some(Presence::Disconnected { connection });
            let _ = heard.send(Box::new(Heard { presence, ..Heard::default() })).await;
        }
        drop(heard);
        if let Some(writing) = writing {
            let _ = writing.await;
        }
    }

    async fn converse(
        &self,
        welcome: Box<Welcome>,
        mut ears: Ears,
        inbound: &mut Streaming<FromAgent>,
        (heard, intake): (&mpsc::Sender<Box<Heard>>, &mut Intake),
    ) -> Option<EndCause> {
        let (mut trust, mut carries) = (self.shared.trust.clone(), self.shared.carries.clone());
        let said = trust.borrow_and_update().clone();
        carries.mark_unchanged();
        let (shared, identity) = (self.shared.clone(), self.identity.clone());
        let porter = Carrier::new(shared, identity, self.answers.clone());
        // What happens seldom is boxed: the memory for it would otherwise be kept for as long as an agent says nothing.
        let mut unasked = Box::pin(self.begin(said, welcome, heard)).await?;
        let mut contact = Instant::now() + hour();
        let ends = (self.identity.expires_at - lapse_cluster::clock::now()).to_std();
        let mut expires = Instant::now() + ends.unwrap_or_default();
        let mut forged = 0;
        loop {
            tokio::select! {
                biased;
                cause = &mut ears.end => return Some(cause.unwrap_or(EndCause::Stopping)),
                // Who writes has seen, as of now, that the Endpoint is not this agent's any more.
                () = heard.closed() => return Some(EndCause::Gone),
                tell = ears.tells.recv() => Box::pin(self.tell(*tell?)).await,
                said = inbound.message() => match said.ok().flatten()?.message? {
                    from_agent::Message::Receipt(receipt) => {
                        if let Some(receipt) = self.receipt(&receipt.json) {
                            let receipts = vec![receipt];
                            // An API server that does not answer must not keep an end from its agent. What is not
                            // taken here is sent again.
                            let _ = heard.try_send(Box::new(Heard { receipts, ..Heard::default() }));
                        } else {
                            self.shared.metrics.receipt(ReceiptOutcome::refused);
                            forged += 1;
                        }
                    }
                    from_agent::Message::Hello(hello) => {
                        if !Box::pin(self.hello(hello, None, heard)).await {
                            return None;
                        }
                    }
                    from_agent::Message::Activity(activity) => {
                        forged += usize::from(!intake.take(activity));
                    }
                    from_agent::Message::Ask(ask) => {
                        forged += usize::from(!Box::pin(porter.request(&ask.json)).await);
                    }
                    from_agent::Message::Withdraw(withdraw) => {
                        forged += usize::from(!Box::pin(porter.end(&withdraw.json)).await);
                    }
                    from_agent::Message::Renew(renew) => {
                        if let Some(until) = Box::pin(self.renew(renew)).await {
                            expires = until;
                        }
                    }
                },
                step = intake.next() => match step {
                    Step::Noted(noted) => {
                        let noted = message(to_agent::Message::Noted(noted));
                        let _ = self.answers.send(Box::new(Ok(noted))).await;
                    }
                    // What has no room is in the exported record all the same.
                    Step::Show(activity) => {
                        let _ = heard.try_send(Box::new(Heard { activity, ..Heard::default() }));
                    }
                },
                changed = trust.changed() => {
                    changed.ok()?;
                    let said = trust.borrow_and_update().clone();
                    self.send_trust(said).await;
                }
                changed = carries.changed() => {
                    changed.ok()?;
                    let said = trust.borrow().clone();
                    self.send_trust(said).await;
                    Box::pin(self.look_at(std::mem::take(&mut unasked))).await;
                }
                () = sleep_until(contact) => {
                    contact = Instant::now() + hour();
                    let presence = Some(Presence::Steady);
                    heard.send(Box::new(Heard { presence, ..Heard::default() })).await.ok()?;
                }
                // A certificate that was not renewed ends what it opened.
                () = sleep_until(expires) => return None,
            }
            if forged > MOST_FORGED {
                return None;
            }
        }
    }

    /// What is said first: whom to trust, then all that is in force. Returns the requests of which nothing can be said yet.
    async fn begin(
        &self,
        trust: Option<String>,
        welcome: Box<Welcome>,
        heard: &mpsc::Sender<Box<Heard>>,
    ) -> Option<Vec<String>> {
        let Welcome { mut hello, opened, tells, unknown } = *welcome;
        let mut requests = std::mem::take(&mut hello.requests);
        requests.truncate(MOST_REQUESTS);
        self.send_trust(trust).await;
        if !self.hello(hello, Some(opened), heard).await {
            return None;
        }
        for tell in tells {
            self.tell(tell).await;
        }
        for grant in unknown {
            self.look_up(grant).await;
        }
        if self.shared.carries.borrow().is_none() {
            return Some(requests);
        }
        self.look_at(requests).await;
        Some(Vec::new())
    }

    /// Takes over what an agent says of itself; whether it can be read.
    async fn hello(
        &self,
        hello: Hello,
        opened: Option<Opened>,
        heard: &mpsc::Sender<Box<Heard>>,
    ) -> bool {
        let mut report: AgentReport = match serde_json::from_str(&hello.report) {
            Ok(report) => report,
            Err(error) => {
                self.shared.metrics.refused(RefusalReason::protocol);
                warn!(endpoint = %self.identity.name, %error, "what an agent says of itself cannot be read");
                return false;
            }
        };
        if let Some(drift) = &report.drift
            && let Err(error) = verify_drift(&self.identity.public_key, &self.identity.uid, drift)
        {
            self.shared.metrics.refused(RefusalReason::protocol);
            warn!(endpoint = %self.identity.name, %error, "what an agent says that it found is not believed");
            return false;
        }
        let names = hello.capabilities.iter().take(MOST_CAPABILITIES);
        let known = names.filter_map(|name| serde_json::from_value(name.as_str().into()).ok());
        report.capabilities.extend(known.collect::<Vec<Capability>>());
        report.capabilities.sort_unstable();
        report.capabilities.dedup();
        let presence = Some(Presence::Connected);
        let said = Heard { report: Some(report), presence, opened, ..Heard::default() };
        heard.send(Box::new(said)).await.is_ok()
    }

    /// A receipt that is the agent's own.
    fn receipt(&self, text: &str) -> Option<OrderStatus> {
        if text.len() > LONGEST_RECEIPT {
            return None;
        }
        let receipt: OrderStatus = serde_json::from_str(text).ok()?;
        verify_receipt(&self.identity.public_key, &self.identity.uid, &receipt).ok()?;
        Some(receipt)
    }

    async fn tell(&self, tell: Tell) {
        let message = match tell {
            // An earlier agent would hang up.
            Tell::Progress(_) if !self.asks => return,
            Tell::Progress(progress) => message(to_agent::Message::Progress(said_of(*progress))),
            Tell::Order(order) => {
                self.shared.metrics.orders.inc();
                message(to_agent::Message::Order(Order { json: order.to_string() }))
            }
            Tell::End { grant, reason, request_uid } => {
                self.shared.metrics.ends.inc();
                let (reason, request_uid) = (reason.to_owned(), request_uid.to_string());
                message(to_agent::Message::End(End { grant, reason, request_uid }))
            }
        };
        // If nobody takes it, the connection has ended, and the next one is told everything.
        let _ = self.answers.send(Box::new(Ok(message))).await;
    }

    /// A Grant that the agent has and the watch does not show: over, or not seen yet.
    async fn look_up(&self, grant: String) {
        match endpoints::grant(&self.shared.client, &grant).await {
            Ok(Some(seen))
                if seen.endpoint_uid == self.identity.uid && seen.stand == Stand::Live =>
            {
                self.tell(Tell::Order(seen.order)).await;
            }
            Ok(seen) => {
                let request_uid = seen.map_or_else(|| "".into(), |seen| seen.request_uid);
                self.tell(Tell::End { grant, reason: DELETED, request_uid }).await;
            }
            // Nothing ends by a look-up that failed.
            Err(error) => warn!(grant, error, "a Grant cannot be looked up"),
        }
    }

    /// Requests of which the agent does not know what has become.
    async fn look_at(&self, requests: Vec<String>) {
        let uid = &self.identity.uid;
        for name in requests {
            let known = self.shared.requests().progress(uid, &name);
            let progress = match known {
                Some(known) => Some(known),
                None => look(&self.shared, uid, &name).await,
            };
            if let Some(progress) = progress {
                self.tell(Tell::Progress(Box::new(progress))).await;
            }
        }
    }

    async fn renew(&self, Renew { csr }: Renew) -> Option<Instant> {
        let asked = SigningRequest { csr, token: None, machine: None };
        let is_own = |live: &Endpoint| is_of(live, &self.identity);
        let name = &self.identity.name;
        match endpoints::sign(&self.shared.client, name, &asked, is_own).await {
            Ok(None) => None,
            Ok(Some(signed)) => {
                let agent = signed.status?.agent?;
                let until = agent.certificate_expires_at.time() - lapse_cluster::clock::now();
                let certificate = agent.certificate;
                let _ = self
                    .answers
                    .send(Box::new(Ok(message(to_agent::Message::Renewed(Renewed {
                        certificate,
                    })))))
                    .await;
                Some(Instant::now() + until.to_std().ok()?)
            }
            Err(error) => {
                warn!(endpoint = %name, %error, "a certificate is not renewed");
                None
            }
        }
    }

    async fn send_trust(&self, trust: Option<String>) {
        if let Some(json) = trust {
            let carries = self.shared.carries.borrow().clone();
            let _ = self
                .answers
                .send(Box::new(Ok(message(to_agent::Message::Trust(Trust {
                    json,
                    takes_activity: true,
                    carries_to: carries.unwrap_or_default(),
                })))))
                .await;
        }
    }
}

/// How a request stands, as an agent is told.
fn said_of(progress: requests::Progress) -> Progress {
    let requests::Progress { name, phase, waiting_for, why } = progress;
    let phase = phase.map(|phase| phase.to_string()).unwrap_or_default();
    Progress { name, phase, waiting_for, why }
}

fn hour() -> Duration {
    CONTACT.to_std().unwrap_or(Duration::from_hours(1))
}

/// Why a connection ends, for the agent.
fn told(cause: EndCause) -> Status {
    match cause {
        EndCause::Replaced => Status::aborted(
            "this machine has connected again; if it has not, another one has its identity (docs/endpoints.md, Many hosts)",
        ),
        EndCause::Deleted => Status::unauthenticated("the Endpoint was deleted"),
        EndCause::Reenrolled => {
            Status::unauthenticated("another agent has enrolled for this Endpoint since")
        }
        EndCause::Gone => Status::unauthenticated(
            "the Endpoint was deleted, or another agent has enrolled for it since",
        ),
        EndCause::Slow => Status::resource_exhausted("it takes nothing; connect again"),
        EndCause::Stopping => Status::unavailable("this gateway stops; connect to another"),
    }
}
