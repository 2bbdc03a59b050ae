//! Says of hosts that no gateway lives, while none does that could say how they stand.
//!
//! The holder of the lease alone does this. While a gateway lives it costs one read in ten seconds; when none does, each host
//! is written on once, page by page and one after the other. A gateway that is back takes over from there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use lapse_cluster::{CallError, GATEWAYS, Stored, bounded, next_page};
use lapse_crds::{Conditions as _, Endpoint};
use lapse_engine::endpoint::{BEAT, Gateways, without_gateway};
use serde_json::json;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::context::Context;

/// How many Endpoints are listed at once: each may hold hundreds of receipts.
const PAGE: u32 = 100;
/// How long after a write the next is made: nobody waits for any of them.
const SPACE: Duration = Duration::from_millis(20);
/// How soon it is looked for hosts of which it is not said yet: of those that are new, after all were written on.
const AGAIN: Duration = Duration::from_mins(5);

/// Looks whether a gateway lives, if there are to be any, until it is dropped.
pub(crate) async fn looking(context: Arc<Context>) {
    if context.reader.settings().has_gateway {
        look_out(&context).await;
    } else {
        std::future::pending::<()>().await;
    }
}

async fn look_out(context: &Context) {
    let (mut gateways, mut due) = (Gateways::default(), Instant::now());
    loop {
        sleep(BEAT).await;
        // Who holds the lease has written a moment ago, so gateways could, too.
        if !context.leadership.is_held() {
            gateways.forget();
            continue;
        }
        let beats = match beats(context).await {
            Ok(beats) => beats,
            Err(error) => {
                warn!(%error, "whether a gateway lives is not known");
                continue;
            }
        };
        if !gateways.look(&beats) {
            due = Instant::now();
        } else if Instant::now() >= due {
            match say(context, &beats).await {
                Ok(said) => {
                    info!(
                        said,
                        "no gateway lives: hosts of which nobody can tell more were told so"
                    );
                    due = Instant::now() + AGAIN;
                }
                Err(error) => warn!(%error, "not of each host it is said that no gateway lives"),
            }
        }
    }
}

/// What the processes of the gateway have written.
async fn beats(context: &Context) -> Result<BTreeMap<String, String>, CallError> {
    let namespace = &context.reader.settings().namespace;
    let api: Api<ConfigMap> = Api::namespaced(context.client(), namespace);
    let map = bounded(format!("reading ConfigMap {GATEWAYS}"), api.get(GATEWAYS)).await?;
    Ok(map.data.unwrap_or_default())
}

/// Says it of each host of which it is to be said, for as long as the gateways write nothing more and the lease is held.
/// Returns of how many.
async fn say(context: &Context, silent: &BTreeMap<String, String>) -> Result<usize, CallError> {
    let api: Api<Stored<Endpoint>> = Api::all(context.client());
    let mut params = ListParams::default().limit(PAGE);
    let mut said = 0;
    loop {
        let page = bounded("listing Endpoints", api.list(&params)).await?;
        let endpoints: Vec<Endpoint> =
            page.items.iter().filter_map(|stored| stored.object().ok()).collect();
        // Whoever has connected since is connected to a gateway that has shown itself.
        if beats(context).await? != *silent {
            return Ok(said);
        }
        for endpoint in &endpoints {
            if !context.leadership.is_held() {
                return Ok(said);
            }
            if say_of(context, endpoint).await? {
                said += 1;
                sleep(SPACE).await;
            }
        }
        match next_page(params, &page.metadata) {
            Some(next) => params = next,
            None => return Ok(said),
        }
    }
}

