//! Texts that come from outside, as what the API server answers does. They vary from try to try, by a port or a duration, and
//! a status that follows them would be written at each: the first text stands for as long as nothing else changes.

use lapse_crds::{CheckOutcome, CheckStatus, Condition};

/// The reason of a condition that waits for a look-up; its message says which, and what came of it.
pub(crate) const LOOKUP_FAILED: &str = "LookupFailed";
/// The reason of a condition that waits for something to be made; its message says what was answered.
pub(crate) const REFUSED: &str = "Refused";

/// Keeps the texts of conditions that say the same as before but for them.
pub(crate) fn keep_texts(before: &[Condition], conditions: &mut [Condition]) {
    for condition in conditions {
        let known = before.iter().find(|known| known.r#type == condition.r#type);
        let is_same = |known: &&Condition| {
            known.status == condition.status && known.reason == condition.reason
        };
        if [LOOKUP_FAILED, REFUSED].contains(&&*condition.reason)
            && let Some(known) = known.filter(is_same)
        {
            condition.message.clone_from(&known.message);
        }
    }
}

/// The same of checks that wait for a look-up.
pub(crate) fn keep_texts_of_checks(before: &[CheckStatus], checks: &mut [CheckStatus]) {
    let waits = |check: &CheckStatus| check.outcome == CheckOutcome::Pending;
    for check in checks.iter_mut().filter(|check| waits(check)) {
        let known = before.iter().find(|known| known.name == check.name && waits(known));
        if let Some(known) = known {
            check.message.clone_from(&known.message);
        }
    }
}
