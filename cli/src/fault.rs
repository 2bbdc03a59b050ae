//! Why a command does not do what it was asked to, for people and, by its exit status, for scripts.

mod words;

use std::process::ExitCode;

use kube::api::ListParams;
use lapse_cluster::{CallError, rest_of_list};

use self::words::{is_of_connection, is_unreached, names_object, of_client, refusal, unconnected};
use crate::interrupt::Interrupt;
use crate::stderr;

/// The exit statuses, as the manual page lists them.
pub(crate) const EXIT_STATUS: &str = "\
0    done; with --wait, you have access
1    the API server or Lapse refused, or could not be reached; doctor found a problem
2    the command line is wrong
3    the request gets no access: denied, withdrawn, timed out, failed, or already ended; offline, it would be denied
4    --timeout passed first; the request stays, but that of run is withdrawn
130  interrupted (Ctrl-C); 128 and the number of another signal";

/// The API server did not begin to answer within so many seconds: what the client itself says.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {0} s")]
pub(crate) struct Late(pub(crate) u64);

/// Why a command does not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// What was given on the command line cannot be meant.
    #[error("{0}")]
    Usage(String),
    /// There is no usable configuration for a cluster.
    #[error("no cluster to talk to: {0}")]
    Config(String),
    /// The API server refused a call, or did not answer it.
    #[error("{}", refusal(what, source))]
    Api {
        /// What was tried, as in "listing requests".
        what: String,
        /// What came back.
        source: Box<kube::Error>,
    },
    /// The API server was not reached, or the connection to it broke.
    #[error("{what}: {}", unconnected(server, source))]
    Unconnected {
        /// What was tried.
        what: String,
        /// Where the API server is to be.
        server: String,
        /// What went wrong.
        source: Box<kube::Error>,
    },
    /// The API server did not answer in time.
    #[error("{what}: no answer within {seconds} s")]
    Unanswered {
        /// What was tried.
        what: String,
        /// How long.
        seconds: u64,
    },
    /// The request gets no access.
    #[error("{0}")]
    NoAccess(String),
    /// The time for waiting is over.
    #[error("{0}")]
    TimedOut(String),
    /// It was told to stop.
    #[error("{told}")]
    Interrupted {
        /// By which signal.
        by: Interrupt,
        /// What that leaves behind, in words.
        told: String,
    },
    /// Several things were to be done, and some were not; each was told already.
    #[error("{failed} of {all} failed")]
    Some {
        /// How many were not done.
        failed: usize,
        /// Of how many.
        all: usize,
    },
    /// The machine refused something, such as writing the output.
    #[error("{0}")]
    Output(#[from] std::io::Error),
    /// Something else went wrong, in words.
    #[error("{0}")]
    Other(String),
}

impl Fault {
    /// A call that failed.
    pub(crate) fn api(what: impl Into<String>, source: kube::Error) -> Self {
        let what = what.into();
        if let kube::Error::Service(error) = &source
            && let Some(Late(seconds)) = error.downcast_ref()
        {
            return Self::Unanswered { what, seconds: *seconds };
        }
        Self::Api { what, source: Box::new(source) }
    }

    /// The same of a call to this server, which is named where it does not answer.
    pub(crate) fn of_server(server: &str, what: impl Into<String>, source: kube::Error) -> Self {
        match Self::api(what, source) {
            Self::Api { what, source } if is_of_connection(&source) => {
                Self::Unconnected { what, server: server.to_owned(), source }
            }
            other => other,
        }
    }

    /// What is configured makes no client.
    pub(crate) fn of_config(error: &kube::Error) -> Self {
        Self::Config(of_client(error))
    }

    /// What asks for the rest of a list, if this is that the API server no longer keeps the state that its first page showed.
    pub(crate) fn rest_of_list(&self, params: &ListParams) -> Option<ListParams> {
        let Self::Api { source, .. } = self else { return None };
        rest_of_list(params, source)
    }

    /// Tells people, and returns what scripts go by.
    pub(crate) fn tell(&self) -> ExitCode {
        // Who reads no more (`| head`) is told nothing.
        if matches!(self, Self::Output(error) if error.kind() == std::io::ErrorKind::BrokenPipe) {
            return ExitCode::SUCCESS;
        }
        let style = anstyle::AnsiColor::Red.on_default().bold();
        stderr::tell(&format_args!("{style}error:{style:#} {self}"));
        ExitCode::from(self.code())
    }

