//! Which pods the holder of a right went into.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Timestamp, schema};

/// The most pods that a Grant records.
pub const MOST_ENTERED: usize = 64;

/// A pod that the holder entered while access was held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnteredPod {
    /// The namespace of the pod.
    #[schemars(schema_with = "schema::namespace_name")]
    pub namespace: String,
    /// The name of the pod.
    #[schemars(schema_with = "schema::object_name")]
    pub pod: String,
    /// Who entered it: the holder, or a service account that they may impersonate.
    #[schemars(schema_with = "schema::subject_name")]
    pub username: String,
    /// What was opened: `Exec`, `Attach` or `PortForward`.
    #[schemars(length(min = 1, max = 3), extend("x-kubernetes-list-type" = "set"))]
    pub streams: Vec<StreamKind>,
    /// When something was first opened.
    pub first_at: Timestamp,
    /// When something was last opened, to within ten seconds.
    pub last_at: Timestamp,
    /// Whether the namespace had the label `lapse.dev/track-workloads: "true"`.
    #[serde(default)]
    pub tracked: bool,
}

/// What is opened to a pod.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum StreamKind {
    /// `kubectl exec`.
    Exec,
    /// `kubectl attach`.
    Attach,
    /// `kubectl port-forward`.
    PortForward,
}

impl fmt::Display for EnteredPod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.pod)
    }
}
