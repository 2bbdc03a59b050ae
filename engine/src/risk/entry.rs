//! What an entry of the catalogue is.

use std::fmt;

/// How far a right lets its holder climb.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// To every right in the cluster, wherever the role is bound.
    Escalating,
    /// As far as the namespaces reach that it is held in: refused in the whole cluster and in
    /// protected namespaces, a warning in an ordinary one.
    EscalatingWide,
}

/// A page that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The title of the page.
    pub page: &'static str,
    /// The address of the page.
    pub address: &'static str,
    /// The title of the section; empty for the whole page.
    pub section: &'static str,
    /// What stands after the `#` of the section's address.
    pub anchor: &'static str,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { page, address, section, anchor } = self;
        if section.is_empty() {
            write!(f, "{page} ({address})")
        } else {
            write!(f, "{page}: {section} ({address}#{anchor})")
        }
    }
}

/// Rights that an entry looks for: each verb on each resource in each group.
///
/// The only verb `*` stands for whatever verbs the rule names, and a resource that ends in `/*` for
/// any of its subresources.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pattern {
    pub(super) groups: &'static [&'static str],
    pub(super) resources: &'static [&'static str],
    pub(super) verbs: &'static [&'static str],
}

/// The service accounts as which the holder of a right can act, among those that are within reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ActsAs {
    /// None.
    Nobody,
    /// Those that a rule names, or all if it names none.
    Named,
    /// All of them: names in the rule are not those of service accounts.
    Everybody,
}

/// One reason to think twice.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// What the holder can do, in a few words that follow "can".
    pub title: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Why, as a sentence that goes on.
    pub reason: &'static str,
    /// Who says so.
    pub source: Source,
    pub(super) patterns: &'static [Pattern],
    pub(super) acts_as: ActsAs,
}
