//! The lines that are exported: an entry, with which host said it.

use lapse_crds::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Entry;

/// By what a line is known among others.
pub const STREAM: &str = "lapse.dev/session-record";

/// Which host said it, and when it was heard: written by the gateway, whatever an entry says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// By what it is known among others: [`STREAM`].
    pub stream: String,
    /// When the gateway heard it, by its own clock.
    pub heard_at: Timestamp,
    /// The name of the Endpoint.
    pub endpoint: String,
    /// Its UID.
    pub endpoint_uid: String,
    /// The series that the entry is numbered in.
    pub series: String,
}

/// A line, as it is read back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exported {
    /// Which host said it.
    #[serde(flatten)]
    pub line: Line,
    /// What it said.
    #[serde(flatten)]
    pub entry: Entry,
}

/// The line of an entry, without a line feed. What the entry says of itself does not take the place of which host said it.
pub fn exported(line: &Line, entry: &Map<String, Value>) -> Result<String, serde_json::Error> {
    let mut all = Map::new();
    if let Value::Object(line) = serde_json::to_value(line)? {
        for (name, value) in entry.iter().filter(|(name, _)| !line.contains_key(*name)) {
            all.insert(name.clone(), value.clone());
        }
        all.extend(line);
    }
    serde_json::to_string(&all)
}
