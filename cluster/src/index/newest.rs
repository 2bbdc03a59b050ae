//! What was seen last. A store that was restored to an earlier state and has lost anything has lost that.

use std::sync::{Mutex, MutexGuard, PoisonError};

use kube::api::ObjectMeta;

use super::{Indexed, version};

/// How an object was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) kind: Indexed,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    /// Its version; that of its deletion if it is gone.
    pub(crate) version: u64,
    pub(crate) is_gone: bool,
}

impl Seen {
    fn of(kind: Indexed, metadata: &ObjectMeta, is_gone: bool) -> Self {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        Self {
            kind,
            namespace: text(&metadata.namespace),
            name: text(&metadata.name),
            uid: text(&metadata.uid),
            version: version(metadata),
            is_gone,
        }
    }
}

#[derive(Default)]
struct Both {
    /// That with the highest version of all that were seen.
    last: Option<Seen>,
    /// What was last some time ago, and is to be confirmed.
    unconfirmed: Option<Seen>,
}

/// The object that was seen last.
#[derive(Default)]
pub(super) struct Newest(Mutex<Both>);

impl Newest {
    fn lock(&self) -> MutexGuard<'_, Both> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn saw(&self, kind: Indexed, metadata: &ObjectMeta, is_gone: bool) {
        let now = version(metadata);
        let mut both = self.lock();
        let Both { last, unconfirmed } = &mut *both;
        if let Some(known) = unconfirmed
            && now > known.version
            && metadata.uid.as_deref() == Some(&*known.uid)
        {
            known.version = now;
            known.is_gone = is_gone;
        }
        if last.as_ref().is_none_or(|last| now > last.version) {
            *last = Some(Seen::of(kind, metadata, is_gone));
        }
    }

    pub(super) fn version(&self) -> u64 {
        self.lock().last.as_ref().map_or(0, |last| last.version)
    }

    /// What is to be confirmed, as it was seen last: the same until it is.
    pub(super) fn to_confirm(&self) -> Option<Seen> {
        let mut both = self.lock();
        let Both { last, unconfirmed } = &mut *both;
        if unconfirmed.is_none() {
            unconfirmed.clone_from(last);
        }
        unconfirmed.clone()
    }

    pub(super) fn confirmed(&self) {
        self.lock().unconfirmed = None;
    }

    pub(super) fn forget(&self) {
        *self.lock() = Both::default();
    }
}
