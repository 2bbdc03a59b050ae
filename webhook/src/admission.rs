//! What the API server asks, and the way to the answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use k8s_openapi::api::authentication::v1::UserInfo;
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, AdmissionResponse, Operation};
use lapse_cluster::{Occasion, Reader, read_keys};
use lapse_crds::{API_GROUP, API_VERSION, Identity, RbacKind};
use lapse_engine::Read;
use lapse_engine::attest::KeySet;
use lapse_engine::grant::GrantSummary;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::answer::{self, Admitted, NotAdmitted};
use crate::entry::Webhook;
use crate::keeper::State;
use crate::keys::Keys;
use crate::metrics::{Labels, Metrics, Outcome};
use crate::news::Patience;
use crate::said::Said;
use crate::{confine, session, stamp, started, validate};

/// How long an answer may take. The API server waits 5 s, and then tells the person nothing useful.
const LIMIT: Duration = Duration::from_millis(4500);

/// Where the API server reports the credential of a caller
/// (<https://kubernetes.io/docs/reference/access-authn-authz/authentication/>).
const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

const RBAC_GROUP: &str = "rbac.authorization.k8s.io";

/// What the API server asks.
pub(crate) type Request = AdmissionRequest<DynamicObject>;

/// The kinds that are judged here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A request.
    AccessRequest,
    /// A decision.
    AccessDecision,
    /// A policy.
    JitPolicy,
    /// A grant.
    Grant,
    /// A role or a binding.
    Rbac(RbacKind),
}

impl Kind {
    fn of(request: &Request) -> Option<Self> {
        if !request.sub_resource.as_deref().unwrap_or_default().is_empty() {
            return None;
        }
        let kind = &request.kind;
        let all: &[Self] = match (&*kind.group, &*kind.version) {
            (API_GROUP, API_VERSION) => {
                &[Self::AccessRequest, Self::AccessDecision, Self::JitPolicy, Self::Grant]
            }
            (RBAC_GROUP, "v1") => &[
                Self::Rbac(RbacKind::Role),
                Self::Rbac(RbacKind::ClusterRole),
                Self::Rbac(RbacKind::RoleBinding),
                Self::Rbac(RbacKind::ClusterRoleBinding),
            ],
            _ => &[],
        };
        all.iter().find(|known| known.name() == kind.kind).copied()
    }

    /// Its name in the API.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AccessRequest => "AccessRequest",
            Self::AccessDecision => "AccessDecision",
            Self::JitPolicy => "JitPolicy",
            Self::Grant => "Grant",
            Self::Rbac(RbacKind::Role) => "Role",
            Self::Rbac(RbacKind::ClusterRole) => "ClusterRole",
            Self::Rbac(RbacKind::RoleBinding) => "RoleBinding",
            Self::Rbac(RbacKind::ClusterRoleBinding) => "ClusterRoleBinding",
        }
    }
}

/// A review that the configurations never ask for.
#[derive(Debug, thiserror::Error)]
#[error(
    "this webhook does not {webhook} {operation} of {kind}; see the webhook configurations lapse"
)]
pub(crate) struct Unknown {
    webhook: &'static str,
    operation: String,
    kind: String,
}

/// Admission, with what it needs to look things up.
pub(crate) struct Admission {
    reader: Reader,
    key_set: watch::Sender<KeySet>,
    state: watch::Receiver<Option<State>>,
    metrics: Metrics,
    said: Said,
}

impl Admission {
    /// Admission that reads through `reader`, which verifies with what is in `key_set`.
    pub(crate) fn new(
        reader: Reader,
        key_set: watch::Sender<KeySet>,
        state: watch::Receiver<Option<State>>,
        metrics: Metrics,
    ) -> Self {
        Self { reader, key_set, state, metrics, said: Said::default() }
    }

    pub(crate) fn reader(&self) -> &Reader {
        &self.reader
    }

    /// What was said a moment ago.
    pub(crate) fn said(&self) -> &Said {
        &self.said
    }

    /// The Grants of a caller that are not over, with a moment for what is not seen yet if they are not enough.
    pub(crate) async fn held(
        &self,
        caller: &Identity,
        is_enough: impl Fn(&[Arc<GrantSummary>]) -> bool,
    ) -> Read<Vec<Arc<GrantSummary>>> {
        let index = self.reader.index();
        let mut patience = Patience::of(index, Occasion::Judge);
        loop {
            let held = index.held(caller);
            let is_settled = held.found().is_some_and(|held| is_enough(held));
            if is_settled || !patience.outlasts().await {
                return held;
            }
        }
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The keys in force.
    pub(crate) fn keys(&self) -> Result<Arc<Keys>, NotAdmitted> {
        let state = self.state.borrow();
        let keys = state.as_ref().map(|state| state.keys.clone());
        keys.ok_or_else(|| NotAdmitted::Failed("The webhook has no signing key yet".to_owned()))
    }

    /// The keys to verify with.
    pub(crate) fn key_set(&self) -> watch::Ref<'_, KeySet> {
        self.key_set.borrow()
    }

