//! What exactly the role of a request allows. It is asked by a request that is made as a dry run, with an annotation, and answered
//! in that annotation: who may ask for a role need not be able to read roles, which would show all of them. Of a role that no policy
//! would give to whoever asks nothing is told.

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, PatchOperation};
use lapse_crds::ALLOWS;
use lapse_engine::Read;
use lapse_engine::request::Foreseen;
use lapse_engine::role::RoleRules;
use serde_json::Value;

use super::draft::Draft;
use crate::answer::{Admitted, NotAdmitted};
use crate::asked::Request;

/// Whether it is asked. A request that would be stored is no question.
pub(super) fn is_asked(request: &Request) -> Result<bool, NotAdmitted> {
    let is_asked = Draft::of(request).is_some_and(|draft| draft.is_annotated(ALLOWS));
    if is_asked && !request.dry_run {
        return Err(NotAdmitted::invalid(
            "metadata.annotations",
            format!(
                "{ALLOWS} asks what the role would allow, and is answered only in a server-side dry run; remove it, or \
                 use `kubectl jit can-i`"
            ),
        ));
    }
    Ok(is_asked)
}

/// Adds the answer, if the request would get the role. Its size is that of what an approval keeps; of a larger role it is an empty
/// list.
pub(super) fn answer(
    admitted: &mut Admitted,
    foreseen: &Foreseen,
    role: &Read<RoleRules>,
) -> Result<(), NotAdmitted> {
    let (Foreseen::Waiting { .. } | Foreseen::Given { .. }, Read::Found(role)) = (foreseen, role)
    else {
        return Ok(());
    };
    let text = serde_json::to_string(&role.to_keep())
        .map_err(|error| NotAdmitted::Failed(format!("Stamping {ALLOWS}: {error}")))?;
    let path = PointerBuf::from_tokens(["metadata", "annotations", ALLOWS]);
    let told = PatchOperation::Add(AddOperation { path, value: Value::String(text) });
    admitted.patch.get_or_insert_default().0.push(told);
    Ok(())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::rbac::v1::PolicyRule;
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::testing::{self, access_request};

    fn asking() -> Value {
        let mut object = access_request();
        object["metadata"]["annotations"] = json!({ALLOWS: ""});
        object
    }

    #[test]
    fn the_question_is_answered_in_a_dry_run_alone() {
        let asked = |dry_run: bool| testing::request(&asking(), &json!({"dryRun": dry_run}));
        let refused = is_asked(&asked(false)).unwrap_err().to_string();
        assert_eq!(
            refused,
            "lapse.dev/allows asks what the role would allow, and is answered only in a server-side dry run; remove it, \
             or use `kubectl jit can-i`"
        );
        assert!(is_asked(&asked(true)).unwrap());
        let other = testing::request(&access_request(), &json!({"dryRun": true}));
        assert!(!is_asked(&other).unwrap());
    }

    fn waiting() -> Foreseen {
        Foreseen::Waiting {
            policy: "shop-debug".to_owned(),
            whom: "1 of group managers".to_owned(),
        }
    }

    fn denied() -> Foreseen {
        Foreseen::Denied { why: "No policy offers it.".to_owned() }
    }

    fn role() -> Read<RoleRules> {
        let rule = PolicyRule {
            api_groups: Some(vec![String::new()]),
            resources: Some(vec!["pods".to_owned()]),
            verbs: vec!["get".to_owned()],
            ..PolicyRule::default()
        };
        Read::Found(RoleRules::of_cluster_role(vec![rule]))
    }

    const RULES: &str = r#"[{"rules":[{"apiGroups":[""],"resources":["pods"],"verbs":["get"]}]}]"#;

    #[rstest]
    #[case::of_what_it_would_get(waiting(), role(), RULES)]
    #[case::of_what_nobody_offers(denied(), role(), "")]
    #[case::of_what_is_gone(waiting(), Read::Missing, "")]
    #[case::of_what_cannot_be_read(waiting(), Read::Failed("no answer".to_owned()), "")]
    fn a_role_is_told_to_whom_it_would_be_given(
        #[case] foreseen: Foreseen,
        #[case] role: Read<RoleRules>,
        #[case] told: &str,
    ) {
        let mut admitted = Admitted::default();
        answer(&mut admitted, &foreseen, &role).unwrap();
        let mut object = asking();
        json_patch::patch(&mut object, &admitted.patch.unwrap_or_default()).unwrap();
        assert_eq!(object["metadata"]["annotations"][ALLOWS], told);
    }
}
