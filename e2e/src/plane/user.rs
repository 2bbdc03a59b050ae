//! Somebody who talks to the API server.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::{Api, Client};

use super::net::eventually;

/// How long a token of a service account is valid: longer than any test or demo.
const TOKEN_SECONDS: i64 = 24 * 60 * 60;

/// A person or a service account, with a client and with a kubeconfig for other programs.
#[derive(Clone)]
pub struct User {
    /// The name that the API server knows them by.
    pub name: String,
    /// A client; it belongs to the runtime that the user was made in.
    pub client: Client,
    /// A kubeconfig file with one context.
    pub kubeconfig: PathBuf,
}

/// A token for a service account, which may be about to be made.
pub(super) async fn token(admin: &Client, namespace: &str, name: &str) -> Result<String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(admin.clone(), namespace);
    let request = TokenRequest {
        spec: TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..Default::default() },
        ..Default::default()
    };
    let what = format!("a token for service account {namespace}/{name}");
    eventually(&what, Duration::from_mins(1), async || {
        let made = accounts.create_token_request(name, &PostParams::default(), &request).await?;
        Ok(made.status.map(|status| status.token))
    })
    .await
}

/// Writes a file that only its owner may read.
pub(super) fn write_private(path: &Path, content: &str) -> Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).write(true).truncate(true).mode(0o600);
    let written = options.open(path).and_then(|mut file| file.write_all(content.as_bytes()));
    written.with_context(|| format!("writing {}", path.display()))
}
