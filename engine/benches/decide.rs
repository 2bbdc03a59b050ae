//! How long a decision about a request takes, and on what that depends: `cargo bench -p lapse-engine`
//!
//! The figures of one run are compared with one another; on other machines they differ.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use lapse_crds::{AccessRequest, JitPolicy};
use lapse_engine::attest::{Attestation, Attested};
use lapse_engine::peers::Peers;
use lapse_engine::policy::{BannedRoles, Policies, PolicyState};
use lapse_engine::request::{Observed, decide};
use lapse_engine::role::RoleRules;
use lapse_engine::surroundings::Surroundings;
use lapse_engine::target::Namespace;
use lapse_engine::{Read, Settings};
use serde_json::{Value, json};

/// How many policies are for the person who asks, however many there are.
const OWN: usize = 5;
const ROUNDS: usize = 2_000;

fn main() {
    let few = measure("a named policy among 10", 10, true);
    let many = measure("a named policy among 1,000", 1_000, true);
    println!("{:>58.2} times", many.as_secs_f64() / few.as_secs_f64());
    let few = measure("no policy named, 10 of them", 10, false);
    let many = measure("no policy named, 1,000 of them", 1_000, false);
    println!("{:>58.2} times", many.as_secs_f64() / few.as_secs_f64());
}

/// The median of many decisions.
fn measure(what: &str, policies: usize, is_named: bool) -> Duration {
    let (observed, now) = (observed(policies, is_named), time());
    let mut took: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let began = Instant::now();
            black_box(decide(black_box(&observed), now));
            began.elapsed()
        })
        .collect();
    took.sort();
    let median = took[ROUNDS / 2];
    println!("{what:<40} {:>12.1} µs", median.as_secs_f64() * 1e6);
    median
}

fn time() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000, 0).unwrap_or_default()
}

#[expect(clippy::panic, reason = "a fixture that cannot be read measures nothing")]
fn typed<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap_or_else(|error| panic!("the fixture: {error}"))
}

fn settings() -> Settings {
    typed(json!({
        "namespace": "lapse-system", "bindableRoles": [{"kind": "ClusterRole", "name": "edit"}],
        "grantableRules": [], "allowClusterWide": false, "protectedNamespaces": ["kube-*"],
        "duration": {"min": "5m", "max": "24h"},
        "controller": {"serviceAccount": "lapse-controller", "endsWorkloads": false},
    }))
}

fn policy(index: usize) -> PolicyState {
    let team = if index < OWN { "shop".to_owned() } else { format!("team-{index}") };
    let policy: JitPolicy = typed(json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "JitPolicy",
        "metadata": {"name": format!("policy-{index}"), "uid": format!("uid-{index}"), "generation": 1},
        "spec": {
            "requesters": [{"kind": "Group", "name": team}],
            "targets": [{"kubernetes": {
                "roles": [{"kind": "ClusterRole", "name": "edit"}], "namespaces": {"names": ["shop"]},
            }}],
            "duration": {"max": "8h"},
            "approval": {"stages": [
                {"name": "manager", "required": 1, "approvers": [{"kind": "Group", "name": "managers"}]},
            ]},
        },
    }));
    PolicyState::of(&policy, &settings())
}

fn observed(policies: usize, is_named: bool) -> Observed {
    let named = is_named.then_some("policy-0");
    let request: AccessRequest = typed(json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessRequest",
        "metadata": {"name": "fix", "namespace": "shop", "uid": "u", "generation": 1},
        "spec": {
            "policy": named, "reason": "Checkout fails", "duration": "1h",
            "target": {"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}}},
            "requester": {"username": "alice", "groups": ["shop", "system:authenticated"]},
        },
    }));
    let attestation = Attestation {
        version: 1,
        key: "0123456789abcdef".to_owned(),
        admitted_at: time().into(),
        nonce: "n".to_owned(),
        named: true,
        signature: String::new(),
    };
    Observed {
        request: Attested { object: request, attestation: Ok(attestation) },
        policies: Read::Found((0..policies).map(policy).collect::<Policies>()),
        decisions: Read::Found(Vec::new()),
        role: Read::Found(RoleRules::default()),
        accounts: Read::Found(Vec::new()),
        banned_roles: BannedRoles::new(),
        surroundings: Surroundings {
            namespaces: BTreeMap::from([("shop".to_owned(), Read::Found(Namespace::default()))]),
            ..Surroundings::default()
        },
        grant: Read::Missing,
        peers: Read::Found(Peers::default()),
        engaging: Read::Found(Vec::new()),
        settings: settings(),
        obstacle: None,
    }
}