/// Says it of one, as it was listed. Who has written on it since knows better.
async fn say_of(context: &Context, endpoint: &Endpoint) -> Result<bool, CallError> {
    let Some(ready) = without_gateway(endpoint, context.clock.now()) else { return Ok(false) };
    let metadata = &endpoint.metadata;
    let name = metadata.name.as_deref().unwrap_or_default();
    let mut conditions = endpoint.status.clone().unwrap_or_default().conditions;
    conditions.set_condition(ready);
    let patch = Patch::Merge(json!({
        "metadata": {"uid": metadata.uid, "resourceVersion": metadata.resource_version},
        "status": {"conditions": conditions},
    }));
    let (api, params) = (Api::<Endpoint>::all(context.client()), PatchParams::default());
    let written = api.patch_status(name, &params, &patch);
    match bounded(format!("writing on Endpoint {name}"), written).await {
        Ok(_) => Ok(true),
        Err(error) if error.is_conflict() || error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use http::{Method, Request};
    use kube::client::Body;
    use serde_json::Value;

    use super::*;
    use crate::fake::{api_server, context};
    use crate::lease::Leadership;

    /// A cluster with hosts, by the reason of their `Ready`, and a gateway that writes or does not.
    #[derive(Default)]
    struct Cluster {
        hosts: Vec<(String, String)>,
        lives: bool,
        beat: u64,
        written: Vec<String>,
    }

    impl Cluster {
        fn answer(&mut self, method: &Method, path: &str, body: &[u8]) -> (u16, Value) {
            if path.ends_with("/configmaps/lapse-gateways") {
                self.beat += u64::from(self.lives);
                return (200, json!({"metadata": {}, "data": {"a": self.beat.to_string()}}));
            }
            if *method == Method::GET {
                let items: Vec<Value> = self.hosts.iter().map(host).collect();
                let metadata = json!({"resourceVersion": "7"});
                let list = json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items});
                return (200, list);
            }
            let name = path.trim_end_matches("/status").rsplit('/').next().unwrap().to_owned();
            let sent: Value = serde_json::from_slice(body).unwrap();
            let conditions = sent["status"]["conditions"].as_array().unwrap();
            let ready = conditions.iter().find(|condition| condition["type"] == "Ready").unwrap();
            let known = self.hosts.iter_mut().find(|(known, _)| *known == name).unwrap();
            known.1 = ready["reason"].as_str().unwrap().to_owned();
            assert!(conditions.iter().any(|condition| condition["type"] == "Outdated"), "it stays");
            self.written.push(name);
            (200, host(known))
        }
    }

    fn host((name, reason): &(String, String)) -> Value {
        let condition = |of: &str, reason: &str| {
            json!({"type": of, "status": "True", "reason": reason, "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z"})
        };
        json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "Endpoint",
            "metadata": {"name": name, "uid": name, "resourceVersion": "1"},
            "spec": {"platform": "Linux"},
            "status": {"conditions": [condition("Ready", reason), condition("Outdated", "AgentOlder")]},
        })
    }

    /// Whom it is said of, once, after a minute in which no gateway has written.
    #[tokio::test(start_paused = true)]
    async fn hosts_are_told_once_that_no_gateway_lives() {
        let cluster = Arc::new(Mutex::new(Cluster::default()));
        let served = cluster.clone();
        let client = api_server(move |request: Request<Body>| {
            let served = served.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await.unwrap();
                served.lock().unwrap().answer(&parts.method, parts.uri.path(), &body)
            }
        });
        let leader = Context { leadership: Leadership::of_the_leader(), ..context(client.clone()) };
        let hosts = |all: &[(&str, &str)]| {
            let all = all.iter().map(|(name, reason)| ((*name).to_owned(), (*reason).to_owned()));
            cluster.lock().unwrap().hosts = all.collect();
        };
        let written = || std::mem::take(&mut cluster.lock().unwrap().written);
        hosts(&[("web-1", "Connected"), ("web-2", "Disconnected"), ("web-3", "AgentProblem")]);
        cluster.lock().unwrap().lives = true;
        let running = tokio::spawn(async move { look_out(&leader).await });
        sleep(20 * BEAT).await;
        assert_eq!(written(), [""; 0], "one lives");
        cluster.lock().unwrap().lives = false;
        sleep(4 * BEAT).await;
        assert_eq!(written(), [""; 0], "not for long enough");
        sleep(5 * BEAT).await;
        assert_eq!(written(), ["web-1", "web-3"]);
        sleep(3 * AGAIN).await;
        assert_eq!(written(), [""; 0], "it is said");
        hosts(&[("new", "Connected"), ("web-1", "NoGateway")]);
        sleep(2 * AGAIN).await;
        assert_eq!(written(), ["new"]);
        cluster.lock().unwrap().lives = true;
        sleep(2 * BEAT).await;
        hosts(&[("web-1", "Connected")]);
        sleep(2 * AGAIN).await;
        assert_eq!(written(), [""; 0], "the gateway is back");
        running.abort();

        // Who does not lead says nothing.
        cluster.lock().unwrap().lives = false;
        let follower = context(client);
        tokio::select! {
            () = look_out(&follower) => unreachable!("it ends with the program"),
            () = sleep(2 * AGAIN) => assert_eq!(written(), [""; 0]),
        }
    }
}
