//! Carries what people on a host request, and what of that they end: one call for each, a few of a host at once, and so many
//! in a while. It decides nothing: what the agent has signed is verified once more at admission, which says who they are.

use std::sync::Arc;
use std::time::Duration;

use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use lapse_cluster::{CallError, Stored, bounded};
use lapse_crds::{AccessDecision, AccessRequest, AccessRequestSpec, Origin};
use lapse_engine::origin::{StatementError, digest_of, digest_of_end, verify};
use lapse_wire::{Asked, ToAgent, to_agent};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use crate::identity::{Identity, is_object_name};
use crate::requests::{MOST_OPEN, Progress, SeenRequest};
use crate::shared::{Answers, Shared};

/// The longest request or decision, in bytes of JSON.
const LONGEST: usize = 32 * 1024;
/// How long something may wait for its turn among those of all hosts.
const TURN: Duration = Duration::from_secs(5);

const BUSY: &str = "too much is requested on this host at once: try again in a minute";
const UNANSWERED: &str = "the cluster does not answer: try again in a while";

/// What one connection carries.
pub(crate) struct Carrier {
    shared: Arc<Shared>,
    identity: Arc<Identity>,
    answers: Answers,
}

/// What is carried.
enum Load {
    Request(Box<AccessRequest>),
    End(Box<AccessDecision>),
}

impl Carrier {
    pub(crate) fn new(shared: Arc<Shared>, identity: Arc<Identity>, answers: Answers) -> Self {
        Self { shared, identity, answers }
    }

    /// Takes a request; whether it is one that this agent has signed.
    pub(crate) async fn request(&self, json: &str) -> bool {
        let Some((name, request)) = self.read_request(json) else { return self.refuse("request") };
        let open = self.shared.requests().of(&self.identity.uid);
        let full = || {
            format!(
                "{open} requests of this host wait already, and no more may: wait for their answers, or end some \
                 (lapse end)"
            )
        };
        let elsewhere = self.elsewhere(&request.metadata);
        let refusal = elsewhere.or_else(|| (open >= MOST_OPEN).then(full));
        self.take(name, Load::Request(Box::new(request)), refusal).await;
        true
    }

    /// Takes the end of a request; whether it is one that this agent has signed.
    pub(crate) async fn end(&self, json: &str) -> bool {
        let Some((name, end)) = self.read_end(json) else { return self.refuse("end of a request") };
        let elsewhere = self.elsewhere(&end.metadata);
        self.take(name, Load::End(Box::new(end)), elsewhere).await;
        true
    }

    /// Why it is not carried to where it is for, if it is not: to there the gateway carried what it is about, or the agent knows
    /// of no other place yet. That is no fault of whoever asks.
    fn elsewhere(&self, metadata: &ObjectMeta) -> Option<String> {
        let carries = self.shared.carries.borrow().clone();
        let is_there = carries.is_some() && carries == metadata.namespace;
        (!is_there).then(|| {
            let namespace = metadata.namespace.as_deref().unwrap_or_default();
            format!(
                "the gateway carries nothing to namespace {namespace} now: try again in a while, or ask whoever runs Lapse \
                 (gateway.requests of the chart)"
            )
        })
    }

    fn refuse(&self, what: &str) -> bool {
        warn!(endpoint = %self.identity.name, "a {what} is not carried: its agent has not signed it");
        false
    }

    fn read_request(&self, json: &str) -> Option<(String, AccessRequest)> {
        let AccessRequest { metadata, spec, .. } = read(json)?;
        let (name, namespace) = (metadata.name?, metadata.namespace?);
        let digest = digest_of(&namespace, &name, &spec);
        self.check(&name, spec.origin.as_ref(), digest)?;
        let metadata = named(Some(name.clone()), namespace);
        // Who it is, admission says.
        let spec = AccessRequestSpec { requester: None, ..spec };
        Some((name, AccessRequest { metadata, spec, status: None }))
    }

    fn read_end(&self, json: &str) -> Option<(String, AccessDecision)> {
        let AccessDecision { metadata, spec } = read(json)?;
        let (name, namespace) = (spec.request.name.clone(), metadata.namespace?);
        let digest = digest_of_end(&namespace, &spec);
        self.check(&name, spec.origin.as_ref(), digest)?;
        let generate_name = Some(format!("{name}-"));
        let metadata = ObjectMeta { generate_name, ..named(None, namespace) };
        Some((name, AccessDecision { metadata, spec }))
    }

    /// Whether this agent has signed it. What it has not costs the cluster nothing.
    fn check(
        &self,
        name: &str,
        origin: Option<&Origin>,
        digest: Result<String, StatementError>,
    ) -> Option<()> {
        let (origin, digest) = (origin?, digest.ok()?);
        let is_own = origin.endpoint == self.identity.name && origin.uid == self.identity.uid;
        let is_own = is_own && is_object_name(name);
        verify(origin, &self.identity.public_key, &digest).ok().filter(|()| is_own)
    }

