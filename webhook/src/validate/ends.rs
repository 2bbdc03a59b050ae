//! How many rights end by what is done to a policy: told to whoever does it, and never in the way.

use kube::core::DynamicObject;
use lapse_crds::{JitPolicy, PolicyMode};
use lapse_engine::policy::{PolicyState, Rule};

use super::policy::decode;
use crate::admission::Admission;
use crate::answer::Admitted;
use crate::asked::Request;

/// Lets a deletion through, and says what ends by it.
pub(crate) fn deletion(admission: &Admission, request: &Request) -> Admitted {
    let old = request.old_object.as_ref().and_then(|old| decode(old).ok());
    let warning = old.and_then(|old| given_by(admission, &old));
    Admitted { warnings: warning.into_iter().collect(), ..Admitted::default() }
}

/// What ends by storing a policy.
pub(super) fn by_storing(
    admission: &Admission,
    old: Option<&DynamicObject>,
    policy: &JitPolicy,
    state: &PolicyState,
) -> Option<String> {
    if let (Ok(Rule::Deny(ban)), PolicyMode::Enforce) = (&state.compiled, state.mode) {
        let touched = ban.touched(&admission.reader().index().live_grants());
        return match (touched.certain, touched.perhaps) {
            (0, 0) => None,
            (certain, 0) => Some(format!("{} that it denies", ends(certain))),
            (certain, perhaps) => Some(format!(
                "{} that it denies, and {perhaps} more if their holders are in its groups",
                ends(certain)
            )),
        };
    }
    let old = old.and_then(|old| decode(old).ok())?;
    let is_switched =
        old.spec.mode == PolicyMode::Enforce && policy.spec.mode != PolicyMode::Enforce;
    if is_switched { given_by(admission, &old) } else { None }
}

/// The rights that a policy gave and that are held.
fn given_by(admission: &Admission, policy: &JitPolicy) -> Option<String> {
    let metadata = &policy.metadata;
    let (name, uid) = metadata.name.as_deref().zip(metadata.uid.as_deref())?;
    let count = admission.reader().index().count_active(name, uid);
    (count > 0).then(|| format!("{} under it", ends(count)))
}

fn ends(count: usize) -> String {
    match count {
        1 => "this ends 1 active grant".to_owned(),
        count => format!("this ends {count} active grants"),
    }
}
