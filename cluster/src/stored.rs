//! An object as it is stored: its metadata always, its spec as the bytes say, and its typed form if
//! it has one.

use std::borrow::Cow;

use kube::Resource;
use kube::api::ObjectMeta;
use lapse_crds::{ATTESTATION, created_at};
use lapse_engine::attest::{AttestationError, Attested, KeySet, Subject, verify};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// An object of kind `K` as it is stored. One that cannot be decoded is an error in itself and no
/// error of the list or the watch that it came with.
#[derive(Clone, Debug)]
pub struct Stored<K> {
    metadata: ObjectMeta,
    spec: Value,
    object: Result<K, String>,
}

impl<K> Stored<K> {
    /// The typed object, or why it cannot be decoded.
    pub fn object(&self) -> Result<&K, &str> {
        self.object.as_ref().map_err(String::as_str)
    }

    /// The typed object, or why it cannot be decoded.
    pub fn into_object(self) -> Result<K, String> {
        self.object
    }
}

impl<K: Resource<DynamicType = ()>> Stored<K> {
    /// Verifies the attestation over the spec as it is stored.
    pub fn attest(self, keys: &KeySet) -> Result<Attested<K>, String> {
        let Self { metadata, spec, object } = self;
        let kind = K::kind(&());
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let (namespace, name) = (text(&metadata.namespace), text(&metadata.name));
        let generate_name = text(&metadata.generate_name);
        let subject = Subject {
            kind: &kind,
            namespace: &namespace,
            name: &name,
            generate_name: &generate_name,
            spec: &spec,
        };
        let annotation = metadata.annotations.as_ref().and_then(|all| all.get(ATTESTATION));
        let attestation = match created_at(&metadata) {
            Some(created) => verify(keys, &subject, annotation.map(String::as_str), created),
            None => Err(AttestationError::Absent),
        };
        Ok(Attested { object: object?, attestation })
    }
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Value,
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Stored<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let Envelope { metadata, spec } =
            Envelope::deserialize(&value).map_err(serde::de::Error::custom)?;
        let object = serde_json::from_value(value).map_err(|error| error.to_string());
        Ok(Self { metadata, spec, object })
    }
}

impl<K: Resource> Resource for Stored<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dt: &K::DynamicType) -> Cow<'_, str> {
        K::kind(dt)
    }

    fn group(dt: &K::DynamicType) -> Cow<'_, str> {
        K::group(dt)
    }

    fn version(dt: &K::DynamicType) -> Cow<'_, str> {
        K::version(dt)
    }

    fn plural(dt: &K::DynamicType) -> Cow<'_, str> {
        K::plural(dt)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use lapse_crds::AccessRequest;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_malformed_object_keeps_its_metadata() {
        let stored: Stored<AccessRequest> = serde_json::from_value(json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessRequest",
            "metadata": {"name": "broken", "namespace": "shop"},
            "spec": {"target": 7},
        }))
        .unwrap();
        assert_eq!(stored.meta().name.as_deref(), Some("broken"));
        assert!(stored.object().unwrap_err().contains("invalid type"), "{stored:?}");
    }
}
