//! Why it is not proven where, and by whom, a request was made.

use lapse_crds::Timestamp;

use super::statement::StatementError;

/// Why it is not proven where a request was made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// There is no such Endpoint.
    #[error("there is no Endpoint {0}")]
    Missing(String),
    /// Another Endpoint has its name.
    #[error("Endpoint {0} was deleted, and created again since")]
    MadeAnew(String),
    /// It is being deleted.
    #[error("Endpoint {0} is being deleted")]
    Going(String),
    /// No agent has enrolled for it.
    #[error("no agent has enrolled for Endpoint {0}")]
    NotEnrolled(String),
    /// Its agent has not renewed its certificate: the host was away for long, or there is none any more.
    #[error(
        "the certificate of the agent of Endpoint {endpoint} expired at {until}, and it was not renewed: enrol that host again"
    )]
    Expired {
        /// The name of the Endpoint.
        endpoint: String,
        /// When it expired.
        until: Timestamp,
    },
    /// Nobody knows which of two machines signed it.
    #[error(
        "two machines have the identity of Endpoint {0} (its condition Duplicate says what to do)"
    )]
    Twice(String),
    /// Its agent did not sign this.
    #[error(
        "the agent of Endpoint {endpoint} did not sign this request, as {error}: it was changed after that, or the host has \
         enrolled again since"
    )]
    Unsigned {
        /// The name of the Endpoint.
        endpoint: String,
        /// What is wrong.
        error: StatementError,
    },
    /// It was signed at another time.
    #[error(
        "the agent of Endpoint {endpoint} signed it at {signed_at}, and it came at {at}: more than 2 minutes lie between \
         them; request again at once, and if that does not help compare the clock of that host with the cluster's"
    )]
    Stale {
        /// The name of the Endpoint.
        endpoint: String,
        /// When it was signed, by the clock of the host.
        signed_at: Timestamp,
        /// When it was admitted.
        at: Timestamp,
    },
    /// Somebody else asked there.
    #[error(
        "{local_user} on Endpoint {endpoint} is no local user of {username}; ask an owner of the Endpoint to add them to \
         spec.users"
    )]
    Others {
        /// The name of the Endpoint.
        endpoint: String,
        /// Who asked there.
        local_user: String,
        /// Who is the requester.
        username: String,
    },
    /// It says nothing, and without credentials nothing else says who asks.
    #[error("nothing proves who requests")]
    Absent,
    /// root needs nothing.
    #[error("root belongs to nobody in the cluster: request as the local user that is yours")]
    Root,
    /// A program asks with its token.
    #[error(
        "{local_user} on Endpoint {endpoint} is the local user of a service account, which requests with its token alone"
    )]
    Account {
        /// The name of the Endpoint.
        endpoint: String,
        /// Who asked there.
        local_user: String,
    },
    /// The local user is given to another.
    #[error("{local_user} on Endpoint {endpoint} belongs to somebody else by spec.users since")]
    Changed {
        /// The name of the Endpoint.
        endpoint: String,
        /// Who asked there.
        local_user: String,
    },
    /// A host vouches for itself alone.
    #[error(
        "who requests on a host is granted access there alone, as the same local user: request {endpoint} as {local_user}, \
         or with your own credentials (kubectl jit request)"
    )]
    Elsewhere {
        /// The name of the Endpoint.
        endpoint: String,
        /// Who asked there.
        local_user: String,
    },
    /// Another asked.
    #[error("{local_user} on Endpoint {endpoint} did not request that there with `lapse request`")]
    NotTheirs {
        /// The name of the Endpoint.
        endpoint: String,
        /// Who ends it there.
        local_user: String,
    },
    /// What takes more than a host can vouch for.
    #[error(
        "spec.{0} takes credentials of the cluster: leave it out on a host, or request with your own (kubectl jit request)"
    )]
    Beyond(&'static str),
}
