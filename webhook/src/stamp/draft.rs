//! An object on its way: as it came, and as it will be stored.

use chrono::{DateTime, Utc};
use json_patch::{Patch, diff};
use lapse_cluster::clock;
use lapse_crds::{ATTESTATION, Identity};
use lapse_engine::attest::{Subject, sign};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::answer::NotAdmitted;
use crate::asked::Request;
use crate::keys::Keys;

/// The parts of an object that stamping touches. The rest stays as it came, byte by byte.
pub(super) struct Draft<'a> {
    request: &'a Request,
    before: Value,
    spec: Map<String, Value>,
    annotations: Option<Map<String, Value>>,
}

impl<'a> Draft<'a> {
    /// `None` if the object has no spec to write into. Such an object goes on to the schema, whose
    /// message says what is missing; were it let through there, it would have no stamp.
    pub(super) fn of(request: &'a Request) -> Option<Self> {
        let object = request.object.as_ref()?;
        let spec = object.data.get("spec")?.as_object()?.clone();
        let annotations = object.metadata.annotations.as_ref().map(|annotations| {
            let text = |(key, value): (&String, &String)| (key.clone(), json!(value));
            annotations.iter().map(text).collect::<Map<_, _>>()
        });
        let before = state(&spec, annotations.as_ref());
        let mut draft = Self { request, before, spec, annotations };
        // Whatever a client sends here is not ours.
        if let Some(annotations) = &mut draft.annotations {
            annotations.remove(ATTESTATION);
        }
        Some(draft)
    }

    /// Writes a field of the spec, or removes it.
    pub(super) fn set<T: Serialize>(
        &mut self,
        field: &str,
        value: Option<&T>,
    ) -> Result<(), NotAdmitted> {
        match value {
            Some(value) => {
                let value = serde_json::to_value(value)
                    .map_err(|error| NotAdmitted::Failed(format!("Stamping {field}: {error}")))?;
                self.spec.insert(field.to_owned(), value);
            }
            None => drop(self.spec.remove(field)),
        }
        Ok(())
    }

    /// Whether its author sent this annotation.
    pub(super) fn is_annotated(&self, key: &str) -> bool {
        self.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(key))
    }

    /// Writes an annotation.
    fn annotate(&mut self, key: &str, value: String) {
        self.annotations.get_or_insert_default().insert(key.to_owned(), Value::String(value));
    }

    /// Writes an annotation as JSON.
    pub(super) fn annotate_with<T: Serialize>(
        &mut self,
        field: &str,
        value: &T,
    ) -> Result<(), NotAdmitted> {
        let text = serde_json::to_string(value)
            .map_err(|error| NotAdmitted::Failed(format!("Stamping {field}: {error}")))?;
        self.annotate(field, text);
        Ok(())
    }

    /// Writes who asks or decides, over whatever the client sent.
    pub(super) fn set_identity(
        &mut self,
        field: &str,
        identity: &Identity,
    ) -> Result<(), NotAdmitted> {
        self.set(field, Some(identity))
    }

    /// The spec as it stands, typed. `None` if it cannot be: the schema's message is the better one.
    pub(super) fn spec<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_value(Value::Object(self.spec.clone())).ok()
    }

    /// What is to be changed, signed. Dry runs are never signed: somebody could otherwise collect
    /// signatures for objects that nobody ever sees.
    pub(super) fn sign(
        mut self,
        keys: &Keys,
        now: DateTime<Utc>,
        nonce: [u8; 16],
    ) -> Result<Patch, NotAdmitted> {
        if self.request.dry_run {
            return Ok(self.unsigned());
        }
        let failed = |what: String| NotAdmitted::Failed(format!("Signing: {what}"));
        let metadata = self.request.object.as_ref().map(|object| &object.metadata);
        let text = |field: Option<&Option<String>>| field.cloned().flatten().unwrap_or_default();
        let spec = Value::Object(self.spec.clone());
        let attestation = sign(
            &keys.signing,
            &Subject {
                kind: &self.request.kind.kind,
                namespace: self.request.namespace.as_deref().unwrap_or_default(),
                name: &text(metadata.map(|metadata| &metadata.name)),
                generate_name: &text(metadata.map(|metadata| &metadata.generate_name)),
                spec: &spec,
            },
            now,
            nonce,
        );
        let attestation = attestation.map_err(|error| failed(error.to_string()))?;
        let text =
            serde_json::to_string(&attestation).map_err(|error| failed(error.to_string()))?;
        self.annotate(ATTESTATION, text);
        Ok(self.unsigned())
    }

    /// What is to be changed, without a signature.
    pub(super) fn unsigned(self) -> Patch {
        diff(&self.before, &state(&self.spec, self.annotations.as_ref()))
    }
}

/// What is to be changed for an object to be signed as it came.
pub(crate) fn sign_as_it_is(request: &Request, keys: &Keys) -> Result<Patch, NotAdmitted> {
    let draft = Draft::of(request);
    let draft =
        draft.ok_or_else(|| NotAdmitted::Failed("The API server sent no object".to_owned()))?;
    draft.sign(keys, clock::now(), nonce()?)
}

/// As a document with the places that the object has.
fn state(spec: &Map<String, Value>, annotations: Option<&Map<String, Value>>) -> Value {
    let mut metadata = Map::new();
    if let Some(annotations) = annotations {
        metadata.insert("annotations".to_owned(), Value::Object(annotations.clone()));
    }
    json!({"metadata": metadata, "spec": spec})
}

/// A number that never repeats: 128 random bits.
pub(super) fn nonce() -> Result<[u8; 16], NotAdmitted> {
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce)
        .map_err(|error| NotAdmitted::Failed(format!("Drawing a random number: {error}")))?;
    Ok(nonce)
}
