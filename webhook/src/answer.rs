//! What is answered to the API server, and what is said of it in the log.

use json_patch::Patch;
use kube::core::admission::AdmissionResponse;
use kube::core::response::{Status, StatusCause, StatusDetails, StatusSummary};
use lapse_cluster::NOT_CONFIRMED;
use lapse_engine::Read;
use tracing::{debug, error, info, warn};

use crate::asked::Request;
use crate::entry::Webhook;

/// What is let through, and how.
#[derive(Debug, Default)]
pub(crate) struct Admitted {
    /// What is changed.
    pub(crate) patch: Option<Patch>,
    /// What the person is told.
    pub(crate) warnings: Vec<String>,
    /// What the audit log of the API server is to say of it.
    pub(crate) audit: Vec<(&'static str, String)>,
    /// What was done, for the log.
    pub(crate) done: &'static str,
}

/// Why something is not let through.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAdmitted {
    /// This person may not do this.
    #[error("{0}")]
    Forbidden(String),
    /// What the object says cannot be.
    #[error("{message}")]
    Invalid {
        /// Which field.
        field: String,
        /// What was given, what is allowed and what to do.
        message: String,
    },
    /// What the controller writes does not follow from what is stored.
    #[error(
        "{0}. Lapse's controller writes nothing else: if it did not write this, its token was stolen"
    )]
    NotConfirmed(String),
    /// Whether it may be let through is not known.
    #[error(
        "{0}. Nothing was stored; try again. If it happens again, see the log of lapse-webhook"
    )]
    Failed(String),
}

impl NotAdmitted {
    /// What a field says cannot be.
    pub(crate) fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), message: message.into() }
    }

    /// The same, of a message that begins with the path of its field.
    pub(crate) fn invalid_as_told(message: String) -> Self {
        let field = field_of(&message).unwrap_or("spec").to_owned();
        Self::invalid(field, message)
    }

    /// What judged a decision refuses: for what a field says, or for who decides, and when.
    pub(crate) fn judged(message: String) -> Self {
        match field_of(&message) {
            Some(_) => Self::invalid_as_told(message),
            None => Self::Forbidden(message),
        }
    }

    /// Somebody holds a right, by their mark, of which the index does not say yet which it is.
    pub(crate) fn of_a_holder_not_seen(username: &str) -> Self {
        Self::Failed(format!("{username} holds access, and it is not known yet which"))
    }

    /// Clients name the object and the field by these; without them kubectl says neither.
    fn details(&self, request: &Request) -> Option<StatusDetails> {
        let Self::Invalid { field, message } = self else { return None };
        let message = message.strip_prefix(field.as_str()).unwrap_or(message);
        let cause = StatusCause {
            reason: "FieldValueInvalid".to_owned(),
            message: message.trim_start_matches([':', ' ']).to_owned(),
            field: field.clone(),
        };
        Some(StatusDetails {
            name: name(request).to_owned(),
            group: request.kind.group.clone(),
            kind: request.kind.kind.clone(),
            causes: vec![cause],
            uid: String::new(),
            retry_after_seconds: 0,
        })
    }

    fn status(&self, request: &Request) -> Status {
        let (code, reason) = match self {
            Self::Forbidden(_) => (403, "Forbidden"),
            Self::Invalid { .. } => (422, "Invalid"),
            Self::NotConfirmed(_) => (403, NOT_CONFIRMED),
            Self::Failed(_) => (500, "InternalError"),
        };
        Status {
            status: Some(StatusSummary::Failure),
            code,
            message: self.to_string(),
            reason: reason.to_owned(),
            details: self.details(request),
            ..Status::default()
        }
    }
}

/// The path that a message begins with.
fn field_of(message: &str) -> Option<&str> {
    let path = message.split([' ', ':']).next()?;
    (path.starts_with("spec.") || path.starts_with("metadata.")).then_some(path)
}

/// What is known. What is not known refuses.
pub(crate) fn known<T>(read: Read<T>) -> Result<Option<T>, NotAdmitted> {
    match read {
        Read::Found(value) => Ok(Some(value)),
        Read::Missing => Ok(None),
        Read::Failed(why) => Err(NotAdmitted::Failed(why)),
    }
}

/// The answer, in the form of the API.
pub(crate) fn respond(
    request: &Request,
    decided: Result<Admitted, NotAdmitted>,
) -> AdmissionResponse {
    let mut response = AdmissionResponse::from(request);
    let admitted = match decided {
        Ok(admitted) => admitted,
        Err(why) => {
            response.allowed = false;
            response.result = why.status(request);
            return response;
        }
    };
    if let Some(patch) = admitted.patch.filter(|patch| !patch.is_empty()) {
        response = match response.clone().with_patch(patch) {
            Ok(response) => response,
            Err(error) => {
                let why = NotAdmitted::Failed(error.to_string());
                response.allowed = false;
                response.result = why.status(request);
                return response;
            }
        };
    }
    let audit = admitted.audit.into_iter().map(|(key, value)| (key.to_owned(), value));
    response.audit_annotations = audit.collect();
    response.warnings = Some(admitted.warnings).filter(|warnings| !warnings.is_empty());
    response
}

/// One line, without anything of the body.
pub(crate) fn log(
    webhook: Webhook,
    kind: &'static str,
    operation: &str,
    request: &Request,
    decided: &Result<Admitted, NotAdmitted>,
) {
    let namespace = request.namespace.as_deref().unwrap_or_default();
    let name = name(request);
    let user = request.user_info.username.as_deref().unwrap_or_default();
    let dry_run = request.dry_run;
    match decided {
        Ok(admitted) if webhook == Webhook::Stamp => {
            info!(kind, namespace, name, user, dry_run, "{}", admitted.done);
        }
        Ok(_) => debug!(kind, namespace, name, user, operation, dry_run, "allowed"),
        Err(why @ NotAdmitted::Failed(_)) => {
            error!(kind, namespace, name, user, operation, dry_run, %why, "failed");
        }
        Err(why) => {
            warn!(kind, namespace, name, user, operation, dry_run, %why, "refused");
        }
    }
}

/// The name of the object, or what its name is to be generated from.
pub(crate) fn name(request: &Request) -> &str {
    let metadata = request.object.as_ref().map(|object| &object.metadata);
    let generate = metadata.and_then(|metadata| metadata.generate_name.as_deref());
    match request.name.as_str() {
        "" => generate.unwrap_or_default(),
        name => name,
    }
}
