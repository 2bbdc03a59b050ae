//! The host that we are on: its agent says to the cluster that we request here.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use lapse_crds::{AccessRequest, Origin};
use lapse_engine::origin::digest_of;
use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::name;

/// Where the agent listens, and what says so if it is elsewhere.
const SOCKET: (&str, &str) = ("/run/lapse/agent.sock", "LAPSE_AGENT_SOCKET");
/// The version of its protocol.
const VERSION: u32 = 1;
/// How long it may take to answer.
const ANSWERING: Duration = Duration::from_secs(10);
/// How much of its answer is read, in bytes.
const MOST: u64 = 64 * 1024;

/// What the agent is asked.
#[derive(Serialize)]
struct Prove<'a> {
    version: u32,
    command: &'static str,
    digest: &'a str,
}

/// What it answers, a line each.
#[derive(Deserialize)]
#[serde(tag = "answer", rename_all = "camelCase")]
enum Answer {
    Origin {
        origin: Origin,
    },
    /// For now, or for good.
    #[serde(alias = "busy")]
    Refused {
        #[serde(default)]
        message: String,
    },
    #[serde(other)]
    Other,
}

/// The same request, with the statement of the agent that it is made on this host. As that is about a request by its name, the
/// name is chosen here and not by the API server.
pub(crate) fn proven(request: &AccessRequest, now: DateTime<Utc>) -> Result<AccessRequest, Fault> {
    let path = std::env::var_os(SOCKET.1).map_or_else(|| PathBuf::from(SOCKET.0), PathBuf::from);
    let stream = UnixStream::connect(&path).map_err(|error| {
        let path = path.display();
        Fault::Other(match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => format!(
                "no agent of Lapse listens at {path}: --from-host is for hosts that are Endpoints, while lapse-agent runs \
                 there"
            ),
            _ => format!("asking the agent of this host at {path}: {error}"),
        })
    })?;
    proven_by(&stream, request, now)
}

fn proven_by(
    stream: &UnixStream,
    request: &AccessRequest,
    now: DateTime<Utc>,
) -> Result<AccessRequest, Fault> {
    let mut request = request.clone();
    let wrong = |error: &dyn std::fmt::Display| {
        Fault::Other(format!("asking the agent of this host: {error}"))
    };
    let namespace = request.metadata.namespace.clone().unwrap_or_default();
    name::settle(&mut request, now)?;
    let name = request.metadata.name.clone().unwrap_or_default();
    let digest = digest_of(&namespace, &name, &request.spec).map_err(|error| wrong(&error))?;
    request.spec.origin = Some(ask(stream, &digest).map_err(|error| wrong(&error))??);
    Ok(request)
}

/// Asks for a statement about what has this digest.
fn ask(mut stream: &UnixStream, digest: &str) -> io::Result<Result<Origin, Fault>> {
    stream.set_read_timeout(Some(ANSWERING))?;
    stream.set_write_timeout(Some(ANSWERING))?;
    let question = serde_json::to_string(&Prove { version: VERSION, command: "prove", digest })?;
    stream.write_all(format!("{question}\n").as_bytes())?;
    for line in BufReader::new(stream.take(MOST)).lines() {
        match serde_json::from_str(&line?)? {
            Answer::Origin { origin } => return Ok(Ok(origin)),
            Answer::Refused { message } => {
                let told = format!("the agent of this host refuses: {message}");
                return Ok(Err(Fault::Other(told)));
            }
            Answer::Other => {}
        }
    }
    Ok(Err(Fault::Other(
        "the agent of this host said nothing: try again, and see systemctl status lapse-agent"
            .to_owned(),
    )))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::name::SUFFIX;

    fn request(metadata: &serde_json::Value) -> AccessRequest {
        serde_json::from_value(json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessRequest", "metadata": metadata,
            "spec": {"target": {"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}}}},
        }))
        .unwrap()
    }

    /// What comes of an agent that answers this, and what it was asked.
    fn answered(
        metadata: &serde_json::Value,
        said: &str,
    ) -> (Result<AccessRequest, Fault>, String) {
        let (own, other) = UnixStream::pair().unwrap();
        (&other).write_all(said.as_bytes()).unwrap();
        other.shutdown(std::net::Shutdown::Write).unwrap();
        let proven = proven_by(&own, &request(metadata), DateTime::UNIX_EPOCH);
        drop(own);
        let mut asked = String::new();
        (&other).read_to_string(&mut asked).unwrap();
        (proven, asked)
    }

    fn origin() -> serde_json::Value {
        json!({
            "endpoint": "ws-1", "uid": "u-1", "localUser": "al", "signedAt": "2026-11-21T12:00:00.000000Z",
            "signature": "A".repeat(88),
        })
    }

    #[test]
    fn a_statement_is_about_a_request_by_its_name() {
        let said = format!(
            "{}\n{{\"answer\":\"done\"}}\n",
            json!({"answer": "origin", "origin": origin()})
        );
        let (proven, asked) = answered(&json!({"name": "fix", "namespace": "shop"}), &said);
        let proven = proven.unwrap();
        assert_eq!(serde_json::to_value(&proven.spec.origin).unwrap(), origin());
        let digest = digest_of("shop", "fix", &proven.spec).unwrap();
        let expected = format!(r#"{{"version":1,"command":"prove","digest":"{digest}"}}"#);
        assert_eq!(asked, format!("{expected}\n"));

        let (proven, _) = answered(&json!({"generateName": "edit-", "namespace": "shop"}), &said);
        let metadata = proven.unwrap().metadata;
        assert_eq!(metadata.generate_name, None);
        let name = metadata.name.unwrap();
        assert!(name.starts_with("edit-") && name.len() == 5 + SUFFIX, "{name}");
    }

    #[rstest]
    #[case::refused(
        "{\"answer\":\"refused\",\"message\":\"root belongs to nobody in the cluster\"}\n",
        "the agent of this host refuses: root belongs to nobody in the cluster"
    )]
    #[case::nothing(
        "",
        "the agent of this host said nothing: try again, and see systemctl status lapse-agent"
    )]
    #[case::something_else(
        "{\"answer\":\"done\"}\n",
        "the agent of this host said nothing: try again, and see systemctl status lapse-agent"
    )]
    #[case::nonsense("x\n", "asking the agent of this host: expected value at line 1 column 1")]
    fn without_a_statement_it_is_said_why(#[case] said: &str, #[case] expected: &str) {
        let (proven, _) = answered(&json!({"name": "fix", "namespace": "shop"}), said);
        assert_eq!(proven.unwrap_err().to_string(), expected);
    }

    #[test]
    fn where_nobody_listens_it_is_said_what_is_needed() {
        // The machine of the tests is no Endpoint.
        let refused = proven(&request(&json!({"name": "fix"})), DateTime::UNIX_EPOCH).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "no agent of Lapse listens at /run/lapse/agent.sock: --from-host is for hosts that are Endpoints, while \
             lapse-agent runs there"
        );
    }
}
