//! Traces, as a collector gets them from the real programs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use lapse_e2e::plane::{InstallOptions, eventually};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span as Exported;
use prost::Message as _;
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use crate::world::{SOON, World};

/// A span as it came.
#[derive(Clone, Debug)]
struct Span {
    /// What the process says of itself.
    of: BTreeMap<String, String>,
    attributes: BTreeMap<String, String>,
    sent: Exported,
}

/// What came.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

fn attributes(of: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |pair: &KeyValue| match pair.value.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text.clone()),
        any_value::Value::IntValue(number) => Some(number.to_string()),
        any_value::Value::BoolValue(is_so) => Some(is_so.to_string()),
        _ => None,
    };
    of.iter().filter_map(|pair| Some((pair.key.clone(), text(pair)?))).collect()
}

async fn take(State(collector): State<Collector>, body: Bytes) {
    let batch = ExportTraceServiceRequest::decode(body).unwrap();
    let mut spans = collector.0.lock().unwrap();
    for of_a_process in batch.resource_spans {
        let of = attributes(&of_a_process.resource.unwrap_or_default().attributes);
        for span in of_a_process.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            let attributes = attributes(&span.attributes);
            spans.push(Span { of: of.clone(), attributes, sent: span });
        }
    }
}

impl Collector {
    /// One that listens, and its endpoint.
    async fn start() -> (Self, String) {
        let collector = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/v1/traces", post(take)).with_state(collector.clone());
        tokio::spawn(async { axum::serve(listener, router).await });
        (collector, endpoint)
    }

    fn spans(&self) -> Vec<Span> {
        self.0.lock().unwrap().clone()
    }

    /// Waits for a span of this name, with these attributes, and a child of each of these names.
    async fn found(&self, name: &str, has: &[(&str, &str)], children: &[&str]) -> Span {
        let what = format!("a span {name:?} with {has:?} above {children:?}");
        let found = eventually(&what, SOON, async || {
            let all = self.spans();
            let mut parents = all.iter().filter(|span| {
                let is = |(key, value): &(&str, &str)| {
                    span.attributes.get(*key).is_some_and(|it| it == value)
                };
                span.sent.name == name && has.iter().all(is)
            });
            let found = parents.find(|parent| {
                children.iter().all(|child| {
                    all.iter().any(|span| {
                        span.sent.name == *child
                            && span.sent.parent_span_id == parent.sent.span_id
                            && span.sent.trace_id == parent.sent.trace_id
                    })
                })
            });
            Ok(found.cloned())
        });
        found.await.unwrap_or_else(|error| {
            let names: Vec<_> =
                self.spans().into_iter().map(|s| (s.sent.name, s.attributes)).collect();
            panic!("{error:#}; there are {names:#?}")
        })
    }
}

fn to(endpoint: &str) -> InstallOptions {
    let set = vec![format!("tracing.endpoint={endpoint}")];
    InstallOptions { set, ..InstallOptions::default() }
}

