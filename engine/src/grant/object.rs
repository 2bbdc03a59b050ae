//! The objects of RBAC of a grant, which give the right and mark its holder: what they must look like.

use lapse_crds::{
    Grant, GrantSession, GrantSpec, GrantStatus, RbacKind, RbacRef, RoleKind, RoleRef, RoleRule,
    Subject,
};

use super::object_name;
use crate::session::{mark, marker_role};
use crate::summary::{GrantSummary, LiveGrant};
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
    /// The binding by which the API server knows that somebody holds this right.
    Marker {
        /// The role that it binds.
        role: RoleRef,
        /// Who is marked.
        subjects: Vec<Subject>,
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
    /// The objects of a grant, in the order in which they are made: the marker, in the namespace of Lapse
    /// itself (`home`); a role for each place, if the request spelled out rules; a binding for each place.
    /// None for a host, and if the target has no kind, which the schema refuses.
    #[must_use]
    pub fn all_of(grant: &Grant, home: &str) -> Vec<Self> {
        let GrantSpec { request, subject, target, session, .. } = &grant.spec;
        let name = grant.metadata.name.as_deref().unwrap_or_default();
        let target = ResolvedTarget::resolve(target, &request.namespace);
        let target = target.as_ref();
        target.map(|target| all(name, subject, target, session.as_ref(), home)).unwrap_or_default()
    }

    /// The same of a grant in few words. One that is over has none any more.
    #[must_use]
    pub fn all_of_live(grant: &GrantSummary, home: &str) -> Vec<Self> {
        let GrantSummary { name, subject, live, .. } = grant;
        let objects = |live: &LiveGrant| {
            Some(all(name, subject, live.target.as_ref()?, live.session.as_ref(), home))
        };
        live.as_deref().and_then(objects).unwrap_or_default()
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> RbacKind {
        match (&self.content, &self.place.namespace) {
            (Content::Role { .. }, Some(_)) => RbacKind::Role,
            (Content::Role { .. }, None) => RbacKind::ClusterRole,
            (Content::Binding { .. } | Content::Marker { .. }, Some(_)) => RbacKind::RoleBinding,
            (Content::Binding { .. } | Content::Marker { .. }, None) => {
                RbacKind::ClusterRoleBinding
            }
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
                is_role(role, live) && *subjects == [in_cluster(subject)]
            }
            (
                Content::Marker { role, subjects },
                LiveContent::Binding { role: live, subjects: all },
            ) => is_role(role, live) && subjects.iter().map(in_cluster).eq(all.iter().cloned()),
            _ => false,
        };
        is_same && live.grant_uid.as_deref() == Some(grant_uid)
    }

    /// Whether it gives a right, as a binding to the holder does.
    #[must_use]
    pub fn gives(&self) -> bool {
        matches!(self.content, Content::Binding { .. })
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

fn all(
    grant: &str,
    subject: &Subject,
    target: &ResolvedTarget,
    session: Option<&GrantSession>,
    home: &str,
) -> Vec<ObjectSpec> {
    let name = object_name(grant);
    let object = |place: Place, content| ObjectSpec { place, name: name.clone(), content };
    // What gives a right on a host stands there.
    if matches!(target.privilege, Privilege::Elevation(_)) {
        return Vec::new();
    }
    let mut objects = Vec::new();
    if let Some(session) = session {
        let role = marker_role(session.guard);
        let subjects = mark(subject, target, session, home);
        let place = Place { namespace: Some(home.to_owned()) };
        objects.push(object(place, Content::Marker { role, subjects }));
    }
    if let Privilege::Rules(rules) = &target.privilege {
        let role = || Content::Role { rules: rules.clone() };
        objects.extend(target.places().into_iter().map(|place| object(place, role())));
    }
    objects.extend(target.places().into_iter().map(|place| {
        let role = target.privilege.role().cloned();
        let role = role.unwrap_or_else(|| RoleRef { kind: own_role(&place), name: name.clone() });
        object(place, Content::Binding { role, subject: subject.clone() })
    }));
    objects
}

fn is_role(role: &RoleRef, live: &(String, String)) -> bool {
    *live == (role.kind.to_string(), role.name.clone())
}

/// A subject as a binding in the cluster names it.
fn in_cluster(subject: &Subject) -> (String, Option<String>, String) {
    (format!("{:?}", subject.kind), subject.namespace.clone(), subject.name.clone())
}

/// The kind of the role that is made in a place.
fn own_role(place: &Place) -> RoleKind {
    if place.namespace.is_some() { RoleKind::Role } else { RoleKind::ClusterRole }
}

/// The objects that a Grant records, of whatever kind.
pub(super) fn all_recorded(status: &GrantStatus) -> impl Iterator<Item = &RbacRef> {
    status.bindings.iter().chain(&status.roles).chain(&status.marker)
}
