//! How much a request or a decision may store.
//!
//! People make these and add to their metadata, as often as they like, and the schema alone lets one of them
//! be as large as the store takes: 32 rules of five lists of 512 values each, labels without end. Everything
//! that reads them all would pay for it. The chart's admission policy `lapse-size` holds what CEL can
//! measure of this without the webhook; a test compares its numbers with these.

use std::collections::BTreeMap;
use std::{fmt, io};

use kube::api::DynamicObject;
use lapse_crds::ATTESTATION;
use serde::Serialize;
use serde_json::Value;

/// What of an object is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The bytes of the spec as its author wrote it, in JSON.
    Spec,
    /// The number of annotations.
    Annotations,
    /// The bytes of the keys and values of annotations.
    AnnotationBytes,
    /// The number of labels.
    Labels,
    /// The bytes of the keys and values of labels.
    LabelBytes,
    /// The number of entries of `metadata.managedFields`.
    FieldManagers,
    /// The bytes of `metadata.managedFields`, in JSON.
    ManagedFieldBytes,
    /// The bytes of metadata and spec with all stamps, in JSON.
    Whole,
}

impl Part {
    /// All parts. What says best what to change comes first.
    pub const ALL: [Self; 8] = [
        Self::Spec,
        Self::Annotations,
        Self::AnnotationBytes,
        Self::Labels,
        Self::LabelBytes,
        Self::FieldManagers,
        Self::ManagedFieldBytes,
        Self::Whole,
    ];

    /// How large it may be.
    #[must_use]
    pub const fn most(self) -> usize {
        match self {
            // The longest reason (4 KiB), the most namespaces (4 KiB), and 8 KiB for rules and the rest.
            // An approver is to read it.
            Self::Spec => 16 * 1024,
            Self::Annotations => 64,
            // `kubectl apply` keeps the manifest in an annotation: the largest spec (36 KiB, if every byte of
            // the reason has to be escaped as it does), labels and other annotations once more. 48 KiB
            // hold it beside 3 KiB of other annotations; usually there is room for 10.
            Self::AnnotationBytes => 48 * 1024,
            // Managers: one for each program that writes to it. The API server merges those that update
            // beyond ten, but keeps each that applies.
            Self::Labels | Self::FieldManagers => 32,
            Self::LabelBytes => 4 * 1024,
            // Each entry repeats the names of the fields: keys of annotations and labels, and namespaces. That
            // is 1 KiB at most for an ordinary request, and 7 KiB for the largest.
            Self::ManagedFieldBytes => 32 * 1024,
            // The above, a role's rules that an approval keeps (16 KiB), and 2048 groups of 50 bytes.
            Self::Whole => 256 * 1024,
        }
    }

    /// How large it is.
    fn of(self, object: &DynamicObject, stamps: Stamps) -> usize {
        let metadata = &object.metadata;
        let annotations = || {
            let all = metadata.annotations.iter().flatten();
            // The signature is not the author's, and comes later.
            all.filter(|(key, _)| *key != ATTESTATION)
        };
        let labels = || metadata.labels.iter().flatten();
        let managers = metadata.managed_fields.as_deref().unwrap_or_default();
        match self {
            Self::Spec => {
                written(object, stamps).map(|(field, value)| field.len() + 4 + json(value)).sum()
            }
            Self::Annotations => annotations().count(),
            Self::AnnotationBytes => annotations().map(bytes).sum(),
            Self::Labels => labels().count(),
            Self::LabelBytes => labels().map(bytes).sum(),
            Self::FieldManagers => managers.len(),
            Self::ManagedFieldBytes => json(&managers),
            Self::Whole => json(metadata) + object.data.get("spec").map_or(0, json),
        }
    }

    /// The largest thing in it, by its name.
    fn largest(self, object: &DynamicObject, stamps: Stamps) -> Option<(String, usize)> {
        let metadata = &object.metadata;
        let entries = |entries: &Option<BTreeMap<String, String>>| {
            let sizes = entries.iter().flatten().map(|entry| (shown(entry.0), bytes(entry)));
            sizes.max_by_key(|(_, size)| *size)
        };
        let fields = |all: &mut dyn Iterator<Item = (&String, &Value)>| {
            let sizes = all.map(|(field, value)| (format!("spec.{}", shown(field)), json(value)));
            sizes.max_by_key(|(_, size)| *size)
        };
        match self {
            Self::Spec => fields(&mut written(object, stamps)),
            Self::Whole => fields(&mut spec(object)),
            Self::AnnotationBytes => entries(&metadata.annotations),
            Self::LabelBytes => entries(&metadata.labels),
            Self::Annotations | Self::Labels | Self::FieldManagers | Self::ManagedFieldBytes => {
                None
            }
        }
    }
}

