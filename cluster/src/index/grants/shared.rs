//! What many Grants say alike: who holds them, and by which policy. A hundred thousand of them name few.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use lapse_crds::Subject;

use super::KnownGrant;

/// What many Grants say alike.
#[derive(Default)]
pub(super) struct Shared {
    subjects: HashSet<Arc<Subject>>,
    names: HashSet<Arc<str>>,
    /// How many there may be before those are dropped that no Grant names any more.
    most: usize,
}

impl Shared {
    /// Has a Grant say what others say alike by the same copy.
    pub(super) fn share(&mut self, known: &mut KnownGrant) {
        let Ok(grant) = &mut known.summary else { return };
        let Some(grant) = Arc::get_mut(grant) else { return };
        share(&mut self.subjects, &mut grant.subject);
        share(&mut self.names, &mut grant.policy);
        share(&mut self.names, &mut grant.policy_uid);
        if self.subjects.len() + self.names.len() > self.most {
            self.subjects.retain(|subject| Arc::strong_count(subject) > 1);
            self.names.retain(|name| Arc::strong_count(name) > 1);
            self.most = 2 * (self.subjects.len() + self.names.len()) + 64;
        }
    }
}

fn share<T: Eq + Hash + ?Sized>(all: &mut HashSet<Arc<T>>, one: &mut Arc<T>) {
    if let Some(same) = all.get(&**one) {
        *one = same.clone();
    } else {
        all.insert(one.clone());
    }
}
