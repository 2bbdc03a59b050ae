#!/usr/bin/env bash
# kube-runtime 5.0.0: `Recorder::publish` drops the note of an event whose type, action, reason and object were published in
# the six minutes before, whatever that note says. The event of the first note is counted once more, and `publish` returns Ok.
# "bob approved" after "alice approved" makes `kubectl describe` show "alice approved (x2)".
#
# Expected: another note is another event, as `tools/record` of client-go has it, whose cache compares the message too. (Its
# `tools/events` leaves the note out, like kube.) The documentation of `Recorder` says nothing of it.
#
# Besides: the cache is all that is asked. If that event is deleted meanwhile, `publish` patches one that is not there, and
# fails until the six minutes are over.
#
# Why: the note is no part of the key of the cache, and what is then sent is a copy of the first event.
#
# What to do: put what tells two events apart into `action`, which takes 128 characters, or into `secondary`; or make a
# Recorder for each event, since each has a cache of its own.
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
kube = { version = "=5.0.0", default-features = false, features = ["client", "runtime"] }
serde_json = "=1.0.154"
tokio = { version = "=1.54.1", features = ["macros", "rt"] }
tower = { version = "=0.5.3", features = ["util"] }
TOML
cat > "$folder/src/main.rs" <<'RUST'
use http::{Method, Request, Response, StatusCode};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1;
use kube::Client;
use kube::client::Body;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};

/// An API server that takes any event, and if it forgets, has none that could be patched.
async fn serve(request: Request<Body>, forgets: bool) -> Result<Response<Body>, kube::Error> {
    let method = request.method().clone();
    let bytes = request.into_body().collect_bytes().await?;
    let event: v1::Event = serde_json::from_slice(&bytes).unwrap();
    let count = event.series.map_or(1, |series| series.count);
    println!("  {method}: note {:?}, count {count}", event.note.unwrap());
    let (status, body) = if forgets && method == Method::PATCH {
        let gone = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","message":"gone","code":404}"#;
        (StatusCode::NOT_FOUND, Body::from(gone.as_bytes().to_vec()))
    } else {
        (StatusCode::OK, Body::from(bytes.to_vec()))
    };
    Ok(Response::builder().status(status).body(body).unwrap())
}

fn approval(by: &str) -> Event {
    Event {
        type_: EventType::Normal,
        reason: "Approved".into(),
        note: Some(format!("{by} approved")),
        action: "Approve".into(),
        secondary: None,
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let of = ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("ConfigMap".into()),
        namespace: Some("shop".into()),
        name: Some("request".into()),
        uid: Some("5f4e1c1e".into()),
        ..ObjectReference::default()
    };
    for forgets in [false, true] {
        println!("the first event is {}:", if forgets { "deleted" } else { "there" });
        let client = Client::new(tower::service_fn(move |request| serve(request, forgets)), "shop");
        let reporter = Reporter { controller: "finding".into(), instance: None };
        let recorder = Recorder::new(client, reporter);
        for by in ["alice", "bob"] {
            let published = recorder.publish(&approval(by), &of).await;
            println!("  publish of {by}: {}", if published.is_ok() { "ok" } else { "fails" });
        }
    }
}
RUST
said="$(cd "$folder" && cargo run --quiet)"
expected='the first event is there:
  POST: note "alice approved", count 1
  publish of alice: ok
  PATCH: note "alice approved", count 2
  publish of bob: ok
the first event is deleted:
  POST: note "alice approved", count 1
  publish of alice: ok
  PATCH: note "alice approved", count 2
  publish of bob: fails'
if [ "$said" != "$expected" ]; then
  printf 'it has changed:\n%s\n' "$said"
  exit 1
fi
printf '%s\n' "$said"