/// The fields of a spec that its author does not write: admission does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamps(&'static [&'static str]);

impl Stamps {
    /// Those of an `AccessRequest`.
    pub const OF_A_REQUEST: Self = Self(&["requester"]);
    /// Those of an `AccessDecision`.
    pub const OF_A_DECISION: Self = Self(&["decider", "policy", "rulesHash", "rules"]);
}

/// A part of an object is too large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooLarge {
    part: Part,
    size: usize,
    largest: Option<(String, usize)>,
}

impl TooLarge {
    /// The field that holds it.
    #[must_use]
    pub fn field(&self) -> &'static str {
        match self.part {
            Part::Spec => "spec",
            Part::Annotations | Part::AnnotationBytes => "metadata.annotations",
            Part::Labels | Part::LabelBytes => "metadata.labels",
            Part::FieldManagers | Part::ManagedFieldBytes => "metadata.managedFields",
            Part::Whole => "metadata",
        }
    }
}

impl std::error::Error for TooLarge {}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { part, size, largest } = self;
        let (what, unit, advice) = match part {
            Part::Spec => ("spec takes", "bytes", "Shorten it, or split it into several"),
            Part::Annotations => ("metadata.annotations has", "entries", "Leave some out"),
            Part::AnnotationBytes => (
                "metadata.annotations takes",
                "bytes",
                "Leave some out, or keep their content elsewhere and name the place; what kubectl apply \
                 keeps in kubectl.kubernetes.io/last-applied-configuration is not needed with --server-side",
            ),
            Part::Labels => ("metadata.labels has", "entries", "Leave some out"),
            Part::LabelBytes => ("metadata.labels takes", "bytes", "Leave some out"),
            Part::FieldManagers => (
                "metadata.managedFields has",
                "entries",
                "Apply it with one field manager, and send no managedFields",
            ),
            Part::ManagedFieldBytes => (
                "metadata.managedFields takes",
                "bytes",
                "Apply it with one field manager, and send no managedFields",
            ),
            Part::Whole => (
                "metadata and spec take",
                "bytes",
                "Leave out what nobody needs; the groups are those of your credentials, so ask whoever \
                 runs the identity provider if they are what is large",
            ),
        };
        write!(f, "{what} {size} {unit}, and at most {} are stored", part.most())?;
        if let Some((name, size)) = largest {
            write!(f, " (the largest is {name} with {size})")?;
        }
        write!(f, ". {advice}")
    }
}

/// Refuses what is too large. What stands already may stay, and shrink: it can have been stored by an
/// earlier release, and has to be changed and deleted all the same.
pub fn check(
    object: &DynamicObject,
    before: Option<&DynamicObject>,
    stamps: Stamps,
) -> Result<(), TooLarge> {
    for part in Part::ALL {
        let size = part.of(object, stamps);
        if size > part.most() && before.is_none_or(|before| size > part.of(before, stamps)) {
            return Err(TooLarge { part, size, largest: part.largest(object, stamps) });
        }
    }
    Ok(())
}

fn spec(object: &DynamicObject) -> impl Iterator<Item = (&String, &Value)> {
    object.data.get("spec").and_then(Value::as_object).into_iter().flatten()
}

/// The fields of the spec that its author wrote. What is claimed to be a stamp is overwritten.
fn written(object: &DynamicObject, stamps: Stamps) -> impl Iterator<Item = (&String, &Value)> {
    spec(object).filter(move |(field, _)| !stamps.0.contains(&field.as_str()))
}

fn bytes((key, value): (&String, &String)) -> usize {
    key.len() + value.len()
}

/// The longest key that Kubernetes takes: a prefix, a slash and a name.
const LONGEST_KEY: usize = 253 + 1 + 63;

/// A name as it can be shown: what comes here has not been validated.
fn shown(name: &str) -> String {
    name[..name.floor_char_boundary(LONGEST_KEY)].to_owned()
}

/// The bytes of something as JSON, without making it.
fn json<T: Serialize + ?Sized>(value: &T) -> usize {
    struct Count(usize);
    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.saturating_add(bytes.len());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // What cannot be written cannot be stored either; it is not small.
    serde_json::to_writer(&mut count, value).map_or(usize::MAX, |()| count.0)
}

#[cfg(test)]
mod tests;
