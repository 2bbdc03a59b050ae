//! What policies offer whoever asks. It is asked by a request that is made as a dry run, with an annotation, and answered in
//! that annotation: who may ask for access need not be able to list policies, which would show what others may.

use lapse_crds::{Identity, OFFERS};
use lapse_engine::policy::{Offers, Policies};
use serde::Serialize;

use super::draft::Draft;
use crate::admission::Admission;
use crate::answer::{Admitted, NotAdmitted, known};
use crate::asked::Request;

/// What is answered: with the release, by which those of another release say what they do not understand.
#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    offers: Offers,
    release: &'static str,
}

/// Whether it is asked. A request that would be stored is no question.
pub(super) fn is_asked(request: &Request) -> Result<bool, NotAdmitted> {
    let is_asked = Draft::of(request).is_some_and(|draft| draft.is_annotated(OFFERS));
    if is_asked && !request.dry_run {
        return Err(NotAdmitted::invalid(
            "metadata.annotations",
            format!(
                "{OFFERS} asks what policies offer you, and is answered only in a server-side dry run; remove it, or \
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
    let told = tell(request, &requester, &policies)?;
    Ok(Admitted { warnings: left_out.into_iter().collect(), ..told })
}

fn tell(
    request: &Request,
    requester: &Identity,
    policies: &Policies,
) -> Result<Admitted, NotAdmitted> {
    let mut draft = Draft::of(request)
        .ok_or_else(|| NotAdmitted::Failed("The API server sent no object".to_owned()))?;
    draft.set_identity("requester", requester)?;
    let offers = Offers::to(requester, policies);
    draft.annotate_with(OFFERS, &Answer { offers, release: env!("CARGO_PKG_VERSION") })?;
    Ok(Admitted {
        patch: Some(draft.unsigned()),
        done: "told what is offered",
        ..Admitted::default()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing;

    #[test]
    fn the_question_is_answered_in_a_dry_run_alone() {
        let role = json!({"kind": "ClusterRole", "name": "offers"});
        let object = json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessRequest",
            "metadata": {"generateName": "offers-", "namespace": "shop", "annotations": {OFFERS: ""}},
            "spec": {"target": {"kubernetes": {"role": role}}},
        });
        let asked = |dry_run: bool| testing::request(&object, &json!({"dryRun": dry_run}));
        let refused = is_asked(&asked(false)).unwrap_err().to_string();
        assert_eq!(
            refused,
            "lapse.dev/offers asks what policies offer you, and is answered only in a server-side dry run; remove it, \
             or use `kubectl jit policies`"
        );
        assert!(is_asked(&asked(true)).unwrap());
        let told = tell(&asked(true), &Identity::default(), &Policies::default()).unwrap();
        assert_eq!(told.done, "told what is offered");
        let mut answer = object.clone();
        json_patch::patch(&mut answer, &told.patch.unwrap()).unwrap();
        let offers = &answer["metadata"]["annotations"][OFFERS];
        let release = env!("CARGO_PKG_VERSION");
        assert_eq!(*offers, format!(r#"{{"offers":[],"omitted":0,"release":"{release}"}}"#));
    }
}
