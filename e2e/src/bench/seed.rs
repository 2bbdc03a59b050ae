//! Many rights in no time: copies of a real one, put straight into the store.

use anyhow::{Context as _, Result};
use kube::Api;
use lapse_crds::{AccessRequest, Grant, RbacRef};
use lapse_engine::grant::grant_name;
use serde_json::Value;

use super::stencil::Stencil;
use super::store::{Entry, Store};
use super::town::{LIMIT, NAMESPACE, Town, person};

/// How many people hold the copies, or held them.
const HOLDERS: usize = 400;

/// What belongs to one right, as it is stored.
pub(super) struct Seed {
    store: Store,
    prefix: String,
    words: Vec<String>,
    objects: Vec<Object>,
}

/// A stored object: its key, and what is stored.
struct Object {
    key: Stencil,
    value: Stencil,
}

/// The parts of a right that have a UID, by the first digits of those of the copies.
#[derive(Clone, Copy)]
enum Part {
    Request = 0xa1,
    Grant = 0xa2,
    First = 0xa3,
}

impl Seed {
    /// A right that is held for so long.
    pub(super) async fn live(town: &Town, prefix: &str, duration: &str) -> Result<Self> {
        let name = name(prefix, 0);
        town.given(&name, duration).await?;
        town.requests.in_state(&name, "Active", LIMIT).await?;
        Self::take(town, prefix).await
    }

    /// A right that was held, and has ended. Nothing is left of its bindings.
    pub(super) async fn over(town: &Town, prefix: &str) -> Result<Self> {
        let name = name(prefix, 0);
        town.given(&name, "1s").await?;
        town.requests.in_state(&name, "Ended", LIMIT).await?;
        Self::take(town, prefix).await
    }

    async fn take(town: &Town, prefix: &str) -> Result<Self> {
        let name = name(prefix, 0);
        let admin = &town.admin.client;
        let requests: Api<AccessRequest> = Api::namespaced(admin.clone(), NAMESPACE);
        let request = requests.get(&name).await?;
        let request_uid = request.metadata.uid.context("a request has no UID")?;
        let grant_name = grant_name(NAMESPACE, &name, &request_uid);
        let grants: Api<Grant> = Api::all(admin.clone());
        let grant = grants.get(&grant_name).await?;
        let status = grant.status.unwrap_or_default();
        let is_over = status.ended_at.is_some();
        let bindings: Vec<RbacRef> = status.marker.into_iter().chain(status.bindings).collect();
        // The longer come first: the name of the Grant has that of the request in it.
        let mut words = vec![
            grant_name.clone(),
            request_uid,
            grant.metadata.uid.context("a Grant has no UID")?,
            name.clone(),
            hex(&person(0)),
            person(0),
        ];
        let mut keys = vec![
            format!("/registry/lapse.dev/accessrequests/{NAMESPACE}/{name}"),
            format!("/registry/lapse.dev/grants/{grant_name}"),
        ];
        for binding in bindings {
            let namespace = binding.namespace.context("a binding of the whole cluster")?;
            words.push(binding.uid);
            if !is_over {
                keys.push(format!("/registry/rolebindings/{namespace}/{}", binding.name));
            }
        }
        let store = Store::of(town.lapse.plane())?;
        let mut objects = Vec::new();
        for key in keys {
            let value = store.get(&key).await?;
            let value = if is_over { without_managed_fields(&value)? } else { value };
            let value = Stencil::cut(value, &words);
            objects.push(Object { key: Stencil::cut(key.into_bytes(), &words), value });
        }
        Ok(Self { store, prefix: prefix.to_owned(), words, objects })
    }

    /// Puts so many copies into the store; returns the names of their requests.
    pub(super) async fn sow(&self, count: usize) -> Result<Vec<String>> {
        let copies = (1..=count).flat_map(|index| self.copy(index));
        self.store.put(copies).await?;
        Ok((1..=count).map(|index| name(&self.prefix, index)).collect())
    }

    fn copy(&self, index: usize) -> Vec<Entry> {
        let others = self.others(index);
        let entry = |object: &Object| {
            // The words of all copies are as long as those of the first: see `others`.
            let key = String::from_utf8(object.key.copy(&self.words, &others).ok()?).ok()?;
            Some((key, object.value.copy(&self.words, &others).ok()?))
        };
        self.objects.iter().filter_map(entry).collect()
    }

    /// What stands for the words in a copy.
    fn others(&self, index: usize) -> Vec<String> {
        let name = name(&self.prefix, index);
        let request = uid(&self.prefix, Part::Request as usize, index);
        let mut others = vec![
            grant_name(NAMESPACE, &name, &request),
            request,
            uid(&self.prefix, Part::Grant as usize, index),
            name,
            hex(&person(index % HOLDERS)),
            person(index % HOLDERS),
        ];
        let bindings = self.words.len() - others.len();
        let of = |binding| uid(&self.prefix, Part::First as usize + binding, index);
        others.extend((0..bindings).map(of));
        others
    }
}

/// A stored custom resource without its managed fields. The API server keeps all objects of a kind in its
/// memory, and a hundred thousand with these take more than 10 GiB of it.
fn without_managed_fields(stored: &[u8]) -> Result<Vec<u8>> {
    let mut object: Value = serde_json::from_slice(stored).context("reading a stored object")?;
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
    metadata.context("a stored object has no metadata")?.remove("managedFields");
    Ok(serde_json::to_vec(&object)?)
}

/// A person as the marker of a right spells the name (`lapse_engine::session::marker`).
fn hex(name: &str) -> String {
    name.bytes()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from_digit(digit.into(), 16).unwrap_or_default())
        .collect()
}

/// The name of a request. All are equally long.
fn name(prefix: &str, index: usize) -> String {
    format!("{prefix}-{index:06}")
}

/// A UID that no other copy has.
fn uid(prefix: &str, part: usize, index: usize) -> String {
    let sum = prefix.bytes().fold(0_u16, |sum, byte| sum.wrapping_mul(31) ^ u16::from(byte));
    format!("{part:08x}-{sum:04x}-4000-8000-{index:012x}")
}
