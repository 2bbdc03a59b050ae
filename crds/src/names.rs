//! Names that Lapse writes on the objects of a cluster.

/// The annotation of a request that is made as a dry run, by which its maker asks what policies offer them. The answer has
/// it as JSON.
pub const OFFERS: &str = "lapse.dev/offers";
/// The annotation of a request that is made as a dry run, by which its maker asks what the role would allow. The answer has
/// it as JSON, if a policy would give that role.
pub const ALLOWS: &str = "lapse.dev/allows";

/// The label by which a namespace opts in: what the holder of a right starts and enters there is tracked (`true`).
pub const TRACK_WORKLOADS: &str = "lapse.dev/track-workloads";
/// The API group of every kind of Lapse.
pub const API_GROUP: &str = "lapse.dev";
/// The API group of roles and bindings of Kubernetes.
pub const RBAC_GROUP: &str = "rbac.authorization.k8s.io";
/// The version of the API.
pub const API_VERSION: &str = "v1alpha1";
/// Annotation with the signature of the webhook over what it stamped.
pub const ATTESTATION: &str = "lapse.dev/attestation";
/// Finalizer of a Grant: it goes when the right is verified to be gone.
pub const GRANT_FINALIZER: &str = "lapse.dev/revoke";
/// The standard label that says which tool made an object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`] on what Lapse made.
pub const MANAGED_BY_LAPSE: &str = "lapse";
/// Label with the name of the Grant that an object was made for.
pub const GRANT_LABEL: &str = "lapse.dev/grant";
/// Label of a Grant that gives a right on a host, with the name of its Endpoint as far as a label has room.
pub const ENDPOINT_LABEL: &str = "lapse.dev/endpoint";
/// Annotation with the UID of the Grant that an object was made for.
pub const GRANT_UID: &str = "lapse.dev/grant-uid";
/// Annotation with the ticket of the request that an object was made for.
pub const TICKET: &str = "lapse.dev/ticket";
/// Annotation with the UID of the request that an object was made for.
pub const REQUEST_UID: &str = "lapse.dev/request-uid";
/// Annotation with the time at which the right ends, for `lapse-controller sweep`.
pub const EXPIRES_AT: &str = "lapse.dev/expires-at";
/// Annotation that marks what was given in an emergency, without approval.
pub const EMERGENCY: &str = "lapse.dev/emergency";
/// Annotation with the user name of who started a workload while they held a right.
pub const STARTED_BY: &str = "lapse.dev/started-by";
/// Annotation of a definition with the release that it is of.
pub const RELEASE: &str = "lapse.dev/version";
/// Environment variable with the name of the Grant that something was started under: of an ephemeral container, which has no
/// labels, and on a host of applications and of the shell of `lapse mode`.
pub const GRANT_VARIABLE: &str = "LAPSE_GRANT";
/// The same, with the UID of the Grant.
pub const GRANT_UID_VARIABLE: &str = "LAPSE_GRANT_UID";
/// The name of every object that the controller makes begins with this.
pub const OBJECT_PREFIX: &str = "lapse:";
