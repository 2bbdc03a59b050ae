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
    bounded(format!("reading Endpoint {name}"), api.get_opt(name)).await
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
    bounded(format!("writing on Endpoint {name}"), written).await
}

/// Has a certificate signed. Whoever answers at admission takes what is asked for away again.
pub(crate) async fn sign(
    client: &Client,
    seen: &Endpoint,
    asked: &SigningRequest,
) -> Result<Endpoint, CallError> {
    let asked = serde_json::to_value(asked).unwrap_or_default();
    write(client, seen, &Map::from_iter([("signing".to_owned(), asked)])).await
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
