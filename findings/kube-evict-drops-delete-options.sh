#!/usr/bin/env bash
# kube-core 5.0.0: `EvictParams::delete_options` never reaches the API server. `Request::evict` writes the field as
# `delete_options`, and `policy/v1 Eviction` calls it `deleteOptions`; a field that is not known is dropped without a word.
#
# So an eviction with a precondition on the UID evicts whatever pod has the name by now, one with a grace period gives the
# pod's own, and one whose delete options say `dryRun: All` really evicts. (`post_options.dry_run` works: it is in the
# query.)
#
# What to do: send the `Eviction` of k8s-openapi with `Api::create_subresource("eviction", …)`.
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
k8s-openapi = { version = "=0.29.0", features = ["latest"] }
kube-core = "=5.0.0"
serde_json = "=1.0.145"
TOML
cat > "$folder/src/main.rs" <<'RUST'
use k8s_openapi::api::policy::v1::Eviction;
use kube_core::Request;
use kube_core::params::{DeleteParams, Preconditions};
use kube_core::subresource::EvictParams;

fn main() {
    let uid = Some("5f4e1c1e".to_owned());
    let preconditions = Some(Preconditions { uid, resource_version: None });
    let delete_options = Some(DeleteParams { preconditions, ..DeleteParams::default() });
    let params = EvictParams { delete_options, ..EvictParams::default() };
    let request = Request::new("/api/v1/namespaces/shop/pods").evict("web", &params).unwrap();
    let body = String::from_utf8(request.into_body()).unwrap();
    println!("sent: {body}");
    let read: Eviction = serde_json::from_str(&body).unwrap();
    println!("read as policy/v1 Eviction: delete options {:?}", read.delete_options.map(|_| "some"));
}
RUST
said="$(cd "$folder" && cargo run --quiet)"
expected='sent: {"delete_options":{"preconditions":{"uid":"5f4e1c1e"}},"metadata":{"name":"web"}}
read as policy/v1 Eviction: delete options None'
if [ "$said" != "$expected" ]; then
  printf 'it has changed:\n%s\n' "$said"
  exit 1
fi
printf '%s\n' "$said"
