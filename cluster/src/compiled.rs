//! Policies that were compiled before.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use lapse_crds::JitPolicy;
use lapse_engine::Settings;
use lapse_engine::policy::PolicyState;

/// The policies that were compiled, by UID and generation: their text decides nothing else, the
/// settings of a process never change, and conditions take milliseconds to compile.
#[derive(Clone, Debug, Default)]
pub(crate) struct Compiled(Arc<Mutex<ByUid>>);

type ByUid = HashMap<String, (i64, PolicyState)>;

impl Compiled {
    /// How many policies are kept, so that those that come and go do not fill the memory.
    const MOST: usize = 4096;

    pub(crate) fn of(&self, policy: &JitPolicy, settings: &Settings) -> PolicyState {
        let (Some(uid), Some(generation)) = (&policy.metadata.uid, policy.metadata.generation)
        else {
            return PolicyState::of(policy, settings);
        };
        let known = self.known().get(uid).filter(|(known, _)| *known == generation).cloned();
        if let Some((_, state)) = known {
            return state;
        }
        let state = PolicyState::of(policy, settings);
        let mut known = self.known();
        if known.len() >= Self::MOST {
            known.clear();
        }
        known.insert(uid.clone(), (generation, state.clone()));
        state
    }

    fn known(&self) -> std::sync::MutexGuard<'_, ByUid> {
        // What is in the map was compiled wholly before it was put there.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
