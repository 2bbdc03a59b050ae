//! On which hosts requests are to be made.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{LabelSelector, schema};

/// Hosts on which requests must be made: the union of those by name and those by label.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("has(self.selector) || has(self.names) && size(self.names) > 0")
        .message("workstations without names and selector would accept no request; set names or selector, or leave workstations out")
)]
pub struct Workstations {
    /// These Endpoints, by name. Empty: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::object_names")]
    pub names: Vec<String>,
    /// Endpoints whose current labels match. Whoever may label Endpoints decides which these are. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}
