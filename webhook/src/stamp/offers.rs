//! What policies offer whoever asks. It is asked by a request that is made as a dry run, with an annotation, and answered in
//! that annotation: who may ask for access need not be able to list policies, which would show what others may.

use lapse_crds::OFFERS;
use lapse_engine::policy::Offers;

use super::draft::Draft;
use crate::admission::Admission;
use crate::answer::{Admitted, NotAdmitted, known};
use crate::asked::Request;

/// Whether it is asked. A request that would be stored is no question.
pub(super) fn is_asked(request: &Request) -> Result<bool, NotAdmitted> {
    let is_asked = Draft::of(request).is_some_and(|draft| draft.is_annotated(OFFERS));
    if is_asked && !request.dry_run {
        return Err(NotAdmitted::invalid(
            "metadata.annotations",
            format!(
                "{OFFERS} asks what policies offer you, and is answered in a server-side dry run alone; remove it, or \
                 use `kubectl jit policies`"
            ),
        ));
    }
    Ok(is_asked)
}

/// The answer: by what is known of policies, and of nobody but the caller.
pub(super) fn answer(admission: &Admission, request: &Request) -> Result<Admitted, NotAdmitted> {
    let (requester, left_out) = admission.stamp_of(&request.user_info)?;
    let policies = known(admission.reader().index().policies())?.unwrap_or_default();
    let offers = serde_json::to_string(&Offers::to(&requester, &policies))
        .map_err(|error| NotAdmitted::Failed(format!("Telling what is offered: {error}")))?;
    let mut draft = Draft::of(request)
        .ok_or_else(|| NotAdmitted::Failed("The API server sent no object".to_owned()))?;
    draft.set_identity("requester", &requester)?;
    draft.annotate(OFFERS, offers);
    let warnings = left_out.into_iter().collect();
    Ok(Admitted {
        patch: Some(draft.unsigned()),
        warnings,
        done: "told what is offered",
        ..Admitted::default()
    })
}
