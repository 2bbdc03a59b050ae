//! The objects of RBAC that give the right of a grant: what they must look like, and what they do.

use lapse_crds::{
    Grant, GrantSpec, GrantStatus, RbacKind, RbacRef, RoleKind, RoleRef, RoleRule, Subject,
};

use super::object_name;
use crate::target::{Place, Privilege, ResolvedTarget};

/// An object as the controller makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectSpec {
    /// Where it stands.
    pub place: Place,
    /// Its name.
    pub name: String,
    /// What it says.
    pub content: Content,
}

/// What an object of a grant says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A role with the rules that the request spelled out.
    Role {
        /// The rules.
        rules: Vec<RoleRule>,
    },
    /// A binding.
    Binding {
        /// The role that it binds.
        role: RoleRef,
        /// The one subject.
        subject: Subject,
    },
}

/// An object as it stands in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveObject {
    /// Its UID.
    pub uid: String,
    /// What it says.
    pub content: LiveContent,
    /// The UID of the grant that it says it was made for.
    pub grant_uid: Option<String>,
}

/// What an object in the cluster says, which may be anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LiveContent {
    /// A role.
    Role {
        /// Its rules.
        rules: Vec<RoleRule>,
        /// Whether it takes over the rules of other roles.
        aggregates: bool,
    },
    /// A binding.
    Binding {
        /// The kind and the name of the role that it binds.
        role: (String, String),
        /// Its subjects: kind, namespace, name.
        subjects: Vec<(String, Option<String>, String)>,
    },
}

impl ObjectSpec {
    /// The objects that give the right of a grant, in the order in which they are made: a role for each
    /// place, if the request spelled out rules, and a binding for each. None if the target has no kind,
    /// which the schema refuses.
    #[must_use]
    pub fn all_of(grant: &Grant) -> Vec<Self> {
        let GrantSpec { request, subject, target, .. } = &grant.spec;
        let Some(target) = ResolvedTarget::resolve(target, &request.namespace) else {
            return Vec::new();
        };
        let name = object_name(grant.metadata.name.as_deref().unwrap_or_default());
        let object = |place: Place, content| Self { place, name: name.clone(), content };
        let mut objects = Vec::new();
        if let Privilege::Rules(rules) = &target.privilege {
            let role = || Content::Role { rules: rules.clone() };
            objects.extend(target.places().into_iter().map(|place| object(place, role())));
        }
        objects.extend(target.places().into_iter().map(|place| {
            let role = match &target.privilege {
                Privilege::Role(role) => role.clone(),
                Privilege::Rules(_) => RoleRef { kind: own_role(&place), name: name.clone() },
            };
            object(place, Content::Binding { role, subject: subject.clone() })
        }));
        objects
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> RbacKind {
        match (&self.content, &self.place.namespace) {
            (Content::Role { .. }, Some(_)) => RbacKind::Role,
            (Content::Role { .. }, None) => RbacKind::ClusterRole,
            (Content::Binding { .. }, Some(_)) => RbacKind::RoleBinding,
            (Content::Binding { .. }, None) => RbacKind::ClusterRoleBinding,
        }
    }

    /// Whether this is the object that an earlier try made for this grant, unchanged: same rules, or same
    /// role and same one subject; same grant. Anything else was made or changed by somebody else.
    #[must_use]
    pub fn is_intact(&self, live: &LiveObject, grant_uid: &str) -> bool {
        let is_same = match (&self.content, &live.content) {
            (Content::Role { rules }, LiveContent::Role { rules: live, aggregates }) => {
                rules == live && !aggregates
            }
            (Content::Binding { role, subject }, LiveContent::Binding { role: live, subjects }) => {
                let kind = format!("{:?}", subject.kind);
                *live == (role.kind.to_string(), role.name.clone())
                    && *subjects == [(kind, subject.namespace.clone(), subject.name.clone())]
            }
            _ => false,
        };
        is_same && live.grant_uid.as_deref() == Some(grant_uid)
    }

    /// The object as a Grant records it.
    #[must_use]
    pub fn recorded(&self, live: &LiveObject) -> RbacRef {
        RbacRef {
            kind: self.kind(),
            namespace: self.place.namespace.clone(),
            name: self.name.clone(),
            uid: live.uid.clone(),
        }
    }

    /// Whether this is the object that a Grant records.
    pub(super) fn is_recorded_as(&self, known: &RbacRef) -> bool {
        known.kind == self.kind() && known.namespace == self.place.namespace
    }

    /// A name for people.
    #[must_use]
    pub fn describe(&self) -> String {
        let Self { place, name, .. } = self;
        match &place.namespace {
            Some(namespace) => format!("{} {namespace}/{name}", self.kind()),
            None => format!("{} {name}", self.kind()),
        }
    }
}

/// The kind of the role that is made in a place.
fn own_role(place: &Place) -> RoleKind {
    if place.namespace.is_some() { RoleKind::Role } else { RoleKind::ClusterRole }
}

/// The objects that a Grant records, of whatever kind.
pub(super) fn all_recorded(status: &GrantStatus) -> impl Iterator<Item = &RbacRef> {
    status.bindings.iter().chain(&status.roles)
}
