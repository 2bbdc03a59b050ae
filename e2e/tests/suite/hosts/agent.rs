//! An agent that does nothing on its host, and says what it likes: what the gateway and the cluster make of it.

use std::sync::Mutex;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use lapse_agent::chance::random_name;
use lapse_agent::identity::HostKey;
use lapse_crds::OrderState;
use lapse_engine::order::{
    Host, Order, PublishedTrust, Receipt, TrustStore, VerifiedOrder, verify,
};
use lapse_wire::gateway_client::GatewayClient;
use lapse_wire::{EnrolRequest, FromAgent, GetTrustRequest, Hello, ToAgent, from_agent, to_agent};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};
use tonic::{Status, Streaming};

use crate::world::{SOON, World};

/// Somebody who enrols, and may then connect.
pub(crate) struct Agent {
    pub(crate) key: HostKey,
    pub(crate) host: Host,
    pub(crate) machine: String,
    pub(crate) certificate: String,
    pub(crate) trust: TrustStore,
    /// Whether it says that people on its host may request.
    pub(crate) asks: bool,
    /// The connections that it had, as the process that it is.
    connections: Mutex<Vec<String>>,
    address: String,
}

/// A machine, by a hash of what it calls itself.
pub(crate) fn machine(of: u8) -> String {
    format!("sha256:{}", format!("{of:02x}").repeat(32))
}

impl Agent {
    /// Somebody who has the pin, and has not enrolled.
    pub(crate) async fn new(world: &World, endpoint: &str, seed: u8) -> Self {
        let maps: Api<ConfigMap> = Api::namespaced(world.admin.client.clone(), "lapse-system");
        let map = maps.get("lapse-endpoint-trust").await.unwrap().data.unwrap();
        let published: PublishedTrust = serde_json::from_str(&map["trust.json"]).unwrap();
        let trust = TrustStore::pinned(&published, &map["pin"]).unwrap();
        Self {
            key: HostKey::from_seed(&[seed; 32]),
            host: Host { name: endpoint.to_owned(), uid: String::new() },
            machine: machine(seed),
            certificate: String::new(),
            trust,
            asks: false,
            connections: Mutex::default(),
            address: format!("https://{}", world.lapse.gateways[0].served.unwrap()),
        }
    }

    /// Another process with all that this one has, as on a copy of its machine, which knows the gateway of this number.
    pub(crate) fn copied(&self, world: &World, gateway: usize) -> Self {
        Self {
            key: self.key.clone(),
            host: self.host.clone(),
            machine: self.machine.clone(),
            certificate: self.certificate.clone(),
            trust: self.trust.clone(),
            asks: self.asks,
            connections: Mutex::default(),
            address: format!("https://{}", world.lapse.gateways[gateway].served.unwrap()),
        }
    }

    /// The name of its last connection.
    pub(crate) fn connection(&self) -> Option<String> {
        self.connections.lock().unwrap().last().cloned()
    }

