//! Events that show only what this process has just written, and so give no reason to look again.
//!
//! An event may come before the answer to the write that it shows. It waits for that: if it shows nothing newer than
//! what was written, it is forgotten; if it does, or if the write fails, the object is looked at again.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::api::ObjectMeta;
use lapse_cluster::objects::ObjectPlace;
use lapse_crds::RbacKind;
use tokio::time::Instant;

/// How long the event of what was written may take. One that comes later has the object looked at, which does no
/// harm.
const LATE: Duration = Duration::from_mins(1);

/// In place of a version: it is gone.
const GONE: u64 = u64::MAX;

/// Which object it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Object {
    /// A request, by its UID.
    Request(String),
    /// A Grant, by its name.
    Grant(String),
    /// A role or a binding: its kind, its namespace, if it has one, and its name.
    Rbac(RbacKind, Option<String>, String),
}

impl Object {
    /// A request.
    pub(crate) fn request(metadata: &ObjectMeta) -> Self {
        Self::Request(metadata.uid.clone().unwrap_or_default())
    }

    /// A Grant.
    pub(crate) fn grant(metadata: &ObjectMeta) -> Self {
        Self::Grant(metadata.name.clone().unwrap_or_default())
    }

    /// A role or a binding.
    pub(crate) fn rbac(kind: RbacKind, metadata: &ObjectMeta) -> Self {
        let name = metadata.name.clone().unwrap_or_default();
        Self::Rbac(kind, metadata.namespace.clone(), name)
    }

    /// A role or a binding, where it stands.
    pub(crate) fn at(place: &ObjectPlace<'_>) -> Self {
        let namespace = place.namespace.map(ToOwned::to_owned);
        Self::Rbac(place.kind, namespace, place.name.to_owned())
    }

    /// Whether the index keeps its version, and so shows no event of what it knows.
    fn is_indexed(&self) -> bool {
        !matches!(self, Self::Rbac(..))
    }
}

/// What is being written, and what was written whose event has not come yet. A copy is the same.
#[derive(Clone, Default)]
pub(crate) struct Echoes(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// With each object the newest version that an event has shown since its write began.
    writing: HashMap<Object, Option<u64>>,
    /// The version that was written last, of objects that are not in the index.
    written: HashMap<Object, u64>,
    in_order: VecDeque<(Instant, Object)>,
}

impl State {
    fn expect(&mut self, object: Object, version: u64) {
        let now = Instant::now();
        while let Some((at, late)) = self.in_order.front()
            && now.duration_since(*at) > LATE
        {
            self.written.remove(late);
            self.in_order.pop_front();
        }
        self.written.insert(object.clone(), version);
        self.in_order.push_back((now, object));
    }
}

impl Echoes {
    fn state(&self) -> MutexGuard<'_, State> {
        // Each change leaves the state whole, so what panicked elsewhere is no reason to stop.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This process begins to write an object. Only one write of each is under way.
    pub(crate) fn begin(&self, object: Object) -> Writing {
        self.state().writing.insert(object.clone(), None);
        Writing { echoes: self.clone(), object }
    }

    /// Whether an event that shows this version of an object gives no reason to look at it, at least not before its
    /// write has its answer.
    pub(crate) fn is_one(&self, object: &Object, version: u64) -> bool {
        let mut state = self.state();
        if let Some(shown) = state.writing.get_mut(object) {
            *shown = (*shown).max(Some(version));
            return true;
        }
        if state.written.get(object) == Some(&version) {
            state.written.remove(object);
            return true;
        }
        false
    }

    /// An object is gone. Whether that gives no reason to look at it: this process deleted it. The answer to what was
    /// written before must not bring it back, so whoever writes it looks again.
    pub(crate) fn is_gone(&self, object: &Object) -> bool {
        self.is_one(object, GONE)
    }
}

/// A write that is under way. When it is dropped without an answer, whoever began it tries again.
pub(crate) struct Writing {
    echoes: Echoes,
    object: Object,
}

impl Writing {
    /// The write has its answer: what was stored has this version. Says whether something newer was shown meanwhile.
    #[must_use]
    pub(crate) fn wrote(self, version: u64) -> bool {
        let mut state = self.echoes.state();
        let shown = state.writing.remove(&self.object).flatten();
        if shown < Some(version) && !self.object.is_indexed() {
            state.expect(self.object.clone(), version);
        }
        shown > Some(version)
    }

    /// The object was deleted.
    pub(crate) fn deleted(self) {
        // There is nothing newer than that.
        let _ = self.wrote(GONE);
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.echoes.state().writing.remove(&self.object);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding() -> Object {
        Object::Rbac(RbacKind::RoleBinding, Some("shop".to_owned()), "lapse:x".to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_of_what_was_written_is_one_whenever_it_comes() {
        let echoes = Echoes::default();
        let writing = echoes.begin(binding());
        assert!(echoes.is_one(&binding(), 7), "it waits for the answer");
        assert!(!writing.wrote(7), "it showed what was written");
        assert!(!echoes.is_one(&binding(), 7), "there is one event for each write");

        let writing = echoes.begin(binding());
        assert!(!writing.wrote(8));
        assert!(!echoes.is_one(&binding(), 9), "somebody else wrote it");
        assert!(echoes.is_one(&binding(), 8));
        assert!(!echoes.is_one(&binding(), 8));
    }

    #[tokio::test(start_paused = true)]
    async fn what_somebody_else_wrote_meanwhile_is_looked_at() {
        let echoes = Echoes::default();
        let grant = Object::Grant("g".to_owned());
        let writing = echoes.begin(grant.clone());
        assert!(echoes.is_one(&grant, 7) && echoes.is_one(&grant, 9));
        assert!(writing.wrote(7), "9 is newer");
        drop(echoes.begin(grant.clone()));
        assert!(!echoes.is_one(&grant, 10), "nothing is being written");
    }

    #[tokio::test(start_paused = true)]
    async fn what_this_process_deleted_gives_no_reason_to_look() {
        let echoes = Echoes::default();
        assert!(!echoes.is_gone(&binding()), "somebody else did it");
        let writing = echoes.begin(binding());
        assert!(echoes.is_gone(&binding()));
        writing.deleted();
        assert!(!echoes.is_gone(&binding()));
        echoes.begin(binding()).deleted();
        assert!(echoes.is_gone(&binding()) && !echoes.is_gone(&binding()));

        let writing = echoes.begin(binding());
        assert!(echoes.is_gone(&binding()));
        assert!(writing.wrote(7), "somebody deleted what was written");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_written_long_ago_takes_no_place() {
        let echoes = Echoes::default();
        assert!(!echoes.begin(binding()).wrote(7));
        tokio::time::advance(LATE + Duration::from_secs(1)).await;
        let other = Object::Rbac(RbacKind::Role, None, "y".to_owned());
        assert!(!echoes.begin(other.clone()).wrote(8));
        assert_eq!(echoes.state().written.keys().collect::<Vec<_>>(), [&other]);
        assert_eq!(echoes.state().in_order.len(), 1);
    }
}
