//! A risk in words: whole for the status of a request, short for a warning.

use super::{Finding, Place, Risk};

/// Clients cut warnings off after so many characters
/// (<https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#response>).
pub(super) const WARNING_LENGTH: usize = 256;

/// How many findings are told in full; the others are counted.
const TOLD: usize = 4;

/// How many characters the place may take in a short text, before namespaces are counted.
const PLACE_LENGTH: usize = 80;

impl Risk {
    /// Whether the role lets its holder climb, so that it is refused unless the policy says
    /// `allowEscalation`, and never approved automatically.
    #[must_use]
    pub fn escalates(&self) -> bool {
        !self.refusals.is_empty()
    }

    /// The same risk where the policy says `allowEscalation`: what would be refused is warned
    /// about.
    #[must_use]
    pub fn accepted(self) -> Self {
        let Self { mut refusals, warnings } = self;
        refusals.extend(warnings);
        Self { refusals: Vec::new(), warnings: refusals }
    }

    /// Why the role is refused, and what to do.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        let findings = told(&self.refusals)?;
        Some(format!(
            "This role allows privilege escalation. {findings} Request a role without these permissions, or request \
             under a policy with allowEscalation."
        ))
    }

    /// What an approver should know.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        Some(format!("This role is powerful. {}", told(&self.warnings)?))
    }

    /// Refusals and warnings together in at most 256 characters, for a warning of the API server:
    /// only what the holder can do, and all places as one.
    #[must_use]
    pub fn brief(&self) -> Option<String> {
        let findings = self.refusals.iter().chain(&self.warnings).collect::<Vec<_>>();
        brief(&findings, |place| format!("In {place}, this role can "))
    }

    /// What is refused, as short, after words of one's own about the place.
    pub(crate) fn refusals_in_brief(&self, start: impl Fn(&str) -> String) -> Option<String> {
        brief(&self.refusals.iter().collect::<Vec<_>>(), start)
    }

    /// What is warned about, likewise.
    pub(crate) fn warnings_in_brief(&self, start: impl Fn(&str) -> String) -> Option<String> {
        brief(&self.warnings.iter().collect::<Vec<_>>(), start)
    }
}

fn brief(findings: &[&Finding], start: impl Fn(&str) -> String) -> Option<String> {
    let mut place = findings.first()?.place.clone();
    for finding in findings {
        place.join(&finding.place);
    }
    let mut titles: Vec<&str> = Vec::new();
    for title in findings.iter().map(|finding| finding.entry.title) {
        if !titles.contains(&title) {
            titles.push(title);
        }
    }
    Some(fit(&start(&short(&place)), &titles))
}

/// Findings as sentences, one for each place; the first few findings in full, then what they are
/// about.
fn told(findings: &[Finding]) -> Option<String> {
    let (full, more) = findings.split_at(findings.len().min(TOLD));
    let mut sentences: Vec<String> = full
        .chunk_by(|one, next| one.place == next.place)
        .map(|findings| {
            let place = findings.first().map(|finding| short(&finding.place)).unwrap_or_default();
            let rights: Vec<String> = findings.iter().map(right).collect();
            format!("In {place} it can {}.", rights.join("; "))
        })
        .collect();
    if !more.is_empty() {
        let titles: Vec<&str> = more.iter().map(|finding| finding.entry.title).collect();
        sentences.push(format!("It can also {}.", titles.join(", ")));
    }
    (!sentences.is_empty()).then(|| sentences.join(" "))
}

fn right(Finding { entry, held, place: _ }: &Finding) -> String {
    format!("{} ({held}): {}", entry.title, entry.reason)
}

/// A place in a few words.
pub(super) fn short(place: &Place) -> String {
    let words = place.to_string();
    match place {
        Place::Namespaces(names) if words.len() > PLACE_LENGTH => {
            format!("{} namespaces", names.len())
        }
        _ => words,
    }
}

/// As many parts as a warning has room for, then a count.
pub(super) fn fit(start: &str, parts: &[&str]) -> String {
    let text = |told: usize| {
        let first = parts.iter().take(told).copied().collect::<Vec<_>>().join(", ");
        match parts.len() - told {
            0 => format!("{start}{first}."),
            more => format!("{start}{first} and {more} more."),
        }
    };
    let fits = |told: &usize| text(*told).chars().count() <= WARNING_LENGTH;
    (1..=parts.len()).rev().find(fits).map_or_else(
        // A single name can be longer than a warning.
        || text(parts.len()).chars().take(WARNING_LENGTH - 1).chain(['…']).collect(),
        text,
    )
}
