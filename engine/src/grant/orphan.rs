//! Objects of RBAC of Lapse's that have no live grant.

use chrono::{DateTime, Utc};
use kube::api::ObjectMeta;
use lapse_crds::{
    EXPIRES_AT, GRANT_LABEL, GRANT_UID, Grant, GrantPhase, MANAGED_BY, MANAGED_BY_LAPSE,
    OBJECT_PREFIX, RbacKind,
};

use super::{ObjectSpec, object_name};
use crate::Read;
use crate::summary::GrantSummary;

/// What a binding or a role says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectMarks {
    /// Its kind.
    pub kind: RbacKind,
    /// Its namespace, if it has one.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The name of its grant.
    pub grant: Option<String>,
    /// The UID of its grant.
    pub grant_uid: Option<String>,
    /// When it ends, whatever became of its grant.
    pub expires_at: Option<DateTime<Utc>>,
    /// Whether name and label are both Lapse's. Nothing else is ever touched.
    pub is_ours: bool,
}

impl ObjectMarks {
    /// Reads the metadata of an object of this kind.
    #[must_use]
    pub fn of(kind: RbacKind, metadata: &ObjectMeta) -> Self {
        let label = |key: &str| metadata.labels.as_ref().and_then(|all| all.get(key));
        let annotation = |key: &str| metadata.annotations.as_ref().and_then(|all| all.get(key));
        let name = metadata.name.clone().unwrap_or_default();
        let expires_at = annotation(EXPIRES_AT)
            .and_then(|text| DateTime::parse_from_rfc3339(text).ok())
            .map(|time| time.with_timezone(&Utc));
        Self {
            kind,
            namespace: metadata.namespace.clone(),
            uid: metadata.uid.clone().unwrap_or_default(),
            grant: label(GRANT_LABEL).cloned(),
            grant_uid: annotation(GRANT_UID).cloned(),
            expires_at,
            is_ours: name.starts_with(OBJECT_PREFIX)
                && label(MANAGED_BY).is_some_and(|value| value == MANAGED_BY_LAPSE),
            name,
        }
    }

    /// Whether it is an object of this grant, where that has one (`home` is the namespace of Lapse itself). A second
    /// marker or binding with the label of a grant, under another name or in another place, is nobody's.
    #[must_use]
    pub fn is_of(&self, grant: &GrantSummary, home: &str) -> bool {
        self.grant_uid.as_deref() == Some(&*grant.uid)
            && self.is_one_of(&ObjectSpec::all_of_live(grant, home))
    }

    /// Whether its name follows from the grant that its label names.
    #[must_use]
    pub fn has_the_name_of_its_grant(&self) -> bool {
        self.grant.as_deref().is_some_and(|grant| self.name == object_name(grant))
    }

    fn is_one_of(&self, objects: &[ObjectSpec]) -> bool {
        objects.iter().any(|object| {
            object.kind() == self.kind
                && object.place.namespace == self.namespace
                && object.name == self.name
        })
    }
}

/// What is to become of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays.
    Keep,
    /// It goes, and why.
    Remove(String),
}

/// Judges an object by its grant. When the grant cannot be read, its own end still counts. `home`: the namespace of Lapse
/// itself.
#[must_use]
pub fn fate(object: &ObjectMarks, grant: &Read<Grant>, home: &str, now: DateTime<Utc>) -> Fate {
    let remove = |why: &str| Fate::Remove(why.to_owned());
    if !object.is_ours {
        return Fate::Keep;
    }
    if object.expires_at.is_some_and(|at| now >= at) {
        return remove("it has expired");
    }
    let grant = match grant {
        Read::Failed(_) => return Fate::Keep,
        Read::Missing => return remove("it has no Grant"),
        Read::Found(grant) => grant,
    };
    let phase = grant.status.as_ref().map(|status| status.phase).unwrap_or_default();
    if object.grant_uid.is_none() || grant.metadata.uid != object.grant_uid {
        remove("its Grant is another one")
    } else if phase == GrantPhase::Ended {
        remove("its Grant has ended")
    } else if grant.metadata.deletion_timestamp.is_some() {
        remove("its Grant was deleted")
    } else if now >= grant.spec.expires_at.time() {
        remove("its Grant has expired")
    } else if !object.is_one_of(&ObjectSpec::all_of(grant, home)) {
        remove("its Grant has no such object")
    } else {
        Fate::Keep
    }
}