/// From the request over the approval to the end, each with the calls that it made.
#[tokio::test]
async fn the_life_of_a_right_can_be_traced() {
    let (collector, endpoint) = Collector::start().await;
    let world = World::own("traced", to(&endpoint)).await;
    let status = world.granted("traced", json!({"duration": "20s"})).await;
    let grant = status.grant.unwrap().name;
    world.ended(&grant).await;

    let (kind, of_name) = (("lapse.kind", "AccessRequest"), ("lapse.name", "traced"));
    let stamped = [
        kind,
        of_name,
        ("lapse.namespace", &world.ns),
        ("lapse.webhook", "mutate"),
        ("lapse.operation", "CREATE"),
        ("lapse.outcome", "allowed"),
    ];
    let stamped = collector.found("mutate AccessRequest", &stamped, &[]).await;
    let asked = ["asking whether the caller may approve"];
    collector.found("mutate AccessDecision", &[("lapse.outcome", "allowed")], &asked).await;
    let of_grant = [("lapse.name", grant.as_str())];
    collector.found("confine Grant", &[("lapse.outcome", "allowed"), of_grant[0]], &[]).await;

    let given = [kind, of_name, ("lapse.namespace", &world.ns), ("lapse.outcome", "succeeded")];
    let made = ["creating Grant", "creating RoleBinding"];
    let reconciled = collector.found("reconcile AccessRequest", &given, &made).await;
    let taken = [of_grant[0], ("lapse.outcome", "taken")];
    collector.found("expire Grant", &taken, &["deleting RoleBinding"]).await;
    collector.found("reconcile Grant", &of_grant, &["reporting on Grant"]).await;
    collector.found("sweep", &[("lapse.outcome", "succeeded")], &["listing RoleBindings"]).await;

    // Who says so.
    for (span, program, pod) in [
        (&stamped, "lapse-webhook", "lapse-webhook-0"),
        (&reconciled, "lapse-controller", "lapse-controller-0"),
    ] {
        let says = [
            ("service.name", program),
            ("service.version", env!("CARGO_PKG_VERSION")),
            ("k8s.pod.name", pod),
            ("k8s.namespace.name", "lapse-system"),
        ];
        for (key, expected) in says {
            assert_eq!(span.of.get(key).map(String::as_str), Some(expected), "{key}: {span:?}");
        }
    }
    // Neither what people wrote nor who they are, and no line of the log.
    for span in collector.spans() {
        let (attributes, events) = (&span.attributes, &span.sent.events);
        assert!(events.is_empty(), "{span:?}");
        for value in attributes.values().chain([&span.sent.name]) {
            for not in ["An end-to-end test asks", &world.alice.name, &world.bob.name] {
                assert!(!value.contains(not), "{span:?}");
            }
            assert!(value.len() <= 256, "{span:?}");
        }
    }
    // Calls that belong to nothing are no traces.
    let roots = collector.spans().into_iter().filter(|span| span.sent.parent_span_id.is_empty());
    let calls = roots.filter(|span| span.attributes.contains_key("lapse.call"));
    assert_eq!(calls.map(|span| span.sent.name).collect::<Vec<_>>(), [""; 0]);
    // What comes last is sent before the process ends.
    let before = collector.spans().len();
    world.ask("last", json!({})).await;
    world.lapse.webhooks[0].process.terminate(SOON).await.unwrap();
    let last = [of_name.0, "last"];
    let all = collector.spans();
    let is_last = |span: &&Span| span.attributes.get(last[0]).is_some_and(|name| name == last[1]);
    let names = all[before..].iter().filter(is_last).map(|span| span.sent.name.as_str());
    let names: Vec<_> = names.collect();
    assert!(names.contains(&"mutate AccessRequest"), "{names:?}");
}

/// A collector that takes what it is sent, and never answers.
async fn silent() -> (Arc<Mutex<usize>>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let taken = Arc::new(Mutex::new(0));
    let counted = taken.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            *counted.lock().unwrap() += 1;
            tokio::spawn(
                async move { while stream.read(&mut [0; 4096]).await.is_ok_and(|n| n > 0) {} },
            );
        }
    });
    (taken, endpoint)
}

/// Rights are given and taken as if there were none, and the process ends soon.
#[tokio::test]
async fn a_collector_that_does_not_answer_delays_nothing() {
    let (taken, endpoint) = silent().await;
    let world = World::own("untraced", to(&endpoint)).await;
    eventually("both programs to wait for an answer", SOON, async || {
        Ok((*taken.lock().unwrap() >= 2).then_some(()))
    })
    .await
    .unwrap();
    let status = world.granted("untraced", json!({"duration": "20s"})).await;
    world.ended(&status.grant.unwrap().name).await;
    let controller = &world.lapse.controllers[0];
    for what in ["lapse_time_to_grant_seconds_sum", "lapse_revocation_lateness_seconds_sum"] {
        let took = controller.counted(what, &[]).await.unwrap();
        // A collector has 5 s for an answer.
        assert!(took > 0.0 && took < 5.0, "{what}: {took} s");
    }
    for component in [controller, &world.lapse.webhooks[0]] {
        let began = Instant::now();
        component.process.terminate(SOON).await.unwrap();
        let took = began.elapsed();
        // 2 s for the last spans, beside what the end takes anyway. Both waits of the SDK would be 10 s.
        assert!(took < Duration::from_secs(10), "{} took {took:?}", component.process.name());
        let log = std::fs::read_to_string(&component.process.spec().log).unwrap();
        assert_eq!(log.matches("traces cannot be sent").count(), 1, "{log}");
        assert!(log.contains("the last traces were not sent"), "{log}");
    }
}
