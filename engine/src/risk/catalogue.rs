//! The rights that let their holder climb, as data: what matches, how bad it is, why, and who says
//! so.
//!
//! Rights on resources of the whole cluster do nothing through a RoleBinding. They count all the
//! same: the role says what its author meant, and the same role bound elsewhere would have them.
//!
//! RBAC does not match a `create` that is limited to names when an object is posted, but does when
//! it is created by an apply or an update, so that such a rule counts too.
//!
//! Left out, because they give nobody a right by themselves: reading anything but Secrets, deleting
//! pods and workloads, `pods/eviction` and `*/scale`, `tokenreviews` and access reviews, pod
//! templates (nothing runs them), writing Endpoints and `EndpointSlices` (they steer traffic, not
//! rights), and writing `ConfigMaps`, which matters in the protected namespaces alone.

use lapse_crds::RBAC_GROUP;

use super::entry::{ActsAs, Entry, Pattern, Severity, Source};

const CREATE: &[&str] = &["create"];
const READ: &[&str] = &["get", "list", "watch"];
const CHANGE: &[&str] = &["update", "patch"];
const SET: &[&str] = &["create", "update", "patch"];
const WRITE: &[&str] = &["create", "update", "patch", "delete", "deletecollection"];
const RBAC: &[&str] = &[RBAC_GROUP];
const CORE: &[&str] = &[""];
const CERTIFICATES: &[&str] = &["certificates.k8s.io"];
/// Impersonation looks in the core group, constrained impersonation in the other.
const IDENTITIES: &[&str] = &["", "authentication.k8s.io"];

/// As a service account its impersonator shows no credential of its.
pub(super) const IMPERSONATING_ACCOUNTS: Entry = Entry {
    title: "impersonate service accounts",
    severity: Severity::EscalatingWide,
    reason: "acting as a service account gives all that it may do, outside of its namespace too",
    source: good_practice("Impersonate verb", "impersonate-verb"),
    patterns: &[Pattern {
        groups: IDENTITIES,
        resources: &["serviceaccounts"],
        verbs: &["impersonate", "impersonate:serviceaccount"],
    }],
    acts_as: ActsAs::Named,
};

/// Every verb on every resource of every group. A role with this has all the others too, so that it
/// is named alone.
pub(super) static EVERYTHING: Entry = Entry {
    title: "do anything",
    severity: Severity::Escalating,
    reason: "this is everything there is, and everything that is added later",
    source: good_practice("Least privilege", "least-privilege"),
    patterns: &[],
    acts_as: ActsAs::Everybody,
};