    fn code(&self) -> u8 {
        match self {
            Self::Config(_)
            | Self::Api { .. }
            | Self::Unconnected { .. }
            | Self::Unanswered { .. }
            | Self::Some { .. }
            | Self::Output(_)
            | Self::Other(_) => 1,
            Self::Usage(_) => 2,
            Self::NoAccess(_) => 3,
            Self::TimedOut(_) => 4,
            // As shells say it.
            Self::Interrupted { by, .. } => 128 + by.number(),
        }
    }

    /// Whether the object of the call does not exist.
    pub(crate) fn is_not_found(&self) -> bool {
        self.status().is_some_and(|status| status.code == 404 && names_object(status))
    }

    /// Whether the API server does not serve the kind, or not to whoever asks for it so.
    pub(crate) fn is_unserved(&self) -> bool {
        self.status().is_some_and(|status| status.code == 404 && !names_object(status))
    }

    /// Whether the caller may not make the call. Admission refuses with other reasons.
    pub(crate) fn is_forbidden(&self) -> bool {
        self.status().is_some_and(|status| status.code == 403 && status.reason == "Forbidden")
    }

    /// Whether the API server understood, and refused.
    pub(crate) fn is_refusal(&self) -> bool {
        self.status().is_some_and(|status| matches!(status.code, 400 | 403 | 404 | 409 | 422))
    }

    /// Whether what was to be stored may be stored all the same: the answer got lost, or says nothing of it.
    pub(crate) fn is_in_doubt(&self) -> bool {
        match (self, self.status()) {
            (Self::Unconnected { source, .. }, _) => !is_unreached(source),
            // What is sent again after an answer that got lost may have come the first time.
            (_, Some(status)) => status.code >= 500 || status.reason == "AlreadyExists",
            // Nobody knows what it answered, if it did.
            (Self::Unanswered { .. } | Self::Api { .. }, None) => true,
            _ => false,
        }
    }

    /// Whether it may be stored later than now: the API server did not say itself that it was not.
    pub(crate) fn may_be_stored_yet(&self) -> bool {
        match self.status() {
            // It has given up waiting, or what stands before it has.
            Some(status) => matches!(status.code, 502 | 504),
            None => self.is_in_doubt(),
        }
    }

    /// The code and the message that the API server answered, if it answered.
    pub(crate) fn answer(&self) -> Option<(u16, &str)> {
        self.status().map(|status| (status.code, &*status.message))
    }

    /// What the API server answered, if it answered.
    fn status(&self) -> Option<&kube::core::Status> {
        let Self::Api { source, .. } = self else { return None };
        match &**source {
            kube::Error::Api(status) => Some(status),
            _ => None,
        }
    }
}

