//! A request: who asks.

use chrono::{DateTime, Utc};
use lapse_cluster::clock;
use lapse_crds::AccessRequestSpec;

use super::draft::{Draft, nonce};
use crate::admission::{Admission, Admitted, NotAdmitted, Request, caller};
use crate::keys::Keys;

/// Stamps and signs a request.
pub(crate) fn request(admission: &Admission, request: &Request) -> Result<Admitted, NotAdmitted> {
    stamp(request, &*admission.keys()?, clock::now(), nonce()?)
}

pub(super) fn stamp(
    request: &Request,
    keys: &Keys,
    now: DateTime<Utc>,
    nonce: [u8; 16],
) -> Result<Admitted, NotAdmitted> {
    let Some(mut draft) = Draft::of(request) else {
        return Ok(Admitted { done: "left to the schema", ..Admitted::default() });
    };
    draft.set_identity("requester", &caller(&request.user_info)?)?;
    let (patch, done) = match draft.spec::<AccessRequestSpec>() {
        Some(_) => (draft.sign(keys, now, nonce)?, "stamped"),
        None => (draft.unsigned(), "left to the schema"),
    };
    Ok(Admitted { patch: Some(patch), warnings: Vec::new(), done })
}

#[cfg(test)]
mod tests;
