//! Calls to the API server, each with a limit and an error that says what was tried.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use kube::api::PostParams;
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How long any call may take; kube has no limit of its own.
pub const CALL_LIMIT: Duration = Duration::from_secs(10);

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The API server did not answer in time.
    #[error("{what}: no answer within {} s", CALL_LIMIT.as_secs())]
    TimedOut {
        /// What was tried.
        what: String,
    },
    /// The API server refused, or could not be reached.
    #[error("{what}: {}", describe(source))]
    Api {
        /// What was tried.
        what: String,
        /// What it answered. Not a source: its text is part of this one's.
        source: Box<kube::Error>,
    },
}

fn describe(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        error => error.to_string(),
    }
}

impl CallError {
    fn code(&self) -> Option<u16> {
        match self {
            Self::Api { source, .. } => match &**source {
                kube::Error::Api(status) => Some(status.code),
                _ => None,
            },
            Self::TimedOut { .. } => None,
        }
    }

    fn reason(&self) -> Option<&str> {
        match self {
            Self::Api { source, .. } => match &**source {
                kube::Error::Api(status) => Some(&status.reason),
                _ => None,
            },
            Self::TimedOut { .. } => None,
        }
    }

    /// Whether the object does not exist. That its whole kind is not served (while definitions are
    /// made anew, say) is answered with 404 too, and says nothing about the object.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        let Self::Api { source, .. } = self else { return false };
        let kube::Error::Api(status) = &**source else { return false };
        let names_it = status.details.as_ref().is_some_and(|details| !details.name.is_empty());
        status.code == 404 && status.reason == "NotFound" && names_it
    }

    /// Whether an object of this name exists already.
    #[must_use]
    pub fn is_already_exists(&self) -> bool {
        self.reason() == Some("AlreadyExists")
    }

    /// Whether the object is not as the call expected (another version, or another UID).
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.code() == Some(409) && !self.is_already_exists()
    }

    /// Whether trying the same again is useless: the API server understood and refused. A refusal for
    /// lack of rights or by admission counts, being over or unable to answer does not.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        matches!(self.code(), Some(400 | 403 | 404 | 405 | 406 | 409 | 410 | 413 | 415 | 422))
    }
}

/// Runs a call for at most [`CALL_LIMIT`]. `what` completes the sentence of an error: "reading Grant x".
pub async fn bounded<T>(
    what: impl Into<String>,
    call: impl Future<Output = kube::Result<T>>,
) -> Result<T, CallError> {
    // In a box: the future of a call takes kilobytes, and observing makes a dozen of them at once.
    match tokio::time::timeout(CALL_LIMIT, Box::pin(call)).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(CallError::Api { what: what.into(), source: Box::new(source) }),
        Err(_) => Err(CallError::TimedOut { what: what.into() }),
    }
}

/// Writes the status of an object. It fails when somebody else wrote since the object was read: the
/// object carries the version that it was read with.
pub async fn replace_status<K>(api: &Api<K>, object: &K) -> Result<K, CallError>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Serialize + Debug,
{
    let name = object.meta().name.clone().unwrap_or_default();
    let what = format!("reporting on {} {name}", K::kind(&()));
    let post = PostParams::default();
    bounded(what, api.replace_status(&name, &post, object)).await
}
