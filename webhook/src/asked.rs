//! What the API server asks about.

use kube::core::DynamicObject;
use kube::core::admission::AdmissionRequest;
use lapse_crds::{API_GROUP, API_VERSION, RBAC_GROUP, RbacKind};

/// What the API server asks.
pub(crate) type Request = AdmissionRequest<DynamicObject>;

/// The kinds that are judged here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A request.
    AccessRequest,
    /// A decision.
    AccessDecision,
    /// A policy.
    JitPolicy,
    /// A grant.
    Grant,
    /// The status of an endpoint.
    EndpointStatus,
    /// A role or a binding.
    Rbac(RbacKind),
}

impl Kind {
    /// The kind that a review is about, if it is one of these.
    pub(crate) fn of(request: &Request) -> Option<Self> {
        let kind = &request.kind;
        let is_ours = (&*kind.group, &*kind.version) == (API_GROUP, API_VERSION);
        match request.sub_resource.as_deref().unwrap_or_default() {
            "" => {}
            "status" if is_ours && kind.kind == "Endpoint" => return Some(Self::EndpointStatus),
            _ => return None,
        }
        let all: &[Self] = match (&*kind.group, &*kind.version) {
            (API_GROUP, API_VERSION) => {
                &[Self::AccessRequest, Self::AccessDecision, Self::JitPolicy, Self::Grant]
            }
            (RBAC_GROUP, "v1") => &[
                Self::Rbac(RbacKind::Role),
                Self::Rbac(RbacKind::ClusterRole),
                Self::Rbac(RbacKind::RoleBinding),
                Self::Rbac(RbacKind::ClusterRoleBinding),
            ],
            _ => &[],
        };
        all.iter().find(|known| known.name() == kind.kind).copied()
    }

    /// Its name in the API.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AccessRequest => "AccessRequest",
            Self::AccessDecision => "AccessDecision",
            Self::JitPolicy => "JitPolicy",
            Self::Grant => "Grant",
            Self::EndpointStatus => "Endpoint",
            Self::Rbac(RbacKind::Role) => "Role",
            Self::Rbac(RbacKind::ClusterRole) => "ClusterRole",
            Self::Rbac(RbacKind::RoleBinding) => "RoleBinding",
            Self::Rbac(RbacKind::ClusterRoleBinding) => "ClusterRoleBinding",
        }
    }
}
