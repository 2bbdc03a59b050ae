#!/usr/bin/env bash
# kube-runtime 5.0.0: a watcher whose lists fail is tried again without end in about a second, although
# `default_backoff` is documented as exponential up to 30 s.
#
# Why: `watcher` yields `Ok(Event::Init)` before each list, and `StreamBackoff` begins anew with any `Ok`. So the
# pauses grow only while a *watch* fails; a list that fails for good (no rights, a definition that is gone, an
# overloaded API server) is asked for again every 0.8 s to 1.6 s by each watcher of each replica.
#
# What to do: give the stream a backoff of one's own whose `reset` does nothing and which looks at the clock instead.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
mkdir -p "$folder/src"
cat > "$folder/Cargo.toml" <<'TOML'
[package]
name = "finding"
version = "0.0.0"
edition = "2024"

[dependencies]
futures = "=0.3.31"
http = "=1.3.1"
k8s-openapi = { version = "=0.29.0", features = ["latest"] }
kube = { version = "=5.0.0", default-features = false, features = ["client", "runtime"] }
tokio = { version = "=1.54.1", features = ["macros", "rt", "time", "net", "io-util"] }
TOML
cat > "$folder/src/main.rs" <<'RUST'
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Config};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// An API server that answers every list with 403.
async fn serve(listener: tokio::net::TcpListener) {
    let body = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","message":"no","code":403}"#;
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let mut read = [0; 4096];
            while stream.read(&mut read).await.is_ok_and(|read| read > 0) {
                let head = "HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\ncontent-length";
                let answer = format!("{head}: {}\r\n\r\n{body}", body.len());
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        });
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(serve(listener));
    let client = Client::try_from(Config::new(url.parse().unwrap())).unwrap();
    let maps: Api<ConfigMap> = Api::all(client);
    let events = watcher(maps, watcher::Config::default()).default_backoff();
    futures::pin_mut!(events);
    let (began, mut failures) = (Instant::now(), 0);
    let counting = async {
        while let Some(event) = events.next().await {
            if event.is_err() {
                failures += 1;
                println!("list {failures} failed after {:.1} s", began.elapsed().as_secs_f64());
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(25), counting).await;
    // Doubled each time from 0.8 s, five failures would take more than 12 s, and six more than 25 s.
    assert!(failures >= 12, "only {failures} lists in 25 s: it backs off now");
    println!("{failures} lists failed in 25 s");
}
RUST
cd "$folder"
cargo run --quiet
# Seen on 2026-11-28: 20 lists failed in 25 s, each 0.9 s to 1.6 s after the one before.
