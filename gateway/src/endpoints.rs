//! Reads Endpoints and writes on them.

use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use lapse_cluster::{CallError, Stored, bounded};
use lapse_crds::{Endpoint, Grant, SigningRequest};
use serde_json::{Map, Value, json};

use crate::book::{SeenGrant, Stand};
use crate::identity::Identity;

/// The Endpoint of this name; `None` if there is none.
pub(crate) async fn read(client: &Client, name: &str) -> Result<Option<Endpoint>, CallError> {
    let api: Api<Endpoint> = Api::all(client.clone());
    let read = bounded(format!("reading Endpoint {name}"), api.get_opt(name)).await?;
    Ok(read.map(without_fields))
}

/// Without who manages which field: nobody here asks, and it is most of what would be kept until an Endpoint is written on.
fn without_fields(mut endpoint: Endpoint) -> Endpoint {
    endpoint.metadata.managed_fields = None;
    endpoint
}

/// Writes on the Endpoint that was read, and on no other version of it.
pub(crate) async fn write(
    client: &Client,
    seen: &Endpoint,
    status: &Map<String, Value>,
) -> Result<Endpoint, CallError> {
    let name = seen.metadata.name.clone().unwrap_or_default();
    let api: Api<Endpoint> = Api::all(client.clone());
    let patch = json!({
        "metadata": {"uid": seen.metadata.uid, "resourceVersion": seen.metadata.resource_version},
        "status": status,
    });
    let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
    let written = api.patch_status(&name, &params, &patch);
    bounded(format!("writing on Endpoint {name}"), written).await.map(without_fields)
}

/// How often a certificate is asked for on an Endpoint on which somebody else writes at the same time: the gateway says how
/// it stands, the controller holds it, its owners change it.
const TRIES: usize = 5;

/// Has a certificate signed on the Endpoint of this name as it is, if it is the right one; `None` if there is none that is.
/// Whoever answers at admission takes what is asked for away again. When somebody else wrote in between, nothing was stored:
/// it is read anew, and asked for again.
pub(crate) async fn sign(
    client: &Client,
    name: &str,
    asked: &SigningRequest,
    is_right: impl Fn(&Endpoint) -> bool,
) -> Result<Option<Endpoint>, CallError> {
    let asked = serde_json::to_value(asked).unwrap_or_default();
    let asked = Map::from_iter([("signing".to_owned(), asked)]);
    let mut tries = 0;
    loop {
        let live = read(client, name).await?;
        let Some(live) = live.filter(&is_right) else { return Ok(None) };
        tries += 1;
        match write(client, &live, &asked).await {
            Err(error) if error.is_conflict() && tries < TRIES => {}
            signed => return signed.map(Some),
        }
    }
}

/// A Grant as it is now; `None` if there is none, or none on a host.
pub(crate) async fn grant(client: &Client, name: &str) -> Result<Option<SeenGrant>, String> {
    let api: Api<Stored<Grant>> = Api::all(client.clone());
    let stored = bounded(format!("reading Grant {name}"), api.get_opt(name)).await;
    let Some(stored) = stored.map_err(|error| error.to_string())? else { return Ok(None) };
    SeenGrant::read(&stored).map_err(|error| error.to_string())
}

/// Whether a Grant is over, for sure.
pub(crate) async fn is_over(client: &Client, name: &str) -> bool {
    match grant(client, name).await {
        Ok(seen) => seen.is_none_or(|seen| seen.stand == Stand::Ended),
        Err(_) => false,
    }
}

/// Whether an Endpoint is the one that this agent enrolled for.
pub(crate) fn is_of(endpoint: &Endpoint, identity: &Identity) -> bool {
    let agent = endpoint.status.as_ref().and_then(|status| status.agent.as_ref());
    endpoint.metadata.uid.as_deref() == Some(&*identity.uid)
        && agent.is_some_and(|agent| agent.public_key == identity.public_key)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    use http::{Method, Request, Response};
    use kube::client::Body;

    use super::*;

    /// Asks for a certificate where somebody else writes this often at the same time, and returns on which versions of the
    /// Endpoint it was asked for, and whether one was signed.
    async fn asked_on(others: usize) -> (Vec<String>, Result<Option<Endpoint>, CallError>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let patches = asked.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let patches = patches.clone();
            async move {
                let is_read = *request.method() == Method::GET;
                let body = request.into_body().collect_bytes().await.unwrap();
                let writes = patches.lock().unwrap().len();
                let (code, answer): (u16, Value) = if is_read {
                    (200, endpoint(writes))
                } else {
                    let patch: Value = serde_json::from_slice(&body).unwrap();
                    let version = patch["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
                    patches.lock().unwrap().push(version);
                    if writes < others { (409, conflict()) } else { (200, endpoint(writes)) }
                };
                let body = Body::from(answer.to_string().into_bytes());
                let answer = Response::builder().status(code).body(body).unwrap();
                Ok::<_, Infallible>(answer)
            }
        });
        let client = Client::new(service, "default");
        let request = SigningRequest { csr: "csr".to_owned(), token: None, machine: None };
        let signed = sign(&client, "web-1", &request, |_| true).await;
        let asked = asked.lock().unwrap().clone();
        (asked, signed)
    }

    /// The Endpoint after so many writes.
    fn endpoint(writes: usize) -> Value {
        json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "Endpoint",
            "metadata": {"name": "web-1", "uid": "e", "resourceVersion": format!("v{writes}")},
            "spec": {"platform": "Linux"},
        })
    }

    fn conflict() -> Value {
        json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 409, "reason": "Conflict",
            "message": "the object has been modified", "details": {"name": "web-1"},
        })
    }

    /// Each time on what the other has written, and not for ever.
    #[tokio::test]
    async fn a_certificate_is_asked_for_again_when_somebody_else_writes() {
        let (asked, signed) = asked_on(0).await;
        assert_eq!((asked, signed.unwrap().is_some()), (vec!["v0".to_owned()], true));
        let (asked, signed) = asked_on(TRIES - 1).await;
        assert_eq!(asked, ["v0", "v1", "v2", "v3", "v4"]);
        assert!(signed.unwrap().is_some());
        let (asked, signed) = asked_on(usize::MAX).await;
        assert_eq!(asked.len(), TRIES);
        assert!(signed.unwrap_err().is_conflict());
    }
}
