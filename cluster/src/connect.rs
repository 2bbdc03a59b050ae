//! A client for the cluster that the process runs in, or that KUBECONFIG names.

use std::time::Duration;

use http::header::USER_AGENT;
use http::{HeaderMap, HeaderValue, Response};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ClientBuilder, ConfigExt as _};
use kube::{Client, Config};
use tower::ServiceBuilder;
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

/// Connects as a program of this name, and compares the clock with the API server's at every answer.
///
/// The audit log shows who called as `NAME/VERSION`, and so do the managers of fields, by the name.
pub async fn connect(clock: &Clock, program: &str) -> Result<Client, ConnectError> {
    let mut config = Config::infer().await?;
    let agent = format!("{program}/{}", env!("CARGO_PKG_VERSION"));
    if let Ok(agent) = HeaderValue::from_str(&agent) {
        config.headers.push((USER_AGENT, agent));
    }
    Ok(connect_with(config, clock)?)
}

/// How long the API server may take to begin an answer. A call has its own, shorter limit; this one is for watches,
/// for which `kube` has none.
const ANSWER: Duration = Duration::from_secs(20);

/// Connects as [`connect`] does, to the cluster that the configuration names.
pub fn connect_with(mut config: Config, clock: &Clock) -> kube::Result<Client> {
    config.connect_timeout = Some(Duration::from_secs(5));
    let namespace = config.default_namespace.clone();
    let clock = clock.clone();
    let observe = move |headers: &HeaderMap| {
        let date = headers.get(http::header::DATE);
        if let Some(date) = date.and_then(|date| date.to_str().ok()) {
            clock.observe(date);
        }
    };
    if config.proxy_url.is_some() {
        let observe_date = MapResponseLayer::new(move |response: Response<_>| {
            observe(response.headers());
            response
        });
        return Ok(ClientBuilder::try_from(config)?.with_layer(&observe_date).build());
    }
    // The client that kube builds by default leaves Nagle's algorithm on (RFC 896): a write, whose head
    // and body are sent apart, then waits 40 ms for the acknowledgement of its first half.
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_keepalive(Some(Duration::from_secs(30)));
    let connector = config.rustls_https_connector_with_connector(connector)?;
    let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .build::<_, Body>(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_response(move |response: Response<_>| {
            observe(response.headers());
            response
        })
        .map_err(tower::BoxError::from)
        // Until an answer begins. What follows may go on, as a watch does.
        .timeout(ANSWER)
        .service(http);
    Ok(Client::new(service, namespace))
}
