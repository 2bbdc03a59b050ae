//! The bindings of Lapse's that stand, by their Grants, as watches have shown them.
//!
//! A binding may be stored a moment after whoever ended its Grant saw that there is none: another replica was making it, and
//! it had been admitted before. Who looks at the binding when it comes finds a Grant that is live, and who looks at the
//! Grant finds one that is settled. So what stands is remembered until an event shows that it is gone, and is looked at
//! once more when its Grant is over.
//!
//! And of a Grant that cannot be read, its bindings say when their own end comes.
//!
//! Memory is bounded by the bindings that stand: of each its kind, its namespace, two UIDs and a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use lapse_crds::RbacKind;
use lapse_engine::grant::{ObjectMarks, object_name};
use tokio::time::Instant;

/// How long after the end of its Grant a binding is looked at: until then the event of its deletion mostly comes.
pub(crate) const AFTER_END: Duration = Duration::from_millis(500);

/// The bindings that stand. A copy is the same.
#[derive(Clone, Default)]
pub(crate) struct Bindings(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    by_grant: HashMap<String, OfGrant>,
    /// How many lists of each kind have begun.
    lists: HashMap<RbacKind, u64>,
}

#[derive(Default)]
struct OfGrant {
    standing: Vec<Standing>,
    /// Since when it is known here that the Grant is over.
    over_since: Option<Instant>,
}

struct Standing {
    kind: RbacKind,
    namespace: Option<Box<str>>,
    uid: Box<str>,
    grant_uid: Option<Box<str>>,
    /// Its own end.
    expires_at: Option<DateTime<Utc>>,
    /// The list in which, or after which, it was shown last.
    list: u64,
}

/// What stands of a Grant that is over.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// Nothing that is known of.
    Nothing,
    /// Something, whose deletion may show yet. It is to be looked at after this time.
    NotYet(Duration),
    /// These bindings.
    These(Vec<ObjectMarks>),
}

impl Bindings {
    fn state(&self) -> MutexGuard<'_, State> {
        // Every change leaves the table whole, so one that panicked elsewhere is still good.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An object stands. One that does not bear the name of its Grant is nobody's, and looked at as it comes.
    pub(crate) fn stands(&self, object: &ObjectMarks) {
        let Some(grant) = grant_of(object) else { return };
        let mut state = self.state();
        let list = state.lists.get(&object.kind).copied().unwrap_or_default();
        let of_grant = state.by_grant.entry(grant.to_owned()).or_default();
        if let Some(known) = of_grant.standing.iter_mut().find(|known| known.is(object)) {
            known.list = list;
        } else {
            of_grant.standing.push(Standing {
                kind: object.kind,
                namespace: object.namespace.as_deref().map(Into::into),
                uid: object.uid.as_str().into(),
                grant_uid: object.grant_uid.as_deref().map(Into::into),
                expires_at: object.expires_at,
                list,
            });
        }
    }

    /// All objects of a kind are shown anew.
    pub(crate) fn list_begins(&self, kind: RbacKind) {
        *self.state().lists.entry(kind).or_default() += 1;
    }

    /// All that stand of a kind have been shown: no event tells of one that went before.
    pub(crate) fn list_ends(&self, kind: RbacKind) {
        let mut state = self.state();
        let list = state.lists.get(&kind).copied().unwrap_or_default();
        state.by_grant.retain(|_, of_grant| {
            of_grant.standing.retain(|known| known.kind != kind || known.list == list);
            !of_grant.standing.is_empty()
        });
    }

    /// An object is gone.
    pub(crate) fn gone(&self, object: &ObjectMarks) {
        let Some(grant) = grant_of(object) else { return };
        let mut state = self.state();
        if let Some(of_grant) = state.by_grant.get_mut(grant) {
            of_grant.standing.retain(|known| !known.is(object));
            if of_grant.standing.is_empty() {
                state.by_grant.remove(grant);
            }
        }
    }

    /// Whether any binding of a Grant stands.
    pub(crate) fn any_of(&self, grant: &str) -> bool {
        self.state().by_grant.contains_key(grant)
    }

    /// A Grant is live, whatever was known of it.
    pub(crate) fn is_live(&self, grant: &str) {
        if let Some(of_grant) = self.state().by_grant.get_mut(grant) {
            of_grant.over_since = None;
        }
    }

    /// What stands of a Grant that is over.
    pub(crate) fn left_of(&self, grant: &str) -> Left {
        let mut state = self.state();
        let Some(of_grant) = state.by_grant.get_mut(grant) else { return Left::Nothing };
        let since = *of_grant.over_since.get_or_insert_with(Instant::now);
        match AFTER_END.checked_sub(since.elapsed()) {
            Some(wait) if !wait.is_zero() => Left::NotYet(wait),
            _ => Left::These(of_grant.standing.iter().map(|known| known.marks(grant)).collect()),
        }
    }

