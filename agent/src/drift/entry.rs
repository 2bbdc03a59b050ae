//! What a host is like, as far as it makes somebody root or lets them in. Pure.

use std::collections::BTreeMap;

use lapse_crds::DriftKind;
use serde::{Deserialize, Serialize};

use crate::unfollowed::Owner;

/// How many files and folders are remembered.
pub(super) const MOST: usize = 4096;
/// The longest content that is kept, in bytes.
pub(super) const LONGEST: u64 = 1024 * 1024;

/// What lies in a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    /// What a change of it is.
    pub(super) kind: DriftKind,
    /// Whether the guard looks after it.
    pub(super) is_guarded: bool,
    /// Whose it is.
    pub(super) owner: Owner,
    /// What it is.
    pub(super) content: Content,
    /// A hash of the lists of who else may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) access_list: Option<String>,
}

/// What something is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Content {
    /// A file, as text.
    Text(String),
    /// A file that is no text, in base64.
    Bytes(String),
    /// A file whose content is not kept: which one it is, how long, and when it was changed.
    Stamp(String),
    /// A link, and where it leads.
    Link(String),
    /// A folder.
    Folder,
    /// A device, a pipe or a socket.
    Other,
}

/// All of it, by paths.
pub(super) type Entries = BTreeMap<String, Entry>;

/// All of it before somebody was given a right.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Snapshot {
    /// What there was.
    pub(super) entries: Entries,
    /// What was not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cut: Option<String>,
}

impl Snapshot {
    /// The text of a file.
    pub(super) fn text(&self, path: &str) -> &str {
        text(&self.entries, path)
    }
}

/// The text of a file; nothing if it is not there, or is no text.
pub(super) fn text<'a>(entries: &'a Entries, path: &str) -> &'a str {
    match entries.get(path).map(|entry| &entry.content) {
        Some(Content::Text(text)) => text,
        _ => "",
    }
}

impl Entry {
    /// Whether two are the same, but for what a change of them is.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.has_content_of(other) && self.is_permitted_like(other)
    }

    /// Whether the content of two is the same.
    pub(super) fn has_content_of(&self, other: &Self) -> bool {
        self.content == other.content
    }

    /// Whether the same people may do the same with two. The mode of a link says nothing.
    pub(super) fn is_permitted_like(&self, other: &Self) -> bool {
        let is_link = |entry: &Self| matches!(entry.content, Content::Link(_));
        (is_link(self) && is_link(other))
            || (self.owner == other.owner && self.access_list == other.access_list)
    }
}
