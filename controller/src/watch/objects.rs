//! Bindings and roles: those of Lapse's, and what service accounts hold by those of others.

use std::collections::BTreeMap;
use std::fmt::Debug;

use kube::Resource;
use kube::api::{ObjectMeta, PartialObjectMeta};
use lapse_cluster::index::version;
use lapse_crds::{GRANT_LABEL, RbacKind, SubjectKind};
use lapse_engine::grant::ObjectMarks;
use serde::de::DeserializeOwned;

use super::named::{Change, List};
use super::{Watches, is_ours};
use crate::echoes::Object;

impl Watches {
    /// All bindings, for what service accounts hold by those of others.
    pub(super) async fn bindings<K>(&self, what: &'static str, kind: RbacKind)
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let bindings = &self.touched.bindings;
        let lists = |list| match list {
            List::Begins => bindings.list_begins(kind),
            List::Ends => bindings.list_ends(kind),
        };
        let touches = |binding: &PartialObjectMeta<K>, change| {
            self.rights_changed(kind, &binding.metadata, change);
        };
        self.metadata_and_lists(what, None, touches, lists).await;
    }

    /// An object of RBAC came, changed or went.
    pub(super) fn rights_changed(&self, kind: RbacKind, object: &ObjectMeta, change: Change) {
        if !is_ours(object) || self.is_for_account(object) {
            self.reader.forget_accounts();
        }
        match change {
            _ if !is_ours(object) => {}
            // The grant of an object that is gone looks at it, unless it is over: nobody takes one from a right but to
            // end it.
            Change::Gone => {
                self.touched.bindings.gone(&ObjectMarks::of(kind, object));
                if !self.touched.echoes.is_gone(&Object::rbac(kind, object))
                    && let Some(grant) = grant_of(object)
                {
                    self.touched.ending_if_live(grant);
                }
            }
            Change::Stands => self.object_stands(kind, object),
        }
    }

    /// Whether an object of Lapse's is for a service account, by its Grant. One whose Grant has not been seen
    /// counts when that is.
    fn is_for_account(&self, object: &ObjectMeta) -> bool {
        let known = grant_of(object).and_then(|name| self.touched.index.grant(name));
        known.is_some_and(|known| match &known.summary {
            Ok(grant) => grant.subject.kind == SubjectKind::ServiceAccount,
            Err(_) => true,
        })
    }

    /// An object with a live grant is the grant's affair; one without has none to live for.
    fn object_stands(&self, kind: RbacKind, object: &ObjectMeta) {
        let marks = ObjectMarks::of(kind, object);
        self.touched.bindings.stands(&marks);
        let is_echo = self.touched.echoes.is_one(&Object::rbac(kind, object), version(object));
        let home = &self.touched.index.settings().namespace;
        let known = grant_of(object).filter(|name| {
            let known = self.touched.index.grant(name);
            known.is_some_and(|known| match &known.summary {
                Ok(grant) => marks.is_of(grant, home),
                // What cannot be decoded is not known to have ended; its bindings go at their own end.
                Err(_) => true,
            })
        });
        match known {
            // Whoever made it looks at it; but not at one that came too late.
            Some(_) if is_echo => {}
            Some(name) => self.touched.grant(name),
            None => self.orphans.suspect(marks),
        }
    }
}

fn grant_of(object: &ObjectMeta) -> Option<&str> {
    let labels: Option<&BTreeMap<String, String>> = object.labels.as_ref();
    labels?.get(GRANT_LABEL).map(String::as_str)
}
