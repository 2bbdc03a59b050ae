//! Manifests in files, as `kubectl apply` takes them: YAML or JSON, several in a file, and lists.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use kube::ResourceExt as _;
use kube::core::Resource;
use lapse_crds::JitPolicy;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::fault::Fault;
use crate::output::plain;

/// The most bytes of a file.
const MOST: u64 = 16 * 1024 * 1024;

/// An object in a file.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    /// Where it stands, in words.
    place: String,
    value: Value,
}

/// Reads a file; `-` is standard input.
pub(crate) fn read(path: &Path) -> Result<Vec<Manifest>, Fault> {
    let name = path.display().to_string();
    let failed = |error: std::io::Error| Fault::Other(format!("reading {name}: {error}"));
    let mut text = String::new();
    let count = if name == "-" {
        std::io::stdin().take(MOST + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).map_err(failed)?.take(MOST + 1).read_to_string(&mut text)
    };
    if count.map_err(failed)? as u64 > MOST {
        return Err(Fault::Other(format!("{name} is larger than {} MiB", MOST >> 20)));
    }
    let found = parse(&name, &text)?;
    if found.is_empty() {
        return Err(Fault::Other(format!("{name} has no object")));
    }
    Ok(found)
}

/// The policies in these files: at least one in each, and each once. What people keep beside their policies in a file, such as
/// bindings, is passed over.
pub(crate) fn policies(files: &[PathBuf]) -> Result<Vec<JitPolicy>, Fault> {
    let mut policies: Vec<JitPolicy> = Vec::new();
    for file in files {
        let found = read(file)?;
        for manifest in found.iter().filter(|manifest| manifest.is::<JitPolicy>()) {
            let policy: JitPolicy = manifest.object()?;
            if policies.iter().any(|other| other.name_any() == policy.name_any()) {
                let why = format!("JitPolicy {} is in two places", policy.name_any());
                return Err(manifest.wrong(&why));
            }
            policies.push(policy);
        }
        if !found.iter().any(Manifest::is::<JitPolicy>) {
            return Err(Fault::Other(format!("{} has no JitPolicy", file.display())));
        }
    }
    Ok(policies)
}

fn parse(name: &str, text: &str) -> Result<Vec<Manifest>, Fault> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text)
        .map_err(|error| Fault::Other(format!("{name} is not YAML: {error}")))?;
    let mut found = Vec::new();
    for (number, document) in documents.into_iter().enumerate() {
        let place = format!("{name}, document {}", number + 1);
        match document {
            Value::Null => {}
            Value::Object(mut fields) if is_list(&fields) => {
                let Some(Value::Array(items)) = fields.remove("items") else {
                    return Err(Fault::Other(format!("{place}: a list without items")));
                };
                for (number, value) in items.into_iter().enumerate() {
                    found.push(Manifest { place: format!("{place}, item {}", number + 1), value });
                }
            }
            value @ Value::Object(_) => found.push(Manifest { place, value }),
            _ => {
                return Err(Fault::Other(format!(
                    "{place} is not an object; write apiVersion, kind, metadata and spec"
                )));
            }
        }
    }
    Ok(found)
}

fn is_list(fields: &serde_json::Map<String, Value>) -> bool {
    let kind = fields.get("kind").and_then(Value::as_str).unwrap_or_default();
    kind.ends_with("List") && fields.contains_key("items")
}

impl Manifest {
    /// Whether it is of this kind.
    pub(crate) fn is<K: Resource<DynamicType = ()>>(&self) -> bool {
        let text = |key: &str| self.value.get(key).and_then(Value::as_str).unwrap_or_default();
        text("kind") == K::kind(&()) && text("apiVersion") == K::api_version(&())
    }

    /// The object. A field that the kind does not have is an error, as for the API server.
    pub(crate) fn object<K>(&self) -> Result<K, Fault>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned,
    {
        if !self.is::<K>() {
            return Err(self.wrong(&format!("it is {}; expected {}", self.kind(), K::kind(&()))));
        }
        let mut unknown = Vec::new();
        let mut note = |path: serde_ignored::Path<'_>| unknown.push(path.to_string());
        let value = serde_ignored::Deserializer::new(&self.value, &mut note);
        let object: K = serde_path_to_error::deserialize(value)
            .map_err(|error| self.wrong(&format!("{}: {}", error.path(), error.inner())))?;
        unknown.retain(|path| path != "apiVersion" && path != "kind");
        if let Some(path) = unknown.first() {
            return Err(self.wrong(&format!("there is no field {path} in a {}", K::kind(&()))));
        }
        let name = object.meta().name.as_deref().unwrap_or_default();
        if name.is_empty() && object.meta().generate_name.is_none() {
            return Err(self.wrong("metadata.name is missing"));
        }
        Ok(object)
    }

    /// What it says that it is, in words.
    pub(crate) fn kind(&self) -> String {
        let text = |key: &str| self.value.get(key).and_then(Value::as_str);
        match (text("kind"), text("apiVersion")) {
            (Some(kind), Some(version)) => plain(&format!("a {kind} of {version}")),
            _ => "without kind or apiVersion".to_owned(),
        }
    }

    /// That it cannot be used, and where it stands.
    pub(crate) fn wrong(&self, why: &str) -> Fault {
        Fault::Other(format!("{}: {}", self.place, plain(why)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "apiVersion: lapse.dev/v1alpha1\nkind: JitPolicy\nmetadata: {name: shop}\nspec: {requesters: [], targets: []}\n";

    #[test]
    fn documents_and_lists_are_all_read() {
        let list = "kind: List\napiVersion: v1\nitems:\n- {apiVersion: v1, kind: Namespace, metadata: {name: shop}}\n";
        let found = parse("x.yaml", &format!("---\n{POLICY}---\n# nothing\n---\n{list}")).unwrap();
        let kinds: Vec<String> = found.iter().map(Manifest::kind).collect();
        assert_eq!(kinds, ["a JitPolicy of lapse.dev/v1alpha1", "a Namespace of v1"]);
        assert_eq!(found[0].object::<JitPolicy>().unwrap().metadata.name.as_deref(), Some("shop"));
    }

    #[test]
    fn what_cannot_be_used_is_told_with_its_place() {
        let told = |text: &str| match parse("x.yaml", text) {
            Ok(found) => found[0].object::<JitPolicy>().unwrap_err().to_string(),
            Err(fault) => fault.to_string().lines().next().unwrap_or_default().to_owned(),
        };
        let texts = [
            "- a\n- b".to_owned(),
            "kind: List\nitems: 7".to_owned(),
            "{kind: JitPolicy}".to_owned(),
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}".to_owned(),
            POLICY.replace("targets", "tragets"),
            POLICY.replace("spec: {", "spec: {priorty: 7, "),
            POLICY.replace("spec: {", "spec: {duration: {max: 1d}, "),
            POLICY.replace("name: shop", "labels: {}"),
        ];
        insta::assert_snapshot!(texts.map(|text| told(&text)).join("\n"));
        assert!(told("a: [").starts_with("x.yaml is not YAML: "));
    }
}
