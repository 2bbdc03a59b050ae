//! The list itself.

use lapse_crds::{API_GROUP, RBAC_GROUP, RoleKind};

use super::{Names, Need, Place, When};
use crate::names::{ATTESTATION_KEYS, ENDPOINT_TRUST, GATEWAYS, LEASE};

const ADMISSION: &str = "admissionregistration.k8s.io";

/// A right everywhere, on all objects, always.
const fn need(
    group: &'static str,
    resources: &'static [&'static str],
    verbs: &'static [&'static str],
    why: &'static str,
) -> Need {
    let (names, place, when) = (Names::All, Place::Cluster, When::Always);
    Need { group, resources, verbs, names, place, when, why }
}

/// A right on objects of these names in the installation's own namespace.
const fn own(
    group: &'static str,
    resources: &'static [&'static str],
    names: &'static [&'static str],
    verbs: &'static [&'static str],
    why: &'static str,
) -> Need {
    let need = need(group, resources, verbs, why);
    Need { names: Names::Named(names), place: Place::OwnNamespace, ..need }
}

/// What the controller needs.
pub(super) const CONTROLLER: &[Need] = &[
    need(
        API_GROUP,
        &["accessrequests", "jitpolicies", "grants", "endpoints"],
        &["get", "list", "watch"],
        "to follow what is asked and offered, and to read it live before anything is given",
    ),
    need(
        API_GROUP,
        &["accessdecisions"],
        &["get", "list", "watch"],
        "to count the decisions about a request, and to read an approval live before anything is given by it",
    ),
    need(
        API_GROUP,
        &["accessrequests/status", "jitpolicies/status", "grants/status"],
        &["update"],
        "to tell people what came of it",
    ),
    need(
        API_GROUP,
        &["accessrequests/status", "jitpolicies/status", "grants/status"],
        &["patch"],
        "to say of an object that cannot be read what is wrong with it",
    ),
    need(API_GROUP, &["grants"], &["create"], "to record access before it is granted"),
    need(
        API_GROUP,
        &["grants"],
        &["patch"],
        "to let a Grant go, by its finalizer, once its access is gone",
    ),
    need(
        API_GROUP,
        &["endpoints"],
        &["patch"],
        "to keep an Endpoint, by its finalizer, while access is held on its host; an admission policy keeps it to that",
    ),
    Need {
        when: When::Gateway,
        ..need(
            API_GROUP,
            &["endpoints/status"],
            &["patch"],
            "to say of hosts that no gateway runs that could; an admission policy keeps it to that",
        )
    },
    need(
        API_GROUP,
        &["grants", "accessrequests", "accessdecisions"],
        &["delete"],
        "to remove what is over when the retention of its policy has passed",
    ),
    need(
        RBAC_GROUP,
        &["rolebindings", "clusterrolebindings", "roles", "clusterroles"],
        &["get", "list", "watch", "delete"],
        "to end what this release, an earlier one or other values granted, wherever it is, to compare \
         the rules of roles with those that were approved, and to count who is privileged for good; an \
         admission policy keeps deletion to names of Lapse",
    ),
    need(RBAC_GROUP, &["rolebindings"], &["create"], "to give a role in a namespace"),
    Need {
        when: When::ClusterWide,
        ..need(
            RBAC_GROUP,
            &["clusterrolebindings"],
            &["create"],
            "to give a role in the whole cluster",
        )
    },
    Need {
        when: When::Rules,
        ..need(
            RBAC_GROUP,
            &["roles"],
            &["create"],
            "to make a role of the rules that a request spells out",
        )
    },
    Need {
        when: When::ClusterWideRules,
        ..need(RBAC_GROUP, &["clusterroles"], &["create"], "the same, in the whole cluster")
    },
    Need {
        names: Names::Bindable(RoleKind::ClusterRole),
        ..need(
            RBAC_GROUP,
            &["clusterroles"],
            &["bind"],
            "to give roles that it does not hold itself",
        )
    },
    Need {
        names: Names::Bindable(RoleKind::Role),
        ..need(RBAC_GROUP, &["roles"], &["bind"], "to give roles that it does not hold itself")
    },
    need(
        "",
        &["namespaces"],
        &["get", "list", "watch"],
        "their labels say which policies offer them",
    ),
    need("", &["serviceaccounts"], &["list", "watch"], "as whom the holder of a role could act"),
    need(
        ADMISSION,
        &["validatingadmissionpolicies", "validatingadmissionpolicybindings"],
        &["list"],
        "to notice when one of the chart is gone or changed",
    ),
    Need {
        names: Names::Named(&["lapse"]),
        ..need(
            ADMISSION,
            &["mutatingwebhookconfigurations", "validatingwebhookconfigurations"],
            &["get"],
            "the same, of what calls the webhook",
        )
    },
    need("events.k8s.io", &["events"], &["create"], "to tell what happened"),
    Need {
        when: When::Workloads,
        ..need(
            "",
            &["pods", "replicationcontrollers"],
            &["list", "delete"],
            "to end what was started under a grant; an admission policy keeps deletion to that",
        )
    },
    Need {
        when: When::Workloads,
        ..need(
            "apps",
            &["deployments", "statefulsets", "daemonsets", "replicasets"],
            &["list", "delete"],
            "the same",
        )
    },
    Need {
        when: When::Workloads,
        ..need("batch", &["jobs", "cronjobs"], &["list", "delete"], "the same")
    },
    own(
        "coordination.k8s.io",
        &["leases"],
        &[LEASE],
        &["get", "update", "create"],
        "so that one controller at a time grants, also after somebody deleted it",
    ),
    own(
        RBAC_GROUP,
        &["roles"],
        &["lapse-elevated-enforce", "lapse-elevated-audit", "lapse-elevated-off"],
        &["bind"],
        "to mark the holder of access where the API server can ask",
    ),
    Need {
        when: When::Gateway,
        ..own("", &["configmaps"], &[GATEWAYS], &["get"], "to notice that no gateway runs")
    },
    own(
        "",
        &["configmaps"],
        &[ATTESTATION_KEYS],
        &["list", "watch"],
        "the public keys by which it knows what the webhook has signed",
    ),
];

