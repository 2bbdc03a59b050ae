//! An object as it is stored: what identifies it, and its bytes, which are read as far as somebody asks.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::marker::PhantomData;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Resource;
use kube::api::ObjectMeta;
use lapse_crds::{ATTESTATION, created_at};
use lapse_engine::attest::{AttestationError, Attested, KeySet, Subject, verify};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// An object of kind `K` as it is stored. One that cannot be decoded is an error in itself and no
/// error of the list or the watch that it came with.
///
/// Its metadata lacks who manages which field: nothing here needs that, and it is most of many objects.
#[derive(Clone, Debug)]
pub struct Stored<K> {
    metadata: ObjectMeta,
    text: Box<RawValue>,
    kind: PhantomData<fn() -> K>,
}

impl<K: DeserializeOwned> Stored<K> {
    /// The typed object, or why it cannot be decoded.
    pub fn object(&self) -> Result<K, String> {
        serde_json::from_str(self.text.get()).map_err(|error| error.to_string())
    }
}

impl<K> Stored<K> {
    /// Part of the object, or why it cannot be decoded: what a type does not name is passed over.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, String> {
        serde_json::from_str(self.text.get()).map_err(|error| error.to_string())
    }

    /// How many bytes of JSON it takes.
    pub(crate) fn size(&self) -> usize {
        self.text.get().len()
    }
}

impl<K: Resource<DynamicType = ()> + DeserializeOwned> Stored<K> {
    /// Verifies the attestation over the spec as it is stored.
    pub fn attest(&self, keys: &KeySet) -> Result<Attested<K>, String> {
        Ok(Attested { object: self.object()?, attestation: self.attestation_of(keys) })
    }

    /// What its attestation is worth.
    pub(crate) fn attestation_of(
        &self,
        keys: &KeySet,
    ) -> Result<lapse_engine::attest::Attestation, AttestationError> {
        #[derive(Deserialize)]
        struct Signed {
            #[serde(default)]
            spec: Value,
        }
        let metadata = &self.metadata;
        let malformed = |why: String| AttestationError::Malformed(why);
        let Signed { spec } = self.read().map_err(malformed)?;
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
        match created_at(metadata) {
            Some(created) => verify(keys, &subject, annotation.map(String::as_str), created),
            None => Err(AttestationError::Absent),
        }
    }
}

/// The metadata of an object, without who manages which field.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    generate_name: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    finalizers: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    metadata: Metadata,
}

impl<'de, K> Deserialize<'de> for Stored<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let Envelope { metadata } =
            serde_json::from_str(text.get()).map_err(serde::de::Error::custom)?;
        let Metadata {
            name,
            namespace,
            generate_name,
            uid,
            resource_version,
            generation,
            creation_timestamp,
            deletion_timestamp,
            labels,
            annotations,
            finalizers,
        } = metadata;
        let metadata = ObjectMeta {
            name,
            namespace,
            generate_name,
            uid,
            resource_version,
            generation,
            creation_timestamp,
            deletion_timestamp,
            labels,
            annotations,
            finalizers,
            ..ObjectMeta::default()
        };
        Ok(Self { metadata, text, kind: PhantomData })
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
    use kube::core::{ObjectList, WatchEvent};
    use lapse_crds::AccessRequest;
    use serde_json::json;

    use super::*;

    fn broken() -> Value {
        json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessRequest",
            "metadata": {
                "name": "broken", "namespace": "shop",
                "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}],
            },
            "spec": {"target": 7},
        })
    }

    fn is_kept(stored: &Stored<AccessRequest>) {
        assert_eq!(stored.meta().name.as_deref(), Some("broken"));
        assert_eq!(stored.meta().managed_fields, None);
        assert!(stored.object().unwrap_err().contains("invalid type"), "{stored:?}");
    }

    #[test]
    fn a_malformed_object_keeps_its_metadata() {
        is_kept(&serde_json::from_value(broken()).unwrap());
    }

    /// The bytes are taken as they come, in a list and in a watch, too.
    #[test]
    fn a_malformed_object_stops_neither_a_list_nor_a_watch() {
        let list = json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessRequestList",
            "metadata": {"resourceVersion": "1"}, "items": [broken()],
        });
        let list: ObjectList<Stored<AccessRequest>> =
            serde_json::from_str(&list.to_string()).unwrap();
        is_kept(&list.items[0]);
        let event = format!(r#"{{"type":"ADDED","object":{}}}"#, broken());
        match serde_json::from_str(&event).unwrap() {
            WatchEvent::Added(stored) => is_kept(&stored),
            other => panic!("{other:?}"),
        }
    }
}
