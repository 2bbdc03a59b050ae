//! The YAML that the documents show, as a dry run by the API server, or by Helm.

use std::fs;

use lapse_e2e::plane::workspace;
use serde_json::{Map, Value, json};

use super::blocks::Block;
use super::playground::Playground;
use super::settings::NOT_TRIED;

/// Parts of a policy that are shown alone.
const OF_POLICIES: [&str; 4] = ["conditions", "limits", "targets", "ticket"];

/// What is tried, and how.
#[derive(Debug, PartialEq, Eq)]
struct Trial {
    yaml: String,
    command: &'static str,
}

const APPLY: &str = "kubectl apply --dry-run=server -f shown.yaml";
const CREATE: &str = "kubectl create --dry-run=server -f shown.yaml";
const TEMPLATE: &str =
    "helm template lapse charts/lapse --values shown.yaml --api-versions monitoring.coreos.com/v1";

/// Tries all of it; what is refused, with the reason.
pub(super) async fn refused(playground: &Playground, blocks: &[Block]) -> Vec<String> {
    let mut refused = Vec::new();
    for block in blocks.iter().filter(|block| block.kind == "yaml") {
        let from = format!("{}:{}", block.document, block.line);
        match trial(block) {
            Ok(None) => {}
            Ok(Some(Trial { yaml, command })) => {
                fs::write(playground.folder().join("shown.yaml"), &yaml).unwrap();
                if let Err(said) = playground.run(command).await {
                    refused.push(format!("{from}: `{command}`:\n{yaml}\n{said}"));
                }
            }
            Err(why) => refused.push(format!("{from}: {why}:\n{}", block.text)),
        }
    }
    refused
}

/// How a block can be tried: as it is, or, if it is a part, as a part of what it belongs to.
fn trial(block: &Block) -> Result<Option<Trial>, String> {
    let Block { document, text, .. } = block;
    if NOT_TRIED.iter().any(|(of, words, _)| of == document && text.contains(words)) {
        return Ok(None);
    }
    if text.lines().any(|line| line.starts_with("apiVersion:")) {
        let command = if text.contains("generateName:") { CREATE } else { APPLY };
        return Ok(Some(Trial { yaml: text.clone(), command }));
    }
    let part: Map<String, Value> =
        serde_saphyr::from_str(text).map_err(|error| format!("no YAML: {error}"))?;
    let all = |known: &dyn Fn(&str) -> bool| part.keys().all(|key| known(key));
    let values = values();
    let (yaml, command) = if all(&|key| OF_POLICIES.contains(&key)) {
        (policy(part).to_string(), APPLY)
    } else if all(&|key| ["spec", "target"].contains(&key)) {
        (request(part).to_string(), CREATE)
    } else if all(&|key| values.contains_key(key)) {
        (Value::Object(part).to_string(), TEMPLATE)
    } else {
        return Err(
            "neither an object, nor a known part of one, nor values of the chart".to_owned()
        );
    };
    Ok(Some(Trial { yaml, command }))
}

fn policy(part: Map<String, Value>) -> Value {
    let mut spec = json!({
        "requesters": [{"kind": "Group", "name": "shop-developers"}],
        "targets": [{"kubernetes": {
            "roles": [{"kind": "ClusterRole", "name": "edit"}], "namespaces": {"names": ["shop"]},
        }}],
    });
    json_patch::merge(&mut spec, &Value::Object(part));
    let kind = "JitPolicy";
    json!({"apiVersion": "lapse.dev/v1alpha1", "kind": kind, "metadata": {"name": "shown"}, "spec": spec})
}

fn request(mut part: Map<String, Value>) -> Value {
    let spec = part.remove("spec").unwrap_or(Value::Object(part));
    let mut whole = json!({
        "target": {"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}}},
        "reason": "The documents show it",
    });
    // A request for rules is for no role.
    if spec["target"].is_object() {
        whole["target"] = Value::Null;
    }
    json_patch::merge(&mut whole, &spec);
    json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessRequest",
        "metadata": {"generateName": "shown-", "namespace": "shop"}, "spec": whole,
    })
}

/// The chart's own.
fn values() -> Map<String, Value> {
    let text = fs::read_to_string(workspace::root().join("charts/lapse/values.yaml")).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

#[test]
fn a_part_is_tried_within_what_it_belongs_to() {
    let of = |text: &str| {
        let (document, text) = ("x.md".to_owned(), text.to_owned());
        let (section, kind) = (String::new(), "yaml".to_owned());
        trial(&Block { document, section, line: 1, kind, text })
    };
    let tried = |text: &str| of(text).unwrap().unwrap();
    assert_eq!(tried("apiVersion: v1\nkind: X\n").command, APPLY);
    assert_eq!(tried("apiVersion: v1\nmetadata: {generateName: x-}\n").command, CREATE);
    let ticket = tried("ticket: {required: true}\n");
    assert!(ticket.yaml.contains(r#""ticket":{"required":true}"#), "{ticket:?}");
    let rules = tried("target: {kubernetes: {rules: []}}\n");
    assert!(rules.yaml.contains("rules") && !rules.yaml.contains("\"role\""), "{rules:?}");
    assert_eq!(tried("tracing: {samplingRatio: 0.1}\n").command, TEMPLATE);
    assert!(of("else: 1\n").is_err() && of("a: [\n").is_err());
}
