//! What agents call.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::Map;
use lapse_cluster::{CallError, clock};
use lapse_crds::{AgentConnection, Endpoint, SigningRequest};
use lapse_engine::endpoint::wrong_token;
use lapse_wire::gateway_server::Gateway;
use lapse_wire::{
    EnrolRequest, Enrolled, FromAgent, GetTrustRequest, Hello, ToAgent, Trust, from_agent,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::{info, warn};

use crate::caller::Caller;
use crate::chance::random_name;
use crate::endpoints::{self, is_of};
use crate::identity::{Identity, is_object_name};
use crate::metrics::{EnrolmentOutcome, RefusalReason};
use crate::session::{MOST_GRANTS, Session, Welcome};
use crate::shared::{Answer, Shared};
use crate::status::{Opened, is_twice};

/// How long an agent may take to say who it is.
const HELLO: Duration = Duration::from_secs(10);
/// The longest token and the longest certificate request, in bytes.
const LONGEST: (usize, usize) = (256, 4096);
/// How long it takes to refuse an enrolment, at the least: the time of an answer must not say whether there is an Endpoint,
/// for which more is asked than for one that there is not.
const REFUSED: Duration = Duration::from_secs(1);
/// How many messages to an agent may wait.
const WAITING: usize = 64;

/// What agents call.
#[derive(Clone)]
pub(crate) struct Service(pub(crate) Arc<Shared>);

fn caller<T>(request: &Request<T>) -> Option<&Caller> {
    request.extensions().get::<Caller>()
}

fn source<T>(request: &Request<T>) -> IpAddr {
    let unknown = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    caller(request).map_or(unknown, |caller| caller.address.ip())
}

impl Service {
    fn limited<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let is_allowed = self.0.limit().is_allowed(source(request), Instant::now());
        let message = "too many calls from this address; try again in a while";
        is_allowed.then_some(()).ok_or_else(|| Status::resource_exhausted(message))
    }

    fn refuse(&self, reason: RefusalReason, status: Status) -> Status {
        self.0.metrics.refused(reason);
        status
    }

    /// Who has connected, by the certificate that TLS has verified.
    fn identity<T>(&self, request: &Request<T>) -> Result<Arc<Identity>, Status> {
        let said = match caller(request).and_then(|caller| caller.identity.as_ref()) {
            Some(Ok(identity)) => return Ok(identity.clone()),
            Some(Err(error)) => error.to_string(),
            None => "a client certificate is needed: enrol this host".to_owned(),
        };
        Err(self.refuse(RefusalReason::identity, Status::unauthenticated(said)))
    }

    async fn enrol(&self, asked: EnrolRequest) -> Result<Enrolled, Status> {
        let EnrolRequest { endpoint, token, csr, machine } = asked;
        if !is_object_name(&endpoint) {
            return Err(Status::invalid_argument("this is not the name of an Endpoint"));
        }
        // All that the API server would refuse by its schema, for an Endpoint that there is and for one that there is not.
        let is_empty = token.is_empty() || csr.is_empty();
        if is_empty || token.len() > LONGEST.0 || csr.len() > LONGEST.1 {
            return Err(Status::invalid_argument(
                "the token or the certificate request is empty, or too long",
            ));
        }
        if !is_hash(&machine) {
            return Err(Status::invalid_argument("it does not say which machine enrols"));
        }
        let asked = SigningRequest { csr, token: Some(token), machine: Some(machine) };
        let signed = endpoints::sign(&self.0.client, &endpoint, &asked, |_| true)
            .await
            .map_err(|error| refused(&error))?;
        let signed = signed.ok_or_else(|| Status::permission_denied(wrong_token(&endpoint)))?;
        let uid = signed.metadata.uid.unwrap_or_default();
        let agent = signed.status.and_then(|status| status.agent);
        let agent = agent.ok_or_else(|| Status::unavailable("nobody has answered; try again"))?;
        info!(endpoint, "an agent has enrolled");
        Ok(Enrolled { endpoint_uid: uid, certificate: agent.certificate })
    }

    /// The connection that an agent opens, on the Endpoint as it is now.
    fn opened(&self, live: &Endpoint, hello: &Hello) -> Opened {
        let is_name = |name: &str| {
            (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        let name = Some(hello.connection.clone()).filter(|name| is_name(name));
        let name = name.unwrap_or_else(random_name);
        let known = live.status.as_ref().and_then(|status| status.connection.as_ref());
        let is_twice = is_twice(known, &hello.before);
        let gateway = self.0.beats().own().to_owned();
        Opened { connection: AgentConnection { name, gateway }, is_twice }
    }

    /// The first message of an agent.
    async fn first(&self, inbound: &mut Streaming<FromAgent>) -> Result<Hello, Status> {
        let said = timeout(HELLO, inbound.message()).await;
        let message = said.ok().and_then(Result::ok).flatten().and_then(|said| said.message);
        if let Some(from_agent::Message::Hello(hello)) = message {
            return Ok(hello);
        }
        let status = Status::invalid_argument("the first message is a Hello");
        Err(self.refuse(RefusalReason::protocol, status))
    }
}

/// Whether this is `sha256:` and a hash.
fn is_hash(text: &str) -> bool {
    let digits = text.strip_prefix("sha256:").unwrap_or_default();
    digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn not_complete() -> Status {
    Status::unavailable("it is not known yet what is in force; try again")
}

fn broken(error: &CallError) -> Status {
    warn!(%error, "the cluster does not answer an agent");
    Status::unavailable("the cluster does not answer; try again")
}

/// What admission says of an enrolment is for whoever enrols; what else is wrong is not.
fn refused(error: &CallError) -> Status {
    let text = error.to_string();
    if text.contains("admission webhook") && error.is_lasting() {
        // The name of the webhook says nothing to who runs a host.
        let said = text.split_once("denied the request: ").map_or(text.as_str(), |(_, said)| said);
        return Status::permission_denied(said.to_owned());
    }
    if error.is_conflict() {
        let message = "others write on the Endpoint at the same time, again and again; try again";
        return Status::unavailable(message);
    }
    broken(error)
}

#[tonic::async_trait]
impl Gateway for Service {
    async fn get_trust(
        &self,
        request: Request<GetTrustRequest>,
    ) -> Result<Response<Trust>, Status> {
        self.limited(&request)?;
        let json = self.0.trust.borrow().clone();
        let json = json.ok_or_else(|| Status::unavailable("it is not known yet; try again"))?;
        Ok(Response::new(Trust { json, takes_activity: true, ..Trust::default() }))
    }

    async fn enrol(&self, request: Request<EnrolRequest>) -> Result<Response<Enrolled>, Status> {
        if let Err(status) = self.limited(&request) {
            self.0.metrics.enrolment(EnrolmentOutcome::limited);
            return Err(status);
        }
        let address = source(&request);
        let asked = request.into_inner();
        let endpoint = asked.endpoint.clone();
        let answered = Instant::now() + REFUSED;
        let outcome = Self::enrol(self, asked).await;
        if let Err(status) = &outcome {
            sleep_until(answered).await;
            // As many of them as calls without a certificate are let through.
            warn!(endpoint, %address, why = status.message(), "an enrolment is refused");
        }
        self.0.metrics.enrolment(match &outcome {
            Ok(_) => EnrolmentOutcome::enrolled,
            Err(status) if status.code() == tonic::Code::Unavailable => EnrolmentOutcome::error,
            Err(_) => EnrolmentOutcome::refused,
        });
        outcome.map(Response::new)
    }

    type AttachStream = Map<ReceiverStream<Answer>, fn(Answer) -> Result<ToAgent, Status>>;

    async fn attach(
        &self,
        request: Request<Streaming<FromAgent>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let _settles = caller(&request).map(Caller::settles);
        let identity = self.identity(&request)?;
        if !self.0.book().is_complete() {
            // Nothing is asked of the cluster for who is sent away all the same.
            return Err(not_complete());
        }
        let address = tracing::field::display(source(&request));
        let mut inbound = request.into_inner();
        let hello = self.first(&mut inbound).await?;
        let turn = self.0.reads.acquire().await;
        let live = endpoints::read(&self.0.client, &identity.name).await;
        drop(turn);
        let live = live.map_err(|error| broken(&error))?;
        let Some(live) = live.filter(|live| is_of(live, &identity)) else {
            let status = Status::unauthenticated(
                "the Endpoint is gone, or another agent has enrolled for it: enrol this host again",
            );
            return Err(self.refuse(RefusalReason::identity, status));
        };
        let agent = live.status.as_ref().and_then(|status| status.agent.as_ref());
        if agent.is_none_or(|agent| agent.machine != hello.machine) {
            let status = Status::aborted(
                "another machine enrolled with this identity: enrol this one with a token of its own",
            );
            warn!(
                endpoint = identity.name,
                address, "another machine shows the identity of a host"
            );
            return Err(self.refuse(RefusalReason::machine, status));
        }
        if hello.grants.len() > MOST_GRANTS {
            return Err(self.refuse(
                RefusalReason::protocol,
                Status::invalid_argument(format!("it reports more than {MOST_GRANTS} grants")),
            ));
        }
        let opened = self.opened(&live, &hello);
        let connection: Arc<str> = opened.connection.name.as_str().into();
        let (ears, tells, unknown) = {
            let book = self.0.book();
            if !book.is_complete() {
                return Err(not_complete());
            }
            let ears = self.0.attached().attach(&identity, &hello.machine, &connection);
            let (tells, unknown) = book.at_hello(&identity.uid, &hello.grants, clock::now());
            (ears, tells, unknown)
        };
        let Some(ears) = ears else {
            let status = Status::aborted("another machine is connected with this identity");
            warn!(
                endpoint = identity.name,
                address, "another machine shows the identity of a host"
            );
            return Err(self.refuse(RefusalReason::machine, status));
        };
        if opened.is_twice {
            self.0.metrics.duplicates.inc();
            warn!(endpoint = identity.name, address, "two machines have the identity of a host");
        }
        let (answers, stream) = mpsc::channel(WAITING);
        let asks = hello.asks;
        let session = Session { shared: self.0.clone(), identity, connection, answers, asks };
        let welcome = Box::new(Welcome { hello, opened, tells, unknown });
        tokio::spawn(session.serve(Box::new(live), welcome, ears, inbound));
        Ok(Response::new(ReceiverStream::new(stream).map((|answer| *answer) as fn(Answer) -> _)))
    }
}
