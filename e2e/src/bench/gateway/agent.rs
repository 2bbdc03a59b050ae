//! A simulated agent: on the wire it does what the real one does (`agent/src/attach.rs`, `agent/src/link.rs`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use lapse_agent::attach::OPEN;
use lapse_agent::backoff::{Backoff, jittered};
use lapse_agent::chance::random_name;
use lapse_agent::identity::HostKey;
use lapse_agent::link::{CONNECT, KEEP_ALIVE};
use lapse_crds::OrderState;
use lapse_engine::order::{Order, Receipt};
use lapse_wire::gateway_client::GatewayClient;
use lapse_wire::{FromAgent, Hello, from_agent, to_agent};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};

use super::board::Board;

/// How long a host takes to give a right: a rule of sudo is written and checked.
const GIVING: Duration = Duration::from_millis(50);

/// Who a simulated agent is.
pub(super) struct Enrolled {
    pub(super) uid: String,
    pub(super) machine: String,
    pub(super) key: HostKey,
    /// In PEM.
    pub(super) certificate: String,
}

/// A simulated agent.
pub(super) struct Agent {
    /// Its place on the board.
    number: usize,
    tls: ClientTlsConfig,
    address: String,
    enrolled: Arc<Enrolled>,
    /// The Grants that it has.
    held: BTreeSet<String>,
    sequence: i64,
}

impl Agent {
    /// Somebody who has enrolled, and trusts these authorities.
    pub(super) fn new(
        number: usize,
        enrolled: Arc<Enrolled>,
        address: String,
        authorities: &str,
    ) -> Result<Self> {
        let key = enrolled.key.pair()?.serialize_pem();
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(authorities))
            .identity(Identity::from_pem(&enrolled.certificate, key));
        Ok(Self { number, tls, address, enrolled, held: BTreeSet::new(), sequence: 0 })
    }

    /// Connects after a while, and again and again.
    pub(super) async fn stay(mut self, board: Arc<Board>, first: Duration) {
        sleep(first).await;
        let mut backoff = Backoff::default();
        loop {
            let began = Instant::now();
            let why = match self.converse(&board).await {
                Ok(()) => "the gateway has hung up".to_owned(),
                Err(error) => words(&error),
            };
            board.disconnected(self.number, why);
            let pause = backoff.after(began.elapsed(), !self.held.is_empty());
            sleep(jittered(pause)).await;
        }
    }

    async fn converse(&mut self, board: &Board) -> Result<()> {
        let channel = Channel::from_shared(self.address.clone())?
            .http2_keep_alive_interval(KEEP_ALIVE.0)
            .keep_alive_timeout(KEEP_ALIVE.1)
            .keep_alive_while_idle(true)
            .connect_timeout(CONNECT)
            .tls_config(self.tls.clone())?;
        let mut client = GatewayClient::new(channel.connect().await.context("connecting")?);
        let (sender, stream) = mpsc::channel(64);
        sender.send(self.hello()).await?;
        let opened = timeout(OPEN, client.attach(ReceiverStream::new(stream))).await;
        let mut inbound = opened.context("attaching")??.into_inner();
        board.connected(self.number);
        while let Some(said) = inbound.message().await? {
            match said.message {
                Some(to_agent::Message::Order(order)) => {
                    let order: Order = serde_json::from_str(&order.json)?;
                    board.order(&order.grant);
                    self.carry_out(&order, &sender)?;
                }
                Some(to_agent::Message::Recorded(_)) => board.stored(),
                Some(to_agent::Message::End(end)) => {
                    self.held.remove(&end.grant);
                }
                Some(
                    to_agent::Message::Trust(_)
                    | to_agent::Message::Renewed(_)
                    | to_agent::Message::Noted(_)
                    | to_agent::Message::Asked(_)
                    | to_agent::Message::Progress(_),
                )
                | None => {}
            }
        }
        Ok(())
    }

    /// What it can do, and what it has.
    fn hello(&self) -> FromAgent {
        let version = env!("CARGO_PKG_VERSION");
        let capabilities = ["Admin", "Commands", "CommandPatterns", "Group", "RuleCarriesEnd"];
        let system = "Debian GNU/Linux 12 (bookworm)";
        let report = json!({"version": version, "capabilities": capabilities, "system": system});
        let hello = Hello {
            report: report.to_string(),
            machine: self.enrolled.machine.clone(),
            grants: self.held.iter().cloned().collect(),
            connection: random_name(),
            before: vec![],
            capabilities: vec![],
            asks: false,
            requests: vec![],
        };
        FromAgent { message: Some(from_agent::Message::Hello(hello)) }
    }

    /// Says that it has an order, and a little later that the right is given.
    fn carry_out(&mut self, order: &Order, sender: &mpsc::Sender<FromAgent>) -> Result<()> {
        if !self.held.insert(order.grant.clone()) {
            return Ok(());
        }
        let received = self.receipt(order, OrderState::Received)?;
        let active = self.receipt(order, OrderState::Active)?;
        let sender = sender.clone();
        tokio::spawn(async move {
            // If nobody takes it, the connection has ended.
            let _ = sender.send(received).await;
            sleep(GIVING).await;
            let _ = sender.send(active).await;
        });
        Ok(())
    }

    fn receipt(&mut self, order: &Order, state: OrderState) -> Result<FromAgent> {
        self.sequence += 1;
        let request_uid = order.spec.pointer("/request/uid").and_then(Value::as_str);
        let receipt = Receipt {
            grant: order.grant.clone(),
            request_uid: request_uid.context("an order names no request")?.to_owned(),
            state,
            since: lapse_cluster::clock::now().into(),
            message: None,
            sequence: self.sequence,
            ended_by_holder: false,
        };
        let signed = receipt.sign(&self.enrolled.uid, self.enrolled.key.signing())?;
        let receipt = lapse_wire::Receipt { json: serde_json::to_string(&signed)? };
        Ok(FromAgent { message: Some(from_agent::Message::Receipt(receipt)) })
    }
}

/// Why a connection ended, in words that many have in common.
fn words(error: &anyhow::Error) -> String {
    match error.downcast_ref::<Status>() {
        Some(status) => format!("{:?}: {}", status.code(), status.message()),
        None => format!("{}: {}", error, error.root_cause()),
    }
}
