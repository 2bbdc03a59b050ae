//! Kubeconfig files, and clients made from them.

use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use kube::config::{KubeConfigOptions, Kubeconfig};
use lapse_cluster::clock::Clock;
use serde_json::{Value, json};

use super::certs::Identity;

/// How a user proves who they are.
#[derive(Clone, Debug)]
pub(super) enum Credentials {
    Certificate(Identity),
    Token(String),
}

/// The text of a kubeconfig with one context for each user, the first being the current one.
pub(super) fn render(server: &str, ca: &str, users: &[(&str, Credentials)]) -> Result<String> {
    let contexts: Vec<Value> = users
        .iter()
        .map(|(name, _)| json!({"name": name, "context": {"cluster": "lapse", "user": name}}))
        .collect();
    let people: Vec<Value> = users
        .iter()
        .map(|(name, credentials)| json!({"name": name, "user": credentials.as_json()}))
        .collect();
    let cluster = json!({"server": server, "certificate-authority-data": encode(ca)});
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lapse", "cluster": cluster}],
        "contexts": contexts,
        "current-context": users.first().map(|(name, _)| *name),
        "users": people,
    });
    serde_saphyr::to_string(&config).context("writing a kubeconfig")
}

/// A client for the current context. It belongs to the current runtime.
pub(super) async fn client(kubeconfig: &str) -> Result<kube::Client> {
    let parsed = Kubeconfig::from_yaml(kubeconfig).context("reading a kubeconfig")?;
    let config =
        kube::Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default()).await?;
    lapse_cluster::connect_with(config, &Clock::default()).context("making a client")
}

impl Credentials {
    fn as_json(&self) -> Value {
        match self {
            Self::Certificate(Identity { certificate, key }) => json!({
                "client-certificate-data": encode(certificate),
                "client-key-data": encode(key),
            }),
            Self::Token(token) => json!({ "token": token }),
        }
    }
}

fn encode(pem: &str) -> String {
    BASE64_STANDARD.encode(pem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_user_is_the_current_context() {
        let token = |text: &str| Credentials::Token(text.into());
        let users = [("admin", token("a")), ("alice", token("b"))];
        let text = render("https://127.0.0.1:1", "CA", &users).unwrap();
        let config = Kubeconfig::from_yaml(&text).unwrap();
        assert_eq!(config.current_context.as_deref(), Some("admin"));
        let names: Vec<_> = config.contexts.iter().map(|context| context.name.as_str()).collect();
        assert_eq!(names, ["admin", "alice"]);
    }
}