    /// Carries it apart from what else the agent says, if there is room for it.
    async fn take(&self, name: String, load: Load, refusal: Option<String>) {
        let is_end = matches!(load, Load::End(_));
        match refusal.map_or_else(|| self.place(), Err) {
            Ok(place) => {
                let (shared, answers) = (self.shared.clone(), self.answers.clone());
                let endpoint = self.identity.name.clone();
                tokio::spawn(carry(shared, answers, (endpoint, name), load, place));
            }
            Err(error) => answer(&self.answers, name, is_end, error).await,
        }
    }

    /// One of the places of this host.
    fn place(&self) -> Result<OwnedSemaphorePermit, String> {
        let place = self.shared.lanes().take(&self.identity.uid, Instant::now());
        place.ok_or_else(|| BUSY.to_owned())
    }
}

fn read<T: serde::de::DeserializeOwned>(json: &str) -> Option<T> {
    (json.len() <= LONGEST).then(|| serde_json::from_str(json).ok()).flatten()
}

fn named(name: Option<String>, namespace: String) -> ObjectMeta {
    ObjectMeta { name, namespace: Some(namespace), ..ObjectMeta::default() }
}

/// Tells an agent what has become of what it said. One that is gone asks again when it is back.
async fn answer(answers: &Answers, name: String, is_withdrawal: bool, error: String) {
    let asked = Asked { name, is_withdrawal, error };
    let message = Some(to_agent::Message::Asked(asked));
    let _ = answers.send(Box::new(Ok(ToAgent { message }))).await;
}

async fn carry(
    shared: Arc<Shared>,
    answers: Answers,
    (endpoint, name): (String, String),
    load: Load,
    _place: OwnedSemaphorePermit,
) {
    let is_end = matches!(load, Load::End(_));
    let outcome = match timeout(TURN, shared.asks.acquire()).await {
        Ok(Ok(_turn)) => match load {
            Load::Request(request) => create(&shared, &request).await,
            Load::End(end) => submit(&shared, &end).await,
        },
        Ok(Err(_)) | Err(_) => Err(UNANSWERED.to_owned()),
    };
    match &outcome {
        Ok(()) => {
            info!(endpoint, request = name, is_end, "what somebody on a host says is carried");
        }
        Err(error) => {
            warn!(
                endpoint,
                request = name,
                is_end,
                error,
                "what somebody on a host says is refused"
            );
        }
    }
    answer(&answers, name, is_end, outcome.err().unwrap_or_default()).await;
}

async fn create(shared: &Shared, request: &AccessRequest) -> Result<(), String> {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let (name, namespace) = (text(&request.metadata.name), text(&request.metadata.namespace));
    let api: Api<AccessRequest> = Api::namespaced(shared.client.clone(), &namespace);
    let params = PostParams::default();
    let created = bounded(format!("creating request {name}"), api.create(&params, request)).await;
    let Err(error) = created else { return Ok(()) };
    // What was said twice, as its answer was lost, is stored once.
    if error.is_already_exists()
        && let Ok(Some(there)) =
            bounded(format!("reading request {name}"), api.get_opt(&name)).await
        && there.spec.origin == request.spec.origin
    {
        return Ok(());
    }
    Err(told(&error))
}

async fn submit(shared: &Shared, end: &AccessDecision) -> Result<(), String> {
    let namespace = end.metadata.namespace.as_deref().unwrap_or_default();
    let api: Api<AccessDecision> = Api::namespaced(shared.client.clone(), namespace);
    let what = format!("ending request {}", end.spec.request.name);
    let params = PostParams::default();
    bounded(what, api.create(&params, end)).await.map(drop).map_err(|error| told(&error))
}

/// What the cluster says of what somebody has requested is for them; that it does not answer is not theirs.
fn told(error: &CallError) -> String {
    if !error.is_lasting() {
        return UNANSWERED.to_owned();
    }
    let text = error.to_string();
    let said = text.split_once("denied the request: ").map(|(_, said)| said);
    said.or_else(|| text.split_once(": ").map(|(_, said)| said)).unwrap_or(&text).to_owned()
}

/// How a request of a host stands as of now, of which the watch knows nothing. A look-up that fails says nothing.
pub(crate) async fn look(shared: &Shared, endpoint_uid: &str, name: &str) -> Option<Progress> {
    let namespace = shared.carries.borrow().clone()?;
    if !is_object_name(name) {
        return None;
    }
    let api: Api<Stored<AccessRequest>> = Api::namespaced(shared.client.clone(), &namespace);
    let read = bounded(format!("reading request {name}"), api.get_opt(name)).await;
    let seen = match read {
        Ok(Some(stored)) => SeenRequest::read(&stored).ok()?,
        Ok(None) => None,
        Err(error) => {
            warn!(%error, "how a request stands is not known");
            return None;
        }
    };
    let own = seen.filter(|seen| seen.endpoint_uid == endpoint_uid);
    let gone = || Progress { name: name.to_owned(), ..Progress::default() };
    Some(own.map_or_else(gone, |seen| seen.progress))
}