    /// The bindings of a Grant whose own end has come by now, and when that of the next comes.
    pub(crate) fn due_of(
        &self,
        grant: &str,
        now: DateTime<Utc>,
    ) -> (Vec<ObjectMarks>, Option<DateTime<Utc>>) {
        let state = self.state();
        let standing = || state.by_grant.get(grant).into_iter().flat_map(|all| &all.standing);
        let is_due = |known: &&Standing| known.expires_at.is_some_and(|at| at <= now);
        let due = standing().filter(is_due).map(|known| known.marks(grant)).collect();
        let next = standing().filter_map(|known| known.expires_at).filter(|at| *at > now).min();
        (due, next)
    }
}

/// The Grant of a binding that bears its name.
fn grant_of(object: &ObjectMarks) -> Option<&str> {
    let is_binding = matches!(object.kind, RbacKind::RoleBinding | RbacKind::ClusterRoleBinding);
    let is_named = object.is_ours && object.has_the_name_of_its_grant();
    object.grant.as_deref().filter(|_| is_binding && is_named)
}

impl Standing {
    fn is(&self, object: &ObjectMarks) -> bool {
        self.kind == object.kind && *self.uid == *object.uid
    }

    fn marks(&self, grant: &str) -> ObjectMarks {
        ObjectMarks {
            kind: self.kind,
            namespace: self.namespace.as_deref().map(Into::into),
            name: object_name(grant),
            uid: self.uid.to_string(),
            grant: Some(grant.to_owned()),
            grant_uid: self.grant_uid.as_deref().map(Into::into),
            expires_at: self.expires_at,
            is_ours: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(grant: &str, uid: &str) -> ObjectMarks {
        ObjectMarks {
            kind: RbacKind::RoleBinding,
            namespace: Some("shop".to_owned()),
            name: object_name(grant),
            uid: uid.to_owned(),
            grant: Some(grant.to_owned()),
            grant_uid: Some(format!("uid-of-{grant}")),
            expires_at: None,
            is_ours: true,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_stands_is_left_a_while_after_the_end() {
        let bindings = Bindings::default();
        bindings.stands(&binding("fix", "b-1"));
        // It is shown again by each new list.
        bindings.stands(&binding("fix", "b-1"));
        assert_eq!(bindings.left_of("fix"), Left::NotYet(AFTER_END));
        tokio::time::advance(AFTER_END / 2).await;
        assert_eq!(bindings.left_of("fix"), Left::NotYet(AFTER_END / 2));
        tokio::time::advance(AFTER_END / 2).await;
        assert_eq!(bindings.left_of("fix"), Left::These(vec![binding("fix", "b-1")]));
        bindings.gone(&binding("fix", "another"));
        assert!(bindings.any_of("fix"));
        bindings.gone(&binding("fix", "b-1"));
        assert_eq!(bindings.left_of("fix"), Left::Nothing);
        assert!(bindings.state().by_grant.is_empty(), "what is gone takes no place");
    }

    #[tokio::test(start_paused = true)]
    async fn the_while_begins_with_the_end_that_is_one() {
        let bindings = Bindings::default();
        bindings.stands(&binding("fix", "b-1"));
        assert_eq!(bindings.left_of("fix"), Left::NotYet(AFTER_END));
        tokio::time::advance(AFTER_END).await;
        bindings.is_live("fix");
        assert_eq!(bindings.left_of("fix"), Left::NotYet(AFTER_END));
    }

    #[test]
    fn what_a_list_does_not_show_is_gone() {
        let bindings = Bindings::default();
        let wide = ObjectMarks { kind: RbacKind::ClusterRoleBinding, ..binding("wide", "w") };
        for object in [&binding("fix", "b-1"), &binding("other", "b-2"), &wide] {
            bindings.stands(object);
        }
        bindings.list_begins(RbacKind::RoleBinding);
        bindings.stands(&binding("other", "b-2"));
        assert!(bindings.any_of("fix"), "it may be shown yet");
        bindings.list_ends(RbacKind::RoleBinding);
        assert!(!bindings.any_of("fix") && bindings.any_of("other") && bindings.any_of("wide"));
    }

    #[test]
    fn only_bindings_of_a_grants_name_are_remembered() {
        let of = |change: fn(&mut ObjectMarks)| {
            let bindings = Bindings::default();
            let mut object = binding("fix", "b");
            change(&mut object);
            bindings.stands(&object);
            bindings.any_of("fix")
        };
        assert!(of(|_| {}));
        assert!(of(|object| object.kind = RbacKind::ClusterRoleBinding));
        assert!(!of(|object| object.kind = RbacKind::Role));
        assert!(!of(|object| object.is_ours = false));
        assert!(!of(|object| object.name = "lapse:other".to_owned()));
        assert!(!of(|object| object.grant = None));
    }
}
