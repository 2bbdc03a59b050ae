//! A client for the cluster that the process runs in, or that KUBECONFIG names.

use std::time::Duration;

use http::Response;
use kube::client::ClientBuilder;
use kube::{Client, Config};
use tower::util::MapResponseLayer;

use crate::clock::Clock;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Neither a pod's credentials nor a usable kubeconfig.
    #[error("no access to a cluster: neither in a pod, nor by KUBECONFIG: {0}")]
    Config(#[from] kube::config::InferConfigError),
    /// The configuration cannot be used.
    #[error("the configuration for the cluster cannot be used: {0}")]
    Client(#[from] kube::Error),
}

/// Connects, and compares the clock with the API server's at every answer.
pub async fn connect(clock: &Clock) -> Result<Client, ConnectError> {
    let mut config = Config::infer().await?;
    config.connect_timeout = Some(Duration::from_secs(5));
    let clock = clock.clone();
    let observe_date = MapResponseLayer::new(move |response: Response<_>| {
        let date = response.headers().get(http::header::DATE);
        if let Some(date) = date.and_then(|date| date.to_str().ok()) {
            clock.observe(date);
        }
        response
    });
    Ok(ClientBuilder::try_from(config)?.with_layer(&observe_date).build())
}