/// Every other entry, the worst first.
pub static CATALOGUE: &[Entry] = &[
    Entry {
        title: "write roles and bindings",
        severity: Severity::Escalating,
        reason: "who decides what roles hold and who is bound to them decides who may do what",
        source: Source {
            page: "Using RBAC Authorization",
            address: "https://kubernetes.io/docs/reference/access-authn-authz/rbac/",
            section: "Privilege escalation prevention and bootstrapping",
            anchor: "privilege-escalation-prevention-and-bootstrapping",
        },
        patterns: &[Pattern {
            groups: RBAC,
            resources: &["roles", "clusterroles", "rolebindings", "clusterrolebindings"],
            verbs: WRITE,
        }],
        acts_as: ActsAs::Nobody,
    },
    Entry {
        title: "escalate or bind roles",
        severity: Severity::Escalating,
        reason: "these verbs lift the rule that nobody gives away more than they hold",
        source: good_practice("Escalate verb, Bind verb", "escalate-verb"),
        patterns: &[Pattern {
            groups: RBAC,
            resources: &["roles", "clusterroles"],
            verbs: &["escalate", "bind"],
        }],
        acts_as: ActsAs::Nobody,
    },
    Entry {
        title: "impersonate people and nodes",
        severity: Severity::Escalating,
        reason: "acting as another gives all that the other may do, and groups can be claimed at will",
        source: Source {
            page: "User Impersonation",
            address: "https://kubernetes.io/docs/reference/access-authn-authz/user-impersonation/",
            section: "",
            anchor: "",
        },
        patterns: &[
            Pattern {
                groups: IDENTITIES,
                resources: &["users", "groups", "uids", "userextras/*"],
                verbs: &["impersonate", "impersonate:user-info"],
            },
            Pattern {
                groups: &["authentication.k8s.io"],
                resources: &["nodes"],
                verbs: &["impersonate:arbitrary-node", "impersonate:associated-node"],
            },
        ],
        acts_as: ActsAs::Nobody,
    },
    Entry {
        title: "approve certificates",
        severity: Severity::Escalating,
        reason: "a client certificate can carry any name, that of an administrator or of a node included",
        source: good_practice("CSRs and certificate issuing", "csrs-and-certificate-issuing"),
        patterns: &[
            Pattern {
                groups: CERTIFICATES,
                resources: &[
                    "certificatesigningrequests/approval",
                    "certificatesigningrequests/status",
                ],
                verbs: CHANGE,
            },
            Pattern { groups: CERTIFICATES, resources: &["signers"], verbs: &["approve", "sign"] },
            // The controller manager approves these by itself.
            Pattern {
                groups: CERTIFICATES,
                resources: &[
                    "certificatesigningrequests/nodeclient",
                    "certificatesigningrequests/selfnodeclient",
                ],
                verbs: CREATE,
            },
        ],
        acts_as: ActsAs::Nobody,
    },
    Entry {
        title: "control admission",
        severity: Severity::Escalating,
        reason: "admission reads and changes what everybody writes, and without it Lapse's rules are gone",
        source: good_practice("Control admission webhooks", "control-admission-webhooks"),
        patterns: &[Pattern {
            groups: &["admissionregistration.k8s.io"],
            resources: &[
                "validatingwebhookconfigurations",
                "mutatingwebhookconfigurations",
                "validatingadmissionpolicies",
                "validatingadmissionpolicybindings",
                "mutatingadmissionpolicies",
                "mutatingadmissionpolicybindings",
            ],
            verbs: WRITE,
        }],
        acts_as: ActsAs::Nobody,
    },
    Entry {
        title: "define APIs",
        severity: Severity::Escalating,
        reason: "an API's conversion webhook or server sees and answers what everybody asks of it",
        source: Source {
            page: "Kubernetes API Aggregation Layer",
            address: "https://kubernetes.io/docs/concepts/extend-kubernetes/api-extension/apiserver-aggregation/",
            section: "",
            anchor: "",
        },
        patterns: &[
            Pattern {
                groups: &["apiextensions.k8s.io"],
                resources: &["customresourcedefinitions"],
                verbs: WRITE,
            },
            Pattern {
                groups: &["apiregistration.k8s.io"],
                resources: &["apiservices"],
                verbs: WRITE,
            },
        ],
        acts_as: ActsAs::Nobody,
    },
    Entry {
        title: "reach the kubelets",
        severity: Severity::Escalating,
        reason: "the kubelet runs commands in every pod of its node, past admission and the audit log, and \
                 get is enough",
        source: good_practice(
            "Access to proxy subresource of Nodes",
            "access-to-proxy-subresource-of-nodes",
        ),
        patterns: &[Pattern { groups: CORE, resources: &["nodes/proxy"], verbs: &["*"] }],
        acts_as: ActsAs::Everybody,
    },
    Entry {
        title: "write the objects of Lapse",
        severity: Severity::Escalating,
        reason: "policies, requests, decisions and grants decide who gets access",
        source: Source {
            page: "Custom Resources",
            address: "https://kubernetes.io/docs/concepts/extend-kubernetes/api-extension/custom-resources/",
            section: "Authentication, authorization, and auditing",
            anchor: "authentication-authorization-and-auditing",
        },
        patterns: &[
            Pattern {
                groups: &[lapse_crds::API_GROUP],
                resources: &[
                    "accessdecisions",
                    "accessrequests",
                    "accessrequests/status",
                    "endpoints",
                    "endpoints/status",
                    "grants",
                    "grants/status",
                    "jitpolicies",
                    "jitpolicies/status",
                ],
                verbs: WRITE,
            },
            Pattern {
                groups: &[lapse_crds::API_GROUP],
                resources: &["jitpolicies"],
                verbs: &["approve"],
            },
        ],
        acts_as: ActsAs::Nobody,
    },
    Entry {
        title: "write persistent volumes",
        severity: Severity::Escalating,
        reason: "a hostPath volume opens the node's file system, its credentials included",
        source: good_practice("Persistent volume creation", "persistent-volume-creation"),
        patterns: &[Pattern { groups: CORE, resources: &["persistentvolumes"], verbs: SET }],
        acts_as: ActsAs::Nobody,
    },
    Entry {
        title: "relabel namespaces",
        severity: Severity::Escalating,
        reason: "labels of a namespace decide how far its pods may go, who reaches them, and which \
                 policies select it",
        source: good_practice("Namespace modification", "namespace-modification"),
        // The API server keeps labels that are written through these subresources.
        patterns: &[
            Pattern { groups: CORE, resources: &["namespaces"], verbs: SET },
            Pattern {
                groups: CORE,
                resources: &["namespaces/status", "namespaces/finalize"],
                verbs: CHANGE,
            },
        ],
        acts_as: ActsAs::Nobody,
    },
    Entry {
        title: "change nodes",
        severity: Severity::Escalating,
        reason: "labels, taints and addresses of nodes decide where the pods of others run and whom the \
                 API server takes for a kubelet",
        source: Source {
            page: "Assigning Pods to Nodes",
            address: "https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/",
            section: "Node isolation/restriction",
            anchor: "node-isolation-restriction",
        },
        patterns: &[
            Pattern { groups: CORE, resources: &["nodes"], verbs: SET },
            Pattern { groups: CORE, resources: &["nodes/status"], verbs: CHANGE },
        ],
        acts_as: ActsAs::Nobody,
    },
    Entry {
        title: "read secrets",
        severity: Severity::EscalatingWide,
        reason: "list and watch show what is in them as well as get, tokens and passwords included",
        source: good_practice("Listing secrets", "listing-secrets"),
        patterns: &[Pattern { groups: CORE, resources: &["secrets"], verbs: READ }],
        acts_as: ActsAs::Nobody,
    },
    Entry {
        title: "get tokens through new secrets",
        severity: Severity::EscalatingWide,
        reason: "Kubernetes fills a secret of the right type with a token of any service account",
        source: Source {
            page: "Configure Service Accounts for Pods",
            address: "https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/",
            section: "Manually create a long-lived API token for a ServiceAccount",
            anchor: "manually-create-an-api-token-for-a-serviceaccount",
        },
        patterns: &[Pattern { groups: CORE, resources: &["secrets"], verbs: CREATE }],
        acts_as: ActsAs::Everybody,
    },
    Entry {
        title: "run workloads",
        severity: Severity::EscalatingWide,
        reason: "a pod runs as any service account of its namespace and mounts any secret",
        source: good_practice("Workload creation", "workload-creation"),
        patterns: &[
            Pattern { groups: CORE, resources: &["pods", "replicationcontrollers"], verbs: SET },
            Pattern {
                groups: &["apps"],
                resources: &["daemonsets", "deployments", "replicasets", "statefulsets"],
                verbs: SET,
            },
            Pattern { groups: &["batch"], resources: &["cronjobs", "jobs"], verbs: SET },
        ],
        acts_as: ActsAs::Everybody,
    },
    Entry {
        title: "run commands in pods",
        severity: Severity::EscalatingWide,
        reason: "a command in a pod has the pod's service account, secrets and network",
        source: Source {
            page: "Get a Shell to a Running Container",
            address: "https://kubernetes.io/docs/tasks/debug/debug-application/get-shell-running-container/",
            section: "",
            anchor: "",
        },
        patterns: &[
            // Until Kubernetes 1.35 get is enough, by WebSocket.
            Pattern {
                groups: CORE,
                resources: &["pods/exec", "pods/attach"],
                verbs: &["get", "create"],
            },
            Pattern { groups: CORE, resources: &["pods/ephemeralcontainers"], verbs: CHANGE },
        ],
        acts_as: ActsAs::Everybody,
    },
    Entry {
        title: "get tokens of service accounts",
        severity: Severity::EscalatingWide,
        reason: "a token gives all that the service account may do, and outlives the grant",
        source: good_practice("Token request", "token-request"),
        patterns: &[Pattern { groups: CORE, resources: &["serviceaccounts/token"], verbs: CREATE }],
        acts_as: ActsAs::Named,
    },
    IMPERSONATING_ACCOUNTS,
    Entry {
        title: "reach any port of pods",
        severity: Severity::EscalatingWide,
        reason: "what is forwarded comes from the node or the API server, past network policies, to ports \
                 that ask for no password",
        source: Source {
            page: "Access Services Running on Clusters",
            address: "https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/",
            section: "Ways to connect",
            anchor: "ways-to-connect",
        },
        patterns: &[
            Pattern { groups: CORE, resources: &["pods/portforward"], verbs: &["get", "create"] },
            Pattern { groups: CORE, resources: &["pods/proxy", "services/proxy"], verbs: &["*"] },
        ],
        acts_as: ActsAs::Nobody,
    },
];

/// A section of the page that the catalogue began with.
const fn good_practice(section: &'static str, anchor: &'static str) -> Source {
    Source {
        page: "Role Based Access Control Good Practices",
        address: "https://kubernetes.io/docs/concepts/security/rbac-good-practices/",
        section,
        anchor,
    }
}
