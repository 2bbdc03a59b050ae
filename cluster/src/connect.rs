//! A client for the cluster that the process runs in, or that KUBECONFIG names.

mod connections;

use std::time::Duration;

use http::header::USER_AGENT;
use http::{HeaderMap, HeaderValue, Response};
use kube::client::ConfigExt as _;
use kube::{Client, Config};
use tower::ServiceBuilder;

use self::connections::{Connections, Limits, connector};
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

/// Connects as [`connect`] does, to the cluster that the configuration names.
pub fn connect_with(config: Config, clock: &Clock) -> kube::Result<Client> {
    connect_within(config, clock, Limits::default())
}

fn connect_within(mut config: Config, clock: &Clock, limits: Limits) -> kube::Result<Client> {
    config.connect_timeout = Some(Duration::from_secs(5));
    if let Some(proxy) = &config.proxy_url {
        return Err(kube::Error::ProxyProtocolUnsupported { proxy_url: Box::new(proxy.clone()) });
    }
    let connector = connector(config.connect_timeout);
    let connector = config.rustls_https_connector_with_connector(connector)?;
    let namespace = config.default_namespace.clone();
    let clock = clock.clone();
    let observe = move |headers: &HeaderMap| {
        let date = headers.get(http::header::DATE);
        if let Some(date) = date.and_then(|date| date.to_str().ok()) {
            clock.observe(date);
        }
    };
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_response(move |response: Response<_>| {
            observe(response.headers());
            response
        })
        .service(Connections::new(connector, limits));
    Ok(Client::new(service, namespace))
}

#[cfg(test)]
mod tests;
