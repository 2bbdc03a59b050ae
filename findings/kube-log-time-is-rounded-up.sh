#!/usr/bin/env bash
# kube-core 5.0.0: `LogParams::since_time` is sent rounded to the nearest second, so that the half of all times is sent as a later
# one. Who goes on with a log from the time of the last line that was read (`timestamps: true` gives it) at 12:00:00.6 asks for
# what came after 12:00:01, and never gets what was written in between.
#
# Expected: lines twice rather than none, so rounded down, as client-go does: its `metav1.Time` has no fractions of a second.
#
# So a reader of logs that starts again, or follows a pod after each end of its connection, has gaps of up to half a second, at
# about every other time, just where the most was going on.
#
# Why: `Timestamp::round` of jiff rounds half away from zero, if nothing else is said.
#
# What to do: give a time that is cut to the second, and drop the lines that are there already by their time.
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
jiff = "=0.2.43"
k8s-openapi = { version = "=0.29.0", features = ["latest"] }
kube-core = "=5.0.0"
TOML
cat > "$folder/src/main.rs" <<'RUST'
use kube_core::Request;
use kube_core::subresource::LogParams;

fn main() {
    for time in ["12:00:00.4Z", "12:00:00.5Z", "12:00:00.6Z", "23:59:59.9Z"] {
        let since: jiff::Timestamp = format!("2026-12-31T{time}").parse().unwrap();
        let params = LogParams { since_time: Some(since), timestamps: true, ..LogParams::default() };
        let request = Request::new("/api/v1/namespaces/shop/pods").logs("web", &params).unwrap();
        println!("since {since}: {}", request.uri().query().unwrap());
    }
}
RUST
said="$(cd "$folder" && cargo run --quiet)"
expected='since 2026-12-31T12:00:00.4Z: &sinceTime=2026-12-31T12%3A00%3A00Z&timestamps=true
since 2026-12-31T12:00:00.5Z: &sinceTime=2026-12-31T12%3A00%3A01Z&timestamps=true
since 2026-12-31T12:00:00.6Z: &sinceTime=2026-12-31T12%3A00%3A01Z&timestamps=true
since 2026-12-31T23:59:59.9Z: &sinceTime=2027-01-01T00%3A00%3A00Z&timestamps=true'
if [ "$said" != "$expected" ]; then
  printf 'it has changed:\n%s\n' "$said"
  exit 1
fi
printf '%s\n' "$said"