    /// Reads the published keys, for a signature by a key that another replica made a moment ago.
    pub(crate) async fn refresh_keys(&self) -> Result<(), NotAdmitted> {
        let namespace = &self.reader.settings().namespace;
        let keys = read_keys(self.reader.client(), namespace).await;
        let keys = keys.map_err(|error| NotAdmitted::Failed(error.to_string()))?;
        self.key_set.send_replace(keys);
        Ok(())
    }

    /// Which half of admission is at this path, if it is ours.
    pub(crate) fn webhook_at(&self, path: &str) -> Option<Webhook> {
        let (token, verb) = path.strip_prefix('/')?.split_once('/')?;
        let keys = self.keys().ok()?;
        keys.is_path(token).then(|| Webhook::of_verb(verb)).flatten()
    }

    /// Answers a review.
    pub(crate) async fn review(
        &self,
        webhook: Webhook,
        request: &Request,
    ) -> Result<AdmissionResponse, Unknown> {
        let began = Instant::now();
        let unknown = || Unknown {
            webhook: webhook.verb(),
            operation: format!("{:?}", request.operation),
            kind: request.kind.kind.clone(),
        };
        let kind = Kind::of(request);
        let operation = match request.operation {
            Operation::Create => "CREATE",
            Operation::Update => "UPDATE",
            Operation::Delete => "DELETE",
            Operation::Connect => "CONNECT",
        };
        let decided = match timeout(LIMIT, self.decide(webhook, kind, request)).await {
            Ok(decided) => decided.ok_or_else(unknown)?,
            Err(_) => Err(NotAdmitted::Failed(
                "Lapse's webhook did not find out in time whether this may be".to_owned(),
            )),
        };
        let outcome = match &decided {
            Ok(_) => Outcome::allowed,
            Err(NotAdmitted::Failed(_)) => Outcome::error,
            Err(_) => Outcome::refused,
        };
        let kind = kind.map_or("other", Kind::name);
        let labels = Labels { webhook: webhook.verb(), kind, operation, outcome };
        self.metrics.answered(labels, began.elapsed());
        answer::log(webhook, kind, operation, request, &decided);
        Ok(answer::respond(request, decided))
    }

    /// `None`: nobody asks that.
    async fn decide(
        &self,
        webhook: Webhook,
        kind: Option<Kind>,
        request: &Request,
    ) -> Option<Result<Admitted, NotAdmitted>> {
        use Operation::{Create, Delete, Update};
        match (webhook, kind, &request.operation) {
            (Webhook::Stamp, Some(Kind::AccessRequest), Create) => {
                Some(stamp::request(self, request))
            }
            (Webhook::Stamp, Some(Kind::AccessDecision), Create) => {
                Some(stamp::decision(self, request).await)
            }
            (
                Webhook::Validate,
                Some(kind @ (Kind::AccessRequest | Kind::AccessDecision)),
                Create | Update,
            ) => Some(validate::signed(self, kind, request).await),
            (Webhook::Validate, Some(Kind::JitPolicy), Create | Update) => {
                Some(validate::policy(self, request).await)
            }
            (Webhook::Confine, Some(Kind::Grant), Create) => {
                Some(confine::grant(self, request).boxed().await)
            }
            (Webhook::Confine, Some(Kind::Rbac(kind)), Create) => {
                Some(confine::object(self, kind, request).boxed().await)
            }
            (Webhook::Confine, Some(Kind::AccessDecision), Delete) => {
                Some(confine::decision(self, request).boxed().await)
            }
            (Webhook::Session, ..) => Some(Ok(session::record(self, request).await)),
            (Webhook::Started, _, Create | Update) => Some(started::mark(self, request).await),
            (Webhook::Stamp | Webhook::Validate | Webhook::Confine | Webhook::Started, ..) => None,
        }
    }
}

/// Who calls, as the API server authenticated them.
pub(crate) fn caller(user: &UserInfo) -> Result<Identity, NotAdmitted> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let Some(username) = given(&user.username) else {
        return Err(NotAdmitted::Failed("The API server did not say who asks".to_owned()));
    };
    let extra = user.extra.iter().flatten();
    let credentials = extra.filter(|(key, _)| *key == CREDENTIAL_ID);
    Ok(Identity {
        username,
        uid: given(&user.uid),
        groups: user.groups.clone().unwrap_or_default(),
        credential_id: credentials.flat_map(|(_, ids)| ids).next().cloned(),
    })
}

#[cfg(test)]
mod tests;
