//! The bindings of a grant: what they must look like, and what they do look like.

use lapse_crds::{BindingKind, BindingRef, Grant, GrantSpec, RoleRef, Subject};

use super::binding_name;
use crate::target::{Place, ResolvedTarget};

/// A binding as the controller makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindingSpec {
    /// Where it stands.
    pub place: Place,
    /// Its name.
    pub name: String,
    /// The role that it binds.
    pub role: RoleRef,
    /// The one subject.
    pub subject: Subject,
}

/// A binding as it stands in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveBinding {
    /// Its UID.
    pub uid: String,
    /// The kind and the name of the role that it binds.
    pub role: (String, String),
    /// Its subjects: kind, namespace, name.
    pub subjects: Vec<(String, Option<String>, String)>,
    /// The UID of the grant that it says it was made for.
    pub grant_uid: Option<String>,
}

impl BindingSpec {
    /// The bindings that give the right of a grant, one for each place. None if the target has no
    /// kind, which the schema refuses.
    #[must_use]
    pub fn all_of(grant: &Grant) -> Vec<Self> {
        let GrantSpec { request, subject, target, .. } = &grant.spec;
        let Some(target) = ResolvedTarget::resolve(target, &request.namespace) else {
            return Vec::new();
        };
        let name = binding_name(grant.metadata.name.as_deref().unwrap_or_default());
        let binding = |place| Self {
            place,
            name: name.clone(),
            role: target.role.clone(),
            subject: subject.clone(),
        };
        target.places().into_iter().map(binding).collect()
    }

    /// Whether this is the binding that an earlier try made for this grant, unchanged: same role,
    /// same one subject, same grant. Anything else was made or changed by somebody else.
    #[must_use]
    pub fn is_intact(&self, live: &LiveBinding, grant_uid: &str) -> bool {
        let role = (self.role.kind.to_string(), self.role.name.clone());
        let kind = format!("{:?}", self.subject.kind);
        let subject = (kind, self.subject.namespace.clone(), self.subject.name.clone());
        live.role == role
            && live.subjects == [subject]
            && live.grant_uid.as_deref() == Some(grant_uid)
    }

    /// The binding as a Grant records it.
    #[must_use]
    pub fn recorded(&self, live: &LiveBinding) -> BindingRef {
        BindingRef {
            kind: self.place.kind(),
            namespace: self.place.namespace.clone(),
            name: self.name.clone(),
            uid: live.uid.clone(),
        }
    }

    /// A name for people.
    #[must_use]
    pub fn describe(&self) -> String {
        match (&self.place.namespace, self.place.kind()) {
            (Some(namespace), BindingKind::RoleBinding) => {
                format!("RoleBinding {namespace}/{}", self.name)
            }
            _ => format!("ClusterRoleBinding {}", self.name),
        }
    }
}
