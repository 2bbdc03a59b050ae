//! Policies: one that cannot work is refused, one that is unwise is warned about.

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::join_all;
use kube::core::DynamicObject;
use kube::core::admission::Operation;
use lapse_crds::{JitPolicy, PolicyMode};
use lapse_engine::policy::{
    PolicyErrorReason, PolicyState, lint, lint_among, lint_namespaces, lint_roles,
    lint_workstations, misspelled,
};
use tokio::time::timeout;

use super::{approvers, ends};
use crate::admission::Admission;
use crate::answer::{Admitted, NotAdmitted};
use crate::asked::Request;

/// How long to look for what is only told.
const ADVICE: Duration = Duration::from_secs(1);

/// How many of the namespaces, and of the workstations, that a policy names are looked for.
const NAMED: usize = 32;

/// Admits a policy.
pub(crate) async fn policy(
    admission: &Admission,
    request: &Request,
) -> Result<Admitted, NotAdmitted> {
    let Some(object) = &request.object else {
        return Err(NotAdmitted::Failed("The API server sent no object".to_owned()));
    };
    if is_housekeeping(request, object) {
        return Ok(Admitted::default());
    }
    let policy = decode(object)?;
    let (reader, settings) = (admission.reader(), admission.reader().settings());
    let mut warnings = lint(&policy.spec);
    let state = PolicyState::of(&policy, settings);
    let roles = reader.named_roles(&policy.spec).boxed().await;
    match &state.defect {
        None => {}
        // A policy that gives nothing can always be stored: the off switch must work when the
        // installation was narrowed since.
        Some(error) if policy.spec.mode == PolicyMode::Disabled => {
            warnings.push(format!("it cannot be enabled as it is: {error}"));
        }
        Some(error) => {
            // Nobody is sent to widen the installation for a name that is misspelled.
            let of_role = error.reason == PolicyErrorReason::RoleNotBindable;
            let misspelled = of_role.then(|| misspelled(&roles, settings)).flatten();
            return Err(match misspelled {
                Some(message) => NotAdmitted::invalid("spec.targets", message),
                None => NotAdmitted::invalid_as_told(error.to_string()),
            });
        }
    }
    let names = policy.spec.targets.iter().filter_map(|target| target.kubernetes.as_ref());
    let names = names.filter_map(|targets| targets.namespaces.as_ref()).flat_map(|set| &set.names);
    let workstations = policy.spec.workstations.iter().flat_map(|workstations| &workstations.names);
    let workstations =
        workstations.take(NAMED).map(async |name| (name.clone(), reader.endpoint(name).await));
    let name = policy.metadata.name.as_deref().unwrap_or_default();
    let advice = async {
        tokio::join!(
            reader.namespaces_of(names.take(NAMED).map(String::as_str)),
            join_all(workstations),
            approvers::lint(admission, name, &policy.spec)
        )
    };
    // A policy that takes rights away must not wait for advice.
    if let Ok((namespaces, workstations, lacking)) = timeout(ADVICE, advice).await {
        warnings.extend(lint_namespaces(&namespaces));
        warnings.extend(lint_workstations(&workstations.into_iter().collect()));
        warnings.extend(lacking);
    }
    warnings.extend(lint_roles(&policy.spec, &roles, settings));
    // What cannot be looked up is no reason to warn.
    let others = reader.index().policies();
    warnings.extend(lint_among(&state, &others.found().cloned().unwrap_or_default()));
    let old = request.old_object.as_ref();
    warnings.extend(ends::by_storing(admission, old, &policy, &state));
    Ok(Admitted { patch: None, warnings, done: "compiled", ..Admitted::default() })
}

/// An update that leaves the spec alone, or that is part of a deletion. The installation may have
/// changed since the policy was made; its finalizers must go and its labels may change nevertheless.
fn is_housekeeping(request: &Request, object: &DynamicObject) -> bool {
    let old = request.old_object.as_ref();
    request.operation == Operation::Update
        && (object.metadata.deletion_timestamp.is_some()
            || old.is_some_and(|old| old.data.get("spec") == object.data.get("spec")))
}

pub(super) fn decode(object: &DynamicObject) -> Result<JitPolicy, NotAdmitted> {
    serde_json::to_value(object).and_then(serde_json::from_value).map_err(|error| {
        NotAdmitted::invalid("spec", format!("the policy cannot be read: {error}"))
    })
}