impl From<CallError> for Fault {
    fn from(error: CallError) -> Self {
        match error {
            CallError::TimedOut { what, limit } => {
                Self::Unanswered { what, seconds: limit.as_secs() }
            }
            CallError::Api { what, source } => Self::api(what, *source),
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use kube::core::response::StatusDetails;

    use super::*;

    fn answer(code: u16, reason: &str, message: &str, name: &str) -> Fault {
        let details = StatusDetails {
            name: name.to_owned(),
            group: String::new(),
            kind: String::new(),
            uid: String::new(),
            causes: Vec::new(),
            retry_after_seconds: 0,
        };
        let status = Status::failure(message, reason).with_code(code).with_details(details);
        Fault::api("listing requests", kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn what_the_api_server_answers_is_told_with_what_to_do() {
        let forbidden = |kind: &str, verb: &str| {
            format!(
                "{kind}.lapse.dev is forbidden: User \"mallory\" cannot {verb} resource \"{kind}\" in API group \
                 \"lapse.dev\" in the namespace \"shop\""
            )
        };
        let told = [
            answer(404, "NotFound", "the server could not find the requested resource", ""),
            answer(404, "NotFound", "accessrequests.lapse.dev \"fix\" not found", "fix"),
            answer(401, "Unauthorized", "Unauthorized", ""),
            answer(403, "Forbidden", &forbidden("accessrequests", "create"), ""),
            answer(403, "Forbidden", &forbidden("accessrequests", "list"), ""),
            answer(
                403,
                "Forbidden",
                "accessrequests.lapse.dev is forbidden: User \"mallory\" cannot list resource \"accessrequests\" in API \
                 group \"lapse.dev\" at the cluster scope",
                "",
            ),
            answer(403, "Forbidden", &forbidden("endpoints", "list"), ""),
            answer(403, "Forbidden", &forbidden("jitpolicies", "list"), ""),
            answer(403, "Forbidden", &forbidden("grants", "list"), ""),
            answer(
                403,
                "NotAllowed",
                "admission webhook \"decisions.lapse.dev\" denied the request: bob is no approver of shop-debug",
                "",
            ),
        ];
        let told: Vec<String> = told.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(told.join("\n\n"));
    }

    /// What the client says of a connection, with its cause.
    #[derive(Debug, thiserror::Error)]
    #[error("client error ({doing})")]
    struct Connection {
        doing: &'static str,
        source: std::io::Error,
    }

    fn connection(doing: &'static str, cause: &str) -> Fault {
        let error = Connection { doing, source: std::io::Error::other(cause.to_owned()) };
        let error = kube::Error::Service(error.into());
        Fault::of_server("https://cluster.example:6443", "listing requests", error)
    }

    #[test]
    fn a_server_that_does_not_answer_is_named_and_its_errors_are_said_once() {
        let other = kube::Error::Service("the program that hands out credentials failed".into());
        let told = [
            connection("Connect", "Connection refused (os error 111)"),
            connection("SendRequest", "connection closed before message completed"),
            Fault::of_server("https://cluster.example:6443", "listing requests", other),
        ];
        let told: Vec<String> = told.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(told.join("\n"), @r"
        listing requests: cannot reach the API server at https://cluster.example:6443: Connection refused (os error 111)
        listing requests: the connection to the API server at https://cluster.example:6443 broke: connection closed before message completed
        listing requests: the program that hands out credentials failed
        ");
    }

    /// What a program of the kubeconfig wrote, and with which variables it ran, may be credentials.
    #[test]
    fn what_hands_out_credentials_shows_none_when_it_fails() {
        use std::os::unix::process::ExitStatusExt as _;
        use std::process::{ExitStatus, Output};

        use kube::client::AuthError;

        let failed = || {
            let (status, secret) = (ExitStatus::from_raw(256), b"secret".to_vec());
            let out = Box::new(Output { status, stdout: secret.clone(), stderr: secret });
            AuthError::AuthExecRun { cmd: "TOKEN=secret hand-out".to_owned(), out }
        };
        let unread = serde_saphyr::from_str::<u16>("secret").unwrap_err();
        assert!(unread.to_string().contains("secret"), "the client shows it");
        let unread = AuthError::AuthExecParse(Box::new(unread));
        let told = [
            Fault::of_config(&kube::Error::Auth(failed())),
            Fault::api("listing requests", kube::Error::Service(failed().into())),
            Fault::of_config(&kube::Error::Auth(unread)),
        ];
        let told: Vec<String> = told.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(told.join("\n"), @r"
        no cluster to talk to: the program of the kubeconfig that hands out credentials failed (exit status: 1)
        listing requests: the program of the kubeconfig that hands out credentials failed (exit status: 1)
        no cluster to talk to: what the program of the kubeconfig that hands out credentials wrote is no ExecCredential
        ");
    }

    #[test]
    fn what_got_no_answer_may_be_stored_all_the_same() {
        let late = Fault::api("creating it", kube::Error::Service(Late(30).into()));
        let broken = connection("SendRequest", "connection closed before message completed");
        // Whether it may be stored, and whether that may be so later.
        let cases = [
            (answer(409, "AlreadyExists", "", "fix"), (true, false)),
            (answer(409, "Conflict", "", "fix"), (false, false)),
            (answer(500, "InternalError", "failed calling webhook", ""), (true, false)),
            (answer(504, "Timeout", "", ""), (true, true)),
            (answer(403, "NotAllowed", "", ""), (false, false)),
            (late, (true, true)),
            (broken, (true, true)),
            (connection("Connect", "Connection refused"), (false, false)),
            (Fault::Usage(String::new()), (false, false)),
        ];
        for (fault, expected) in cases {
            assert_eq!((fault.is_in_doubt(), fault.may_be_stored_yet()), expected, "{fault}");
        }
    }

    #[test]
    fn only_a_named_object_is_missing() {
        assert!(answer(404, "NotFound", "", "fix").is_not_found());
        assert!(!answer(404, "NotFound", "", "").is_not_found());
        assert!(answer(403, "Forbidden", "", "").is_forbidden());
        assert!(!answer(403, "NotAllowed", "", "").is_forbidden());
    }

    #[test]
    fn statuses_are_those_of_the_manual() {
        let faults = [
            Fault::Other(String::new()),
            Fault::Usage(String::new()),
            Fault::NoAccess(String::new()),
            Fault::TimedOut(String::new()),
            Fault::Interrupted { by: Interrupt::Keyboard, told: String::new() },
        ];
        for fault in faults {
            let code = fault.code().to_string();
            assert!(EXIT_STATUS.lines().any(|line| line.starts_with(&code)), "{code}");
        }
    }
}