/// What the webhook needs.
pub(super) const WEBHOOK: &[Need] = &[
    need(
        API_GROUP,
        &["accessrequests", "accessdecisions", "jitpolicies", "grants", "endpoints"],
        &["get"],
        "a decision is judged by what is stored at that moment, read live",
    ),
    need(
        API_GROUP,
        &["accessrequests", "accessdecisions", "jitpolicies", "grants"],
        &["list", "watch"],
        "and by the requests, decisions, policies and grants beside it, which it follows; so is what the \
         controller makes",
    ),
    need(
        API_GROUP,
        &["grants/status"],
        &["patch"],
        "to record which pods a holder of access enters; an admission policy keeps it to that",
    ),
    need(RBAC_GROUP, &["clusterroles", "roles"], &["get"], "the rules that an approval is for"),
    Need {
        when: When::ClusterWideRules,
        ..need(
            RBAC_GROUP,
            &["clusterroles"],
            &["list"],
            "whether another would take over the rules of one that is made, by labels that others put on it",
        )
    },
    need("", &["serviceaccounts"], &["list"], "as whom the holder of a role could act"),
    need(RBAC_GROUP, &["rolebindings", "clusterrolebindings"], &["list"], "and what these hold"),
    Need {
        place: Place::OwnNamespace,
        ..need(
            RBAC_GROUP,
            &["rolebindings"],
            &["get"],
            "the marker of a grant, which stands there before any binding of the grant is let through",
        )
    },
    need("", &["namespaces"], &["get"], "their labels say which policies offer them"),
    need(
        "authorization.k8s.io",
        &["subjectaccessreviews"],
        &["create"],
        "whether the decider holds the verb `approve` or `deny` on the policy",
    ),
    Need {
        names: Names::Named(&["lapse"]),
        ..need(
            ADMISSION,
            &["mutatingwebhookconfigurations", "validatingwebhookconfigurations"],
            &["get", "list", "watch", "patch"],
            "to write its certificate authority and its path; an admission policy keeps it to these",
        )
    },
    own(
        "",
        &["secrets"],
        &["lapse-webhook-keys"],
        &["get", "list", "watch", "update"],
        "its keys, its path and its certificates, which its replicas share",
    ),
    own(
        "",
        &["configmaps"],
        &[ATTESTATION_KEYS],
        &["get", "list", "watch", "update"],
        "to publish its public keys",
    ),
    Need {
        when: When::Gateway,
        ..own(
            "",
            &["secrets"],
            &["lapse-gateway-tls"],
            &["get", "update"],
            "to give the gateway its certificate",
        )
    },
    Need {
        when: When::Gateway,
        ..own(
            "",
            &["configmaps"],
            &[ENDPOINT_TRUST],
            &["get", "update"],
            "to say what hosts are to trust",
        )
    },
];

/// What the gateway needs, where there is one.
pub(super) const GATEWAY: &[Need] = &[
    Need {
        when: When::Gateway,
        ..need(
            API_GROUP,
            &["endpoints", "grants"],
            &["get", "list", "watch"],
            "to carry orders to hosts, which the webhook has signed",
        )
    },
    Need {
        when: When::Gateway,
        ..need(
            API_GROUP,
            &["endpoints/status"],
            &["patch"],
            "to carry back what agents say, which they have signed, and what they ask for to enrol",
        )
    },
    Need {
        when: When::Gateway,
        ..own(
            "",
            &["configmaps"],
            &[ENDPOINT_TRUST],
            &["get", "list", "watch"],
            "to tell hosts what to trust",
        )
    },
    Need {
        when: When::Gateway,
        ..own(
            "",
            &["configmaps"],
            &[GATEWAYS],
            &["get", "list", "watch", "patch"],
            "to show that it lives, and to miss the hosts of one that does not",
        )
    },
    Need {
        place: Place::HostRequests,
        when: When::HostRequests,
        ..need(
            API_GROUP,
            &["accessrequests"],
            &["create", "get", "list", "watch"],
            "to carry what people on hosts request, which their agents have signed, and to tell them what becomes of it",
        )
    },
    Need {
        place: Place::HostRequests,
        when: When::HostRequests,
        ..need(
            API_GROUP,
            &["accessdecisions"],
            &["create"],
            "to carry that they end what they requested, which their agents have signed",
        )
    },
];
