//! Whether the cluster has what Lapse needs, as it says itself. Helm looks, too, but not everybody installs with it, and
//! clusters change.

use std::time::Duration;

use kube::Client;
use lapse_engine::supported::{ADMISSION_GROUP, Unsupported, unsupported};
use tokio::time::sleep;
use tracing::{debug, error, info, warn};

use crate::call::{CALL_LIMIT, CallError, bounded_by};

/// How soon to ask again when there was no answer.
const AGAIN: Duration = Duration::from_millis(500);
/// How often to ask while the cluster lacks something.
const ROUND: Duration = Duration::from_secs(10);

/// Waits until the cluster is known to have what Lapse needs, and says meanwhile what it lacks. Where that may not be
/// asked, it is taken to have it.
pub async fn supported(client: Client) {
    let mut told = None;
    loop {
        let wait = match lacking(&client, CALL_LIMIT).await {
            Ok(None) => {
                if told.is_some() {
                    info!("the cluster has what Lapse needs");
                }
                return;
            }
            Ok(Some(why)) => {
                if told.as_ref() != Some(&why) {
                    error!(%why, "nothing is granted in this cluster; what was granted still ends");
                    told = Some(why);
                }
                ROUND
            }
            Err(error) if error.is_lasting() => {
                warn!(%error, "not known whether the cluster has what Lapse needs; it is taken to have it");
                return;
            }
            Err(error) => {
                debug!(%error, "not known yet whether the cluster has what Lapse needs");
                AGAIN
            }
        };
        sleep(wait).await;
    }
}

/// What the cluster lacks, if anything. Each call takes at most so long.
pub async fn lacking(client: &Client, limit: Duration) -> Result<Option<Unsupported>, CallError> {
    let resources = async {
        match client.list_api_group_resources(ADMISSION_GROUP).await {
            Ok(list) => Ok(list.resources),
            // None of the group.
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    };
    let (version, resources) = tokio::try_join!(
        bounded_by(limit, "asking for the version of the API server", client.apiserver_version()),
        bounded_by(limit, "asking what admission it serves", resources),
    )?;
    let served: Vec<String> = resources.into_iter().map(|resource| resource.name).collect();
    Ok(unsupported(&version.major, &version.minor, &served))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http::{Request, Response};
    use kube::client::Body;
    use lapse_engine::supported::ADMISSION;
    use serde_json::json;
    use tokio::time::{Instant, timeout};

    use super::*;

    /// An API server that answers the question for its version with these, one after the other, and how often it was asked.
    fn answering(answers: &'static [(u16, &'static str)]) -> (Client, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let service = tower::service_fn(move |request: Request<Body>| {
            let resources = ADMISSION.map(
                |name| json!({"name": name, "singularName": "", "namespaced": false, "kind": "X", "verbs": []}),
            );
            let (code, body) = if request.uri().path() == "/version" {
                let number = count.fetch_add(1, Ordering::Relaxed);
                let (code, minor) = answers[number.min(answers.len() - 1)];
                let all = ["gitVersion", "gitCommit", "gitTreeState", "buildDate", "goVersion"];
                let mut version =
                    json!({"major": "1", "minor": minor, "compiler": "", "platform": ""});
                for field in all {
                    version[field] = json!("");
                }
                let status =
                    json!({"status": "Failure", "code": code, "reason": minor, "message": minor});
                (code, if code == 200 { version } else { status })
            } else {
                let list = json!({"kind": "APIResourceList", "groupVersion": ADMISSION_GROUP});
                let mut list = list;
                list["resources"] = json!(resources);
                (200, list)
            };
            let answer =
                Response::builder().status(code).body(Body::from(body.to_string().into_bytes()));
            async move { Ok::<_, Infallible>(answer.unwrap()) }
        });
        (Client::new(service, "default"), asked)
    }

    #[tokio::test(start_paused = true)]
    async fn waits_for_a_cluster_that_is_too_old() {
        let (client, asked) = answering(&[(200, "31"), (200, "31"), (200, "32")]);
        let before = Instant::now();
        supported(client).await;
        assert_eq!((asked.load(Ordering::Relaxed), before.elapsed()), (3, 2 * ROUND));
        let (client, _) = answering(&[(200, "31")]);
        assert!(timeout(Duration::from_hours(1), supported(client)).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_server_that_cannot_answer_is_asked_again_and_one_that_refuses_is_not() {
        let (client, asked) = answering(&[(503, "ServiceUnavailable"), (200, "32")]);
        supported(client).await;
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        let (client, asked) = answering(&[(403, "Forbidden")]);
        supported(client).await;
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }
}
