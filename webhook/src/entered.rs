//! Which pods the holder of a right goes into (`kubectl exec`, `attach`, `port-forward`) is recorded in the Grant:
//! Kubernetes lets what is open go on after the end, so whoever looks into it later, and whatever closes it, must know
//! where.
//!
//! The API server asks only for those who hold a right. Where the namespace opted in, nothing is opened that is not
//! recorded; elsewhere the record gives way.

use std::time::Duration;

use kube::Api;
use kube::api::{Patch, PatchParams};
use lapse_cluster::{CallError, bounded, clock};
use lapse_crds::{Grant, MOST_ENTERED, StreamKind};
use lapse_engine::Read;
use lapse_engine::clipped;
use lapse_engine::session::{Entered, Entry, ends_streams, enter, entered_under, may_be_disguised};
use lapse_engine::summary::GrantSummary;
use serde_json::json;

use crate::admission::{Admission, caller};
use crate::answer::{Admitted, NotAdmitted, known};
use crate::asked::Request;

/// How often a record is tried whose Grant somebody else wrote meanwhile, and how long to wait in between.
const TRIES: u32 = 8;
const PAUSE: Duration = Duration::from_millis(50);

/// Records what somebody opens to a pod, in each right of theirs that is held there.
pub(crate) async fn record(
    admission: &Admission,
    request: &Request,
    tracked: bool,
) -> Result<Admitted, NotAdmitted> {
    let caller = caller(&request.user_info)?;
    let Some(stream) = stream(request) else { return Ok(Admitted::default()) };
    let entry = Entry {
        namespace: request.namespace.clone().unwrap_or_default(),
        pod: request.name.clone(),
        username: caller.username.clone(),
        stream,
        tracked,
    };
    let is_enough = |held: &[_]| entered_under(held, &entry.namespace).next().is_some();
    let held = known(admission.held(&caller, is_enough).await)?.unwrap_or_default();
    if held.is_empty() && !may_be_disguised(&caller) {
        return Err(NotAdmitted::of_a_holder_not_seen(&caller.username));
    }
    for grant in entered_under(&held, &entry.namespace) {
        write(admission, grant, &entry).await?;
    }
    Ok(Admitted { done: "recorded which pod is entered", ..Admitted::default() })
}

/// The same where the namespace did not opt in: what cannot be recorded is said, and keeps nobody out.
pub(crate) async fn record_if(admission: &Admission, request: &Request) -> Admitted {
    match record(admission, request, false).await {
        Ok(admitted) => admitted,
        Err(why) => Admitted {
            audit: vec![("unrecorded", clipped(&why.to_string()))],
            done: "could not record which pod is entered",
            ..Admitted::default()
        },
    }
}

fn stream(request: &Request) -> Option<StreamKind> {
    match request.sub_resource.as_deref()? {
        "exec" => Some(StreamKind::Exec),
        "attach" => Some(StreamKind::Attach),
        "portforward" => Some(StreamKind::PortForward),
        _ => None,
    }
}

async fn write(
    admission: &Admission,
    summary: &GrantSummary,
    entry: &Entry,
) -> Result<(), NotAdmitted> {
    let client = admission.reader().client();
    let grants: Api<Grant> = Api::all(client.clone());
    let failed = |error: CallError| NotAdmitted::Failed(error.to_string());
    for _ in 0..TRIES {
        let grant = match admission.reader().grant(&summary.name).await {
            Read::Found(grant) if grant.metadata.uid.as_deref() == Some(&*summary.uid) => grant,
            // It is gone, and what it allowed with it.
            Read::Found(_) | Read::Missing => return over(summary, entry),
            Read::Failed(why) => return Err(NotAdmitted::Failed(why)),
        };
        let all = match enter(&grant, entry, clock::now()) {
            Entered::Known => return Ok(()),
            Entered::New(all) => all,
            Entered::Over => return over(summary, entry),
            Entered::Full => return full(&grant, entry),
        };
        // With the version that was read: the controller, which deletes what was entered, misses nothing.
        let record = json!({
            "metadata": {"resourceVersion": grant.metadata.resource_version},
            "status": {"entered": all},
        });
        let what = format!("recording in Grant {} that {} is entered", summary.name, entry.pod);
        let (params, record) = (PatchParams::default(), Patch::Merge(&record));
        let written = grants.patch_status(&summary.name, &params, &record);
        match bounded(what, written).await {
            Err(error) if error.is_conflict() => tokio::time::sleep(PAUSE).await,
            Err(error) if error.is_not_found() => return over(summary, entry),
            Err(error) => return Err(failed(error)),
            // A definition that is older than this program leaves out what it does not know.
            Ok(written) => {
                let is_there = written.status.is_some_and(|status| !status.entered.is_empty());
                return if is_there { Ok(()) } else { Err(is_older(&summary.name)) };
            }
        }
    }
    Err(is_written(&summary.name))
}

/// What is recorded may be needed to close it.
fn over(grant: &GrantSummary, entry: &Entry) -> Result<(), NotAdmitted> {
    if entry.tracked { Err(has_ended(&grant.name, &grant.subject.name, entry)) } else { Ok(()) }
}

fn has_ended(grant: &str, holder: &str, entry: &Entry) -> NotAdmitted {
    NotAdmitted::Forbidden(format!(
        "the access of {holder} in {} has just ended (Grant {grant}). If other access lets you enter pod {}, try again",
        entry.namespace, entry.pod
    ))
}

fn full(grant: &Grant, entry: &Entry) -> Result<(), NotAdmitted> {
    let is_needed = entry.tracked && ends_streams(grant.spec.session.as_ref());
    let name = grant.metadata.name.as_deref().unwrap_or_default();
    if is_needed { Err(has_no_room(name)) } else { Ok(()) }
}

fn has_no_room(grant: &str) -> NotAdmitted {
    NotAdmitted::Forbidden(format!(
        "you entered {MOST_ENTERED} pods under Grant {grant}, which is as many as it can record, and its policy \
         deletes at the end every pod that you enter. End it, and request another"
    ))
}

fn is_written(grant: &str) -> NotAdmitted {
    NotAdmitted::Failed(format!("Grant {grant} is being changed all the time; try again"))
}

fn is_older(grant: &str) -> NotAdmitted {
    NotAdmitted::Failed(format!(
        "which pod is entered was not stored in Grant {grant}: the CRD of Grants is older than Lapse. Apply the one of \
         the chart"
    ))
}

/// All that is said to whoever may not go into a pod.
#[cfg(test)]
pub(crate) fn refusals(grant: &str) -> [NotAdmitted; 4] {
    let entry = Entry {
        namespace: "shop".to_owned(),
        pod: "web".to_owned(),
        username: "alice".to_owned(),
        stream: StreamKind::Exec,
        tracked: true,
    };
    [has_ended(grant, "alice", &entry), has_no_room(grant), is_written(grant), is_older(grant)]
}
