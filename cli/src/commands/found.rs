//! Finding requests.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use lapse_crds::{AccessRequest, Grant, RequestPhase, Verdict, created_at};

use crate::args::{DryRun, Filter};
use crate::decide::{Saying, send};
use crate::fault::Fault;
use crate::foreign::{self, Strange};
use crate::offers::may_approve;
use crate::output::phase_of;
use crate::pages::Pages;
use crate::role::nearest;
use crate::session::Session;

/// How many decisions are tried at once.
const AT_ONCE: usize = 8;

/// One request by its name. If there is none, the error says which name is nearest.
pub(super) async fn request(session: &Session, name: &str) -> Result<AccessRequest, Fault> {
    let name = name.strip_prefix("accessrequest.lapse.dev/").unwrap_or(name);
    let api = session.requests();
    let found = foreign::get(session, &format!("reading request {name}"), &api, name).await;
    match found {
        Ok(known) => {
            if let Some(what) = known.strange() {
                let mut strange = Strange::default();
                strange.note_part(name, what);
                strange.tell(session).await;
            }
            Ok(known.object)
        }
        Err(fault) if fault.is_not_found() => {
            let all = list(session, &api, ListParams::default()).await.unwrap_or_default();
            let names: Vec<String> = all.iter().map(kube::ResourceExt::name_any).collect();
            let near = nearest(name, names.iter().map(String::as_str));
            let hint = near.map_or_else(
                || "`kubectl jit list` lists the requests there".to_owned(),
                |near| format!("did you mean {near}?"),
            );
            let namespace = &session.namespace;
            Err(Fault::Other(format!(
                "there is no request {name} in namespace {namespace}; {hint}"
            )))
        }
        Err(fault) => Err(fault),
    }
}

/// Whether a request is shown whole, which whoever approves relies on; the error is what it asks for beyond what is known here.
pub(super) async fn shown_whole(session: &Session, request: &AccessRequest) -> Result<(), Fault> {
    let (api, name) =
        (session.requests_of(&request.namespace().unwrap_or_default()), request.name_any());
    let known = foreign::get(session, &format!("reading request {name}"), &api, &name).await?;
    let Some(beyond) = known.beyond.first() else { return Ok(()) };
    let releases = foreign::releases(session).await;
    Err(Fault::Other(format!(
        "request {name} is not approved, as it asks for more than can be shown here ({beyond}): {releases}"
    )))
}

/// The Grant of a request for a host, if it has one and whoever asks may read it: it says what was changed there. To
/// who may not, the Endpoint says so.
pub(super) async fn grant_on_host(session: &Session, request: &AccessRequest) -> Option<Grant> {
    request.spec.target.endpoint.as_ref()?;
    let name = &request.status.as_ref()?.grant.as_ref()?.name;
    let api: Api<Grant> = Api::all(session.client.clone());
    session.call(format!("reading grant {name}"), api.get(name)).await.ok()
}

/// Requests by their names, and how many of the names mean none; each of those is told. Of a single name that is the error.
pub(super) async fn named(
    session: &Session,
    names: &[String],
) -> Result<(Vec<AccessRequest>, usize), Fault> {
    let mut requests = Vec::new();
    let mut failed = 0;
    for name in names {
        match request(session, name).await {
            Ok(request) => requests.push(request),
            Err(fault) if names.len() == 1 => return Err(fault),
            Err(fault) => {
                fault.tell();
                failed += 1;
            }
        }
    }
    Ok((requests, failed))
}

/// All requests of a list, the newest last.
pub(super) async fn list(
    session: &Session,
    api: &Api<AccessRequest>,
    params: ListParams,
) -> Result<Vec<AccessRequest>, Fault> {
    let mut all = Vec::new();
    let pages = Pages::of(session, "listing requests", api.clone(), params).passing_over();
    pages.each(|request| all.push(request)).await?;
    sort(&mut all);
    Ok(all)
}

/// The newest last.
pub(super) fn sort(requests: &mut [AccessRequest]) {
    requests.sort_by_key(|request| (created_at(&request.metadata), request.name_any()));
}

/// What a filter lets the API server select by.
pub(super) async fn fields(session: &Session, filter: Filter) -> Result<String, Fault> {
    let mut fields = Vec::new();
    if filter.mine {
        fields.push(format!("spec.requester.username={}", session.me().await?.username));
    }
    if filter.active {
        fields.push(format!("status.phase={}", RequestPhase::Active));
    }
    Ok(fields.join(","))
}

/// The requests that a filter lets through. Its parts narrow one another.
pub(super) async fn filtered(
    session: &Session,
    filter: Filter,
) -> Result<Vec<AccessRequest>, Fault> {
    let params = ListParams::default().fields(&fields(session, filter).await?);
    let mut found = list(session, &session.requests_in(filter.all_namespaces), params).await?;
    if filter.to_review {
        found.retain(awaits_review);
    }
    if filter.to_approve { approvable(session, found).await } else { Ok(found) }
}

/// Whether a request is an emergency that nobody has reviewed yet.
pub(super) fn awaits_review(request: &AccessRequest) -> bool {
    let review = request.status.as_ref().and_then(|status| status.review.as_ref());
    review.is_some_and(|review| review.outcome.is_none())
}

/// Whether a request waits for people.
pub(super) fn is_waiting(request: &AccessRequest) -> bool {
    let status = request.status.as_ref();
    let approval = status.and_then(|status| status.approval.as_ref());
    phase_of(request) == RequestPhase::Pending
        && approval.is_none_or(|approval| approval.waiting_for.is_some())
}

/// Those of the requests that would count an approval of ours. A policy says who may be an approver; whether that is so
/// here and now Lapse itself says, by a decision that is judged and not stored.
pub(super) async fn approvable(
    session: &Session,
    requests: Vec<AccessRequest>,
) -> Result<Vec<AccessRequest>, Fault> {
    let waiting = requests.into_iter().filter(is_waiting);
    let candidates: Vec<AccessRequest> = match asked_of_me(session).await? {
        Some(policies) => waiting.filter(|request| is_by(request, &policies)).collect(),
        None => waiting.collect(),
    };
    let saying = Saying::only(Verdict::Approve);
    let judged = stream::iter(candidates).map(async |request: AccessRequest| {
        match send(session, &saying.about(&request), DryRun::Server).await {
            Ok(_) => Ok(Some(request)),
            Err(fault) if fault.is_refusal() => Ok(None),
            Err(fault) => Err(fault),
        }
    });
    let found =
        judged.buffered(AT_ONCE).try_filter_map(async |found| Ok(found)).try_collect().await;
    // What was only tried warns of nothing.
    session.warnings();
    found
}

/// The names of the policies of which we may be an approver; `None` if we may not look.
async fn asked_of_me(session: &Session) -> Result<Option<Vec<String>>, Fault> {
    let api = session.policies();
    let all = session.call("listing policies", api.list(&ListParams::default())).await;
    let policies = match all {
        Err(fault) if fault.is_forbidden() => return Ok(None),
        other => other?.items,
    };
    let me = session.me().await?;
    let own = policies.into_iter().filter(|policy| may_approve(policy, &me));
    Ok(Some(own.map(|policy| policy.name_any()).collect()))
}

fn is_by(request: &AccessRequest, policies: &[String]) -> bool {
    let policy = request.status.as_ref().and_then(|status| status.policy.as_ref());
    policy.is_some_and(|policy| policies.contains(&policy.name))
}