    pub(crate) async fn client(&self, with_certificate: bool) -> Result<GatewayClient<Channel>> {
        let tls =
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(self.trust.authorities()));
        let tls = if with_certificate {
            tls.identity(Identity::from_pem(
                &self.certificate,
                self.key.pair().unwrap().serialize_pem(),
            ))
        } else {
            tls
        };
        let channel =
            Channel::from_shared(self.address.clone())?.tls_config(tls)?.connect().await?;
        Ok(GatewayClient::new(channel))
    }

    /// What the gateway says is to be trusted.
    pub(crate) async fn told_to_trust(&self) -> String {
        let mut client = self.client(false).await.unwrap();
        client.get_trust(GetTrustRequest {}).await.unwrap().into_inner().json
    }

    /// Enrols with a token.
    pub(crate) async fn enrol(&mut self, token: &str) -> Result<(), Status> {
        let request = EnrolRequest {
            endpoint: self.host.name.clone(),
            token: token.to_owned(),
            csr: self.key.certificate_request().unwrap(),
            machine: self.machine.clone(),
        };
        let mut client = self.client(false).await.unwrap();
        let enrolled = client.enrol(request).await?.into_inner();
        self.host.uid = enrolled.endpoint_uid;
        self.certificate = enrolled.certificate;
        Ok(())
    }

    /// Connects, and says what it can do.
    pub(crate) async fn attach(&self, capabilities: &[&str]) -> Result<Attached, Status> {
        self.attach_with(capabilities, &[]).await
    }

    /// Connects, and says this beside what its report says that it can do.
    pub(crate) async fn attach_with(
        &self,
        capabilities: &[&str],
        beside: &[&str],
    ) -> Result<Attached, Status> {
        let client = self.client(true).await;
        let mut client = client.map_err(|error| Status::unknown(format!("{error:#}")))?;
        let (sender, stream) = mpsc::channel(16);
        let report = json!({"version": "0.1.0", "capabilities": capabilities}).to_string();
        let (connection, machine) = (random_name(), self.machine.clone());
        let before = self.connections.lock().unwrap().clone();
        let hello = Hello {
            report,
            machine,
            grants: vec![],
            connection: connection.clone(),
            before,
            capabilities: beside.iter().map(ToString::to_string).collect(),
            asks: self.asks,
            requests: vec![],
        };
        let message = Some(from_agent::Message::Hello(hello));
        sender.send(FromAgent { message }).await.unwrap();
        let inbound = client.attach(ReceiverStream::new(stream)).await?.into_inner();
        self.connections.lock().unwrap().push(connection);
        Ok(Attached { sender, inbound, sequence: 0 })
    }

    /// An order, as an agent judges it.
    pub(crate) fn judge(&self, order: &Order) -> VerifiedOrder {
        verify(&self.trust.keys(), &self.host, order).unwrap()
    }

    /// A receipt, signed.
    pub(crate) fn receipt(
        &self,
        grant: &str,
        request_uid: &str,
        state: OrderState,
        sequence: i64,
    ) -> String {
        let since = lapse_cluster::clock::now().into();
        let receipt = Receipt {
            grant: grant.to_owned(),
            request_uid: request_uid.to_owned(),
            state,
            since,
            message: None,
            sequence,
            ended_by_holder: false,
        };
        serde_json::to_string(&receipt.sign(&self.host.uid, self.key.signing()).unwrap()).unwrap()
    }

    /// Its key, as an Endpoint has it.
    pub(crate) fn public_key(&self) -> String {
        BASE64.encode(self.key.public())
    }
}

/// A connection.
pub(crate) struct Attached {
    sender: mpsc::Sender<FromAgent>,
    inbound: Streaming<ToAgent>,
    sequence: i64,
}

impl Attached {
    /// The next thing that the gateway says, but for what is to be trusted.
    pub(crate) async fn next(&mut self) -> Result<to_agent::Message, Status> {
        loop {
            let said = timeout(SOON, self.inbound.message()).await;
            let said = said.map_err(|_| Status::deadline_exceeded("it says nothing"))??;
            let said =
                said.context("it has hung up").map_err(|e| Status::cancelled(e.to_string()))?;
            match said.message {
                Some(to_agent::Message::Trust(_)) | None => {}
                Some(message) => return Ok(message),
            }
        }
    }

    /// To which namespace requests are carried, once the gateway says so.
    pub(crate) async fn carries_to(&mut self) -> Result<String, Status> {
        loop {
            let said = timeout(SOON, self.inbound.message()).await;
            let said = said.map_err(|_| Status::deadline_exceeded("it says nothing"))??;
            let said =
                said.context("it has hung up").map_err(|e| Status::cancelled(e.to_string()))?;
            if let Some(to_agent::Message::Trust(trust)) = said.message
                && !trust.carries_to.is_empty()
            {
                return Ok(trust.carries_to);
            }
        }
    }

    /// The next order.
    pub(crate) async fn order(&mut self) -> Order {
        match self.next().await.unwrap() {
            to_agent::Message::Order(order) => serde_json::from_str(&order.json).unwrap(),
            other => panic!("no order: {other:?}"),
        }
    }

    /// Says something about an order, and waits until that is stored.
    pub(crate) async fn says(&mut self, agent: &Agent, order: &VerifiedOrder, state: OrderState) {
        self.sequence += 1;
        let json = agent.receipt(&order.grant, &order.spec.request.uid, state, self.sequence);
        self.send(json).await;
        match self.next().await.unwrap() {
            to_agent::Message::Recorded(recorded) => assert_eq!(recorded.sequence, self.sequence),
            other => panic!("not recorded: {other:?}"),
        }
    }

    /// Sends a receipt, whatever it is.
    pub(crate) async fn send(&self, json: String) {
        self.say(from_agent::Message::Receipt(lapse_wire::Receipt { json })).await;
    }

    /// Says something, whatever it is.
    pub(crate) async fn say(&self, message: from_agent::Message) {
        self.sender.send(FromAgent { message: Some(message) }).await.unwrap();
    }
}
