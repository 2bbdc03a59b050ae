//! The store of the control plane, asked directly, past the API server.
//!
//! Through the API server, admission included, a hundred thousand objects would take an hour.

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::Client;
use serde_json::{Value, json};

use crate::plane::Plane;

/// How many objects are written at once.
const AT_ONCE: usize = 32;

/// A key and what is stored under it.
pub(super) type Entry = (String, Vec<u8>);

/// A client of etcd's JSON gateway.
pub(super) struct Store(Client);

impl Store {
    pub(super) fn of(plane: &Plane) -> Result<Self> {
        let config = kube::Config::new(plane.store().parse().context("the store's address")?);
        Ok(Self(Client::try_from(config).context("making a client of the store")?))
    }

    /// What is stored under a key.
    pub(super) async fn get(&self, key: &str) -> Result<Vec<u8>> {
        let answer = self.call("/v3/kv/range", &json!({"key": encode(key)})).await?;
        let value = answer.pointer("/kvs/0/value").and_then(Value::as_str);
        let value = value.with_context(|| format!("nothing is stored under {key}"))?;
        BASE64_STANDARD.decode(value).with_context(|| format!("reading {key}"))
    }

    /// Stores these, whatever stood there: each by a write of its own, because the API server believes that
    /// a revision changes one object.
    pub(super) async fn put(&self, entries: impl Iterator<Item = Entry>) -> Result<()> {
        let writes = stream::iter(entries).map(|(key, value)| async move {
            let body = json!({"key": encode(&key), "value": encode(value)});
            self.call("/v3/kv/put", &body).await.map(|_| ())
        });
        writes.buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn call(&self, path: &str, body: &Value) -> Result<Value> {
        let request = http::Request::post(path)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(serde_json::to_vec(body)?)?;
        self.0.request(request).await.with_context(|| format!("asking the store: {path}"))
    }
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_STANDARD.encode(bytes)
}
