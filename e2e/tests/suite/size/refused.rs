//! What is too large, by every way of sending it.

use std::fmt::Debug;

use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::{decisions, entries, managers, requests};
use crate::world::{World, refused, typed};

/// What somebody may try to store, and a word of the refusal.
fn attacks() -> [(&'static str, Value, &'static str); 7] {
    let long = json!({"example.com/note": "x".repeat(50_000)});
    // Half as many characters as bytes.
    let wide = json!({"example.com/note": "ä".repeat(25_000)});
    [
        ("annotations", long, "metadata.annotations takes 500"),
        ("annotations", wide, "metadata.annotations takes 500"),
        ("annotations", entries(65, 1), "metadata.annotations has 65 entries"),
        ("labels", entries(33, 1), "metadata.labels has 3"),
        ("labels", entries(32, 63), "metadata.labels takes 4320"),
        ("managedFields", managers(33, 10), "metadata.managedFields has 3"),
        ("finalizers", json!(["example.com/x", "example.com/y"]), "lapse-ownership"),
    ]
}

fn told<T: Debug>(result: kube::Result<T>, words: &str) {
    refused(result.map_err(Into::into), words);
}

/// A request as a document, with something in its metadata.
fn request(world: &World, name: &str, field: &str, value: &Value) -> Value {
    let mut request = serde_json::to_value(world.request(name, json!({}))).unwrap();
    request["metadata"][field] = value.clone();
    request
}

#[tokio::test]
async fn nothing_larger_is_made() {
    let world = World::shared("size-made").await;
    let api = requests(&world, &world.alice);
    for (field, value, words) in attacks() {
        let large = request(&world, "large", field, &value);
        for dry_run in [false, true] {
            let post = PostParams { dry_run, ..PostParams::default() };
            told(api.create(&post, &typed(large.clone())).await, words);
            if field != "managedFields" {
                let apply = PatchParams { dry_run, ..PatchParams::apply("e2e") };
                told(api.patch("large", &apply, &Patch::Apply(&large)).await, words);
            }
        }
    }
    let spec = |field: &str, value: Value| {
        typed(serde_json::to_value(world.request("large", json!({field: value}))).unwrap())
    };
    let rule = json!({
        "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"],
        "resourceNames": (0..512).map(|number| format!("{number:0>100}")).collect::<Vec<_>>(),
    });
    let target = json!({"kubernetes": {"rules": [rule]}});
    let post = PostParams::default();
    told(api.create(&post, &spec("target", target)).await, "the largest is spec.target with 5");
    assert!(api.get_opt("large").await.unwrap().is_none());
}

#[tokio::test]
async fn nothing_that_stands_grows_beyond_it() {
    let world = World::shared("size-grown").await;
    world.ask("fix", json!({})).await;
    let (api, put) = (requests(&world, &world.alice), requests(&world, &world.admin));
    for (field, value, words) in attacks() {
        // The controller writes it, too.
        let replaced = loop {
            let standing = api.get("fix").await.unwrap();
            let mut whole = serde_json::to_value(&standing).unwrap();
            json_patch::merge(&mut whole["metadata"], &json!({field: value}));
            match put.replace("fix", &PostParams::default(), &typed(whole)).await {
                Err(kube::Error::Api(status)) if status.is_conflict() => {}
                replaced => break replaced,
            }
        };
        told(replaced, words);
        for dry_run in [false, true] {
            let params = PatchParams { dry_run, ..PatchParams::default() };
            let merge = Patch::Merge(json!({"metadata": {field: value}}));
            told(api.patch("fix", &params, &merge).await, words);
            if field != "managedFields" {
                let apply = PatchParams { dry_run, ..PatchParams::apply("e2e") };
                let part = json!({
                    "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessRequest", "metadata": {field: value},
                });
                told(api.patch("fix", &apply, &Patch::Apply(&part)).await, words);
            }
        }
    }
    let note = format!("note={}", "x".repeat(50_000));
    let args = ["annotate", "areq", "fix", "-n", &world.ns, &note];
    refused(world.kubectl(&world.alice, &args, None).await, "metadata.annotations takes");
    let labels: Vec<String> = (0..40).map(|number| format!("l{number}=x")).collect();
    let mut args = vec!["label", "areq", "fix", "-n", &world.ns];
    args.extend(labels.iter().map(String::as_str));
    refused(world.kubectl(&world.alice, &args, None).await, "metadata.labels has 40 entries");
    // What is small is let through, on the same object.
    let args = ["annotate", "areq", "fix", "-n", &world.ns, "note=x"];
    world.kubectl(&world.alice, &args, None).await.unwrap();
}

/// Each program that applies is kept in the object by its name, with what it applied.
#[tokio::test]
async fn nobody_fills_it_under_many_names() {
    let world = World::shared("size-managers").await;
    world.ask("fix", json!({})).await;
    let api = requests(&world, &world.alice);
    let part = json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessRequest", "metadata": {"labels": {"team": "shop"}},
    });
    let mut refusals = 0;
    for number in 0..40 {
        let apply = PatchParams::apply(&format!("manager-{number}"));
        if let Err(error) = api.patch("fix", &apply, &Patch::Apply(&part)).await {
            assert!(error.to_string().contains("metadata.managedFields has 3"), "{error}");
            refusals += 1;
        }
    }
    assert!(refusals >= 8, "{refusals} were refused");
    // By names of fields, too: what is claimed to be managed need not be there.
    let large = request(&world, "large", "managedFields", &managers(2, 20_000));
    let claimed = api.create(&PostParams::default(), &typed(large)).await;
    told(claimed, "metadata.managedFields takes 4");
}

#[tokio::test]
async fn a_decision_is_held_to_the_same() {
    let world = World::shared("size-decision").await;
    world.ask("fix", json!({})).await;
    let api = decisions(&world, &world.bob);
    let decision = |name: &str, field: &str, value: &Value| -> Value {
        json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessDecision",
            "metadata": {"name": name, "namespace": world.ns, field: value},
            "spec": {"request": {"name": "fix"}, "verdict": "Approve"},
        })
    };
    let post = PostParams::default();
    for (field, value, words) in attacks() {
        told(api.create(&post, &typed(decision("large", field, &value))).await, words);
    }
    let small = decision("small", "labels", &json!({}));
    api.create(&post, &typed(small)).await.unwrap();
    for (field, value, words) in attacks() {
        let merge = Patch::Merge(json!({"metadata": {field: value}}));
        told(api.patch("small", &PatchParams::default(), &merge).await, words);
    }
}
