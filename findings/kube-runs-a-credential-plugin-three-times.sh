#!/usr/bin/env bash
# kube-client 5.0.0 (with its default TLS, rustls): `Client::try_from` runs a credential plugin (`exec` in a kubeconfig) three
# times, before any request, and then sends the first of the three tokens. If the plugin gives no `expirationTimestamp`, that
# is the token for good: after a 401 the plugin is not asked again.
#
# Expected: one run, when a credential is needed; and as the plugins' documentation has it, "If an expiry is omitted, the
# bearer token and TLS credentials are cached until the server responds with a 401 HTTP status code".
#
# So a plugin that asks a person (a code, a touch, a reason for a ticket) asks three times. One that gets a token for a ticket
# that is good for once fails, or, if a new token ends the one before, gives kube the one that is over already. And a controller
# whose token was ended goes on being refused until it is restarted.
#
# Why: the header, the client certificate and the time until which the certificate is good are each got from the plugin anew.
# What is kept to be renewed is only a token with a time.
#
# What to do: let the plugin cache what it gives, and always give a time. It is asked again a minute before that.
#
# Seen on 2026-12-01: what is below as `expected`.
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
http = "=1.5.0"
k8s-openapi = { version = "=0.29.0", features = ["latest"] }
kube = { version = "=5.0.0", default-features = false, features = ["client", "ring", "rustls-tls"] }
tokio = { version = "=1.54.1", features = ["io-util", "macros", "net", "rt"] }
TOML
cat > "$folder/src/main.rs" <<'RUST'
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// An API server that knows no token.
async fn serve(listener: tokio::net::TcpListener) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let mut read = [0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut read).await {
                let request = String::from_utf8_lossy(&read[..length]).to_lowercase();
                let token = request.lines().find(|line| line.starts_with("authorization"));
                println!("  401 for {}", token.unwrap());
                let answer = "HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(serve(listener));
    let plugin = std::env::args().nth(1).unwrap();
    for time in ["", "2099-01-01T00:00:00Z", "2020-01-01T00:00:00Z"] {
        println!("expirationTimestamp {time:?}:");
        let runs = format!("{plugin}.runs");
        std::fs::write(&runs, "").unwrap();
        let count = || std::fs::read_to_string(&runs).unwrap().lines().count();
        let text = format!(
            r#"
current-context: finding
contexts: [{{name: finding, context: {{cluster: finding, user: alice}}}}]
clusters: [{{name: finding, cluster: {{server: "{url}"}}}}]
users:
- name: alice
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1
      interactiveMode: Never
      command: "{plugin}"
      args: ["{time}"]
"#
        );
        let read = Kubeconfig::from_yaml(&text).unwrap();
        let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await.unwrap();
        let client = Client::try_from(config).unwrap();
        println!("  Client::try_from: the plugin ran {} times", count());
        for _ in 0..2 {
            let request = http::Request::get("/version").body(Vec::new()).unwrap();
            client.request_text(request).await.unwrap_err();
        }
        println!("  after two requests: it ran {} times", count());
    }
}
RUST
# Each run gives another token.
cat > "$folder/plugin" <<'PLUGIN'
#!/bin/sh
echo run >> "$0.runs"
number="$(wc -l < "$0.runs")"
time="${1:+, \"expirationTimestamp\": \"$1\"}"
echo '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "'"$number"'"'"$time"'}}'
PLUGIN
chmod +x "$folder/plugin"
said="$(cd "$folder" && cargo run --quiet -- "$folder/plugin")"
expected='expirationTimestamp "":
  Client::try_from: the plugin ran 3 times
  401 for authorization: bearer 1
  401 for authorization: bearer 1
  after two requests: it ran 3 times
expirationTimestamp "2099-01-01T00:00:00Z":
  Client::try_from: the plugin ran 3 times
  401 for authorization: bearer 1
  401 for authorization: bearer 1
  after two requests: it ran 3 times
expirationTimestamp "2020-01-01T00:00:00Z":
  Client::try_from: the plugin ran 3 times
  401 for authorization: bearer 4
  401 for authorization: bearer 5
  after two requests: it ran 5 times'
if [ "$said" != "$expected" ]; then
  printf 'it has changed:\n%s\n' "$said"
  exit 1
fi
printf '%s\n' "$said"
