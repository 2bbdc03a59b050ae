//! What must be made anew, and when.
//!
//! The signing key is replaced when its time is up, and then goes on for a moment. The path stays until it is
//! lost. Whoever must distrust both at once empties the Secret, or takes the public key out of its
//! `ConfigMap`. Certificates are renewed at two thirds of
//! their life. A new authority does not replace the serving certificate: the old one stays trusted
//! beside it, and the next renewal is signed by the new one, long after every API server has learned
//! of it. So no call ever meets a certificate that its API server does not know.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::certificate::Facts;
use super::material::Pair;
use super::{Standing, Stored};

/// What must be made anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one thing that is made anew, or not")]
pub(crate) struct Renewal {
    /// The signing key.
    pub(crate) signing: bool,
    /// Whether the key before signs for it: its time is up, and nobody distrusts it.
    pub(crate) succession: bool,
    /// The path.
    pub(crate) path: bool,
    /// The certificate authority.
    pub(crate) authority: bool,
    /// The serving certificate, for these names.
    pub(crate) serving: Option<BTreeSet<String>>,
    /// That of the gateway, for these names.
    pub(crate) gateway: Option<BTreeSet<String>>,
}

/// The names of the serving certificates.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names<'a> {
    /// Those of the webhook.
    pub(crate) webhook: &'a BTreeSet<String>,
    /// Those of the gateway; none where there is none.
    pub(crate) gateway: &'a BTreeSet<String>,
}

/// What must be made anew. `standing` is that of the stored signing key in the published keys.
pub(crate) fn next(
    stored: &Stored,
    standing: Standing,
    names: Names<'_>,
    now: DateTime<Utc>,
) -> Option<Renewal> {
    let authority = stored.authority.as_ref().map(|pair| &pair.facts);
    let previous = stored.previous_authority.as_ref().map(|(_, facts)| facts);
    let renewal = Renewal {
        // A key that is not published has signed nothing that holds: it is published before it is
        // used. So it was never in use, or somebody took it away because it leaked.
        signing: stored.signing.is_none() || standing != Standing::InForce,
        succession: standing == Standing::Due,
        path: stored.path.is_none(),
        authority: authority.is_none_or(|facts| is_due(facts, now)),
        serving: serving(stored.serving.as_ref(), authority, previous, names.webhook, now),
        gateway: serving(stored.gateway.as_ref(), authority, previous, names.gateway, now)
            .filter(|_| !names.gateway.is_empty()),
    };
    (renewal != Renewal::default()).then_some(renewal)
}

/// The names of the serving certificate that must be made, if one must be.
fn serving(
    stored: Option<&Pair>,
    authority: Option<&Facts>,
    previous: Option<&Facts>,
    names: &BTreeSet<String>,
    now: DateTime<Utc>,
) -> Option<BTreeSet<String>> {
    let Some(facts) = stored.map(|pair| &pair.facts) else {
        return Some(names.clone());
    };
    let trusted = |authority: Option<&Facts>| {
        authority.is_some_and(|it| it.subject == facts.issuer && it.not_after >= facts.not_after)
    };
    if is_due(facts, now) || !(trusted(authority) || trusted(previous)) {
        return Some(names.clone());
    }
    // Another replica may have been told other names: for both, or they would take turns for ever.
    (!names.is_subset(&facts.names)).then(|| names.union(&facts.names).cloned().collect())
}

/// Whether a certificate has used two thirds of its life, or is not valid yet.
fn is_due(facts: &Facts, now: DateTime<Utc>) -> bool {
    let life = facts.not_after - facts.not_before;
    now >= facts.not_before + life * 2 / 3 || now < facts.not_before
}
