//! Several hosts at once: a request for each, and their end in one action.

use std::collections::BTreeSet;
use std::time::Duration;

use anstream::eprintln;
use chrono::{DateTime, Utc};
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use lapse_cluster::clock::now;
use lapse_crds::{AccessRequest, Conditions as _, Endpoint, GrantDuration};

use super::{ask, found, say};
use crate::args::{Ask, AskFor, ByNameOrBatch, DryRun, Format, Wait};
use crate::decide::Saying;
use crate::fault::Fault;
use crate::follow::{TICK, stays, until_active};
use crate::interrupt::Interrupts;
use crate::output::{Table, objects, phase_of, plain};
use crate::pages::Pages;
use crate::session::Session;
use crate::story;

/// The label of requests that were made together.
const BATCH: &str = "lapse.dev/batch";

/// How requests that are made together are called.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names<'a> {
    /// What the name of each begins with.
    pub(super) name: Option<&'a str>,
    /// The batch.
    pub(super) batch: Option<&'a str>,
}

/// Makes a request for each host. One that fails keeps no other.
pub(super) async fn request(
    session: &Session,
    ask: &Ask,
    Names { name, batch }: Names<'_>,
    format: Option<Format>,
    (wait, dry_run): (Wait, DryRun),
) -> Result<(), Fault> {
    let hosts = hosts(session, &ask.what).await?;
    let batch = batch.or(name).map_or_else(|| made_up(now()), ToOwned::to_owned);
    let whole = Format::of_objects(format);
    // From now on, whoever interrupts is told what was made by then.
    let mut interrupts = Interrupts::new()?;
    let (mut made, mut failed) = (Vec::new(), 0);
    for host in &hosts {
        let own = Ask {
            what: host.as_deref().map_or(ask.what.clone(), |host| ask.what.on(host)),
            ..ask.clone()
        };
        let one = one(session, &own, (name, host.as_deref()), &batch, (whole, dry_run));
        let outcome = tokio::select! {
            outcome = Box::pin(one) => outcome,
            by = interrupts.next() => {
                let told = stopped(made.len(), hosts.len(), &batch, dry_run);
                return Err(Fault::Interrupted { by, told });
            }
        };
        match outcome {
            Ok(request) => made.push(request),
            Err(fault) => {
                fault.tell();
                failed += 1;
            }
        }
    }
    if dry_run == DryRun::None && !made.is_empty() {
        eprintln!("{}", gathered(made.len(), &batch));
    }
    if wait.wait && dry_run == DryRun::None {
        let left = |request: &AccessRequest| stays(request, now());
        for request in &mut made {
            match until_active(session, request, wait.timeout, &mut interrupts, left).await {
                Ok(active) => *request = active,
                Err(fault @ Fault::Interrupted { .. }) => return Err(fault),
                Err(fault) => {
                    fault.tell();
                    failed += 1;
                }
            }
        }
    }
    if let Some(format) = whole {
        objects(made, format, true)?;
    }
    if failed > 0 { Err(Fault::Some { failed, all: hosts.len() }) } else { Ok(()) }
}

/// Makes one of them.
async fn one(
    session: &Session,
    ask: &Ask,
    (name, host): (Option<&str>, Option<&str>),
    batch: &str,
    (whole, dry_run): (Option<Format>, DryRun),
) -> Result<AccessRequest, Fault> {
    let name = name.map(|name| host.map_or(name.to_owned(), |host| format!("{name}-{host}")));
    let mut draft = ask::draft(session, ask, name.as_deref()).await?;
    draft.labels_mut().insert(BATCH.to_owned(), batch.to_owned());
    let made = ask::create(session, &draft, ask.from_host, dry_run).await?;
    if whole.is_some() {
        session.tell_warnings();
    } else {
        let at_once = Wait { wait: false, timeout: None };
        ask::tell(session, &made, None, at_once, dry_run).await?;
    }
    Ok(made)
}

/// The hosts that are meant, each once; one that is none if no host is.
async fn hosts(session: &Session, what: &AskFor) -> Result<Vec<Option<String>>, Fault> {
    let Some(selector) = &what.endpoint_selector else {
        let named: BTreeSet<&String> = what.endpoint.iter().collect();
        let named: Vec<Option<String>> = named.into_iter().cloned().map(Some).collect();
        return Ok(if named.is_empty() { vec![None] } else { named });
    };
    let api: Api<Endpoint> = Api::all(session.client.clone());
    let params = ListParams::default().labels(selector);
    let mut found = Vec::new();
    let pages = Pages::of(session, "listing Endpoints", api, params).passing_over();
    pages.each(|endpoint| found.push(Some(endpoint.name_any()))).await?;
    if found.is_empty() { Err(Fault::Other(no_hosts(selector))) } else { Ok(found) }
}

/// Which requests are ended together, as a selector of labels; `None` if they are named.
pub(super) fn selector(which: &ByNameOrBatch) -> Option<String> {
    let batch = which.batch.as_ref().map(|batch| format!("{BATCH}={batch}"));
    batch.or_else(|| which.selector.clone())
}

/// Ends all of one's own with these labels, and waits until their access is gone; lists where it is not, and why.
pub(super) async fn end(
    session: &Session,
    format: Option<Format>,
    selector: &str,
    saying: &Saying,
    (dry_run, timeout): (DryRun, GrantDuration),
) -> Result<(), Fault> {
    let own = format!("spec.requester.username={}", session.me().await?.username);
    let params = ListParams::default().labels(selector).fields(&own);
    let mut requests = found::list(session, &session.requests(), params.clone()).await?;
    requests.retain(|request| !phase_of(request).is_terminal());
    if requests.is_empty() {
        eprintln!("{}", nothing(&session.namespace, selector));
        return Ok(());
    }
    let said = say::of_each(session, format, &requests, saying, dry_run, 0).await;
    if dry_run != DryRun::None {
        return said;
    }
    let left = until_gone(session, &params, &requests, timeout).await?;
    if left.is_empty() {
        return said;
    }
    let mut table = Table::new(&["NAME", "TARGET", "WHY"]);
    for request in &left {
        let why = why(request, on_host(session, request).await);
        table.row([request.name_any(), story::target(request), why]);
    }
    for line in table.lines()? {
        eprintln!("{line}");
    }
    Err(Fault::Other(not_gone(left.len(), requests.len())))
}

/// Waits until the access of all of these is gone, and says how far that is; those of which it is not in time.
async fn until_gone(
    session: &Session,
    params: &ListParams,
    requests: &[AccessRequest],
    timeout: GrantDuration,
) -> Result<Vec<AccessRequest>, Fault> {
    let ended: BTreeSet<Option<String>> = requests.iter().map(kube::ResourceExt::uid).collect();
    let (mut interrupts, mut told) = (Interrupts::new()?, None);
    let limit = tokio::time::sleep(Duration::from_secs(timeout.seconds().into()));
    let mut limit = std::pin::pin!(limit);
    loop {
        let mut left = found::list(session, &session.requests(), params.clone()).await?;
        left.retain(|one| ended.contains(&one.uid()) && !phase_of(one).is_terminal());
        let gone = requests.len() - left.len();
        if told != Some(gone) {
            eprintln!("{}", progress(gone, requests.len()));
            told = Some(gone);
        }
        if left.is_empty() {
            return Ok(left);
        }
        tokio::select! {
            () = tokio::time::sleep(TICK) => {}
            () = &mut limit => return Ok(left),
            by = interrupts.next() => {
                return Err(Fault::Interrupted { by, told: interrupted() });
            }
        }
    }
}

/// What the host says of the end of a request, if it says anything.
async fn on_host(session: &Session, request: &AccessRequest) -> Option<String> {
    let host = &request.spec.target.endpoint.as_ref()?.name;
    let api: Api<Endpoint> = Api::all(session.client.clone());
    let found = session.call(format!("reading Endpoint {host}"), api.get(host)).await.ok()?;
    let uid = request.uid()?;
    let mut orders = found.status?.orders.into_iter();
    orders.find(|order| order.request_uid == uid)?.message
}

/// Why the access of a request is not gone yet.
fn why(request: &AccessRequest, on_host: Option<String>) -> String {
    let status = request.status.as_ref();
    let ended = status.and_then(|status| status.conditions.condition("Ended"));
    let said = ended.map(|ended| ended.message.clone()).filter(|said| !said.is_empty());
    let said = on_host.map(|said| format!("its host says: {said}")).or(said);
    plain(&said.unwrap_or_else(|| "nobody has looked at its end yet".to_owned()))
}

/// A name that nobody has by chance.
fn made_up(now: DateTime<Utc>) -> String {
    now.format("batch-%Y%m%d-%H%M%S-%3f").to_string()
}

fn gathered(count: usize, batch: &str) -> String {
    let requests =
        if count == 1 { "1 request is".to_owned() } else { format!("{count} requests are") };
    format!("{requests} the batch {batch}: `kubectl jit end --batch {batch}` ends all of it.")
}

/// What was made until somebody interrupted it: one more may have been under way.
fn stopped(made: usize, all: usize, batch: &str, dry_run: DryRun) -> String {
    match dry_run {
        DryRun::None => format!(
            "interrupted; {made} of {all} requests were made, and perhaps one more: `kubectl jit end --batch {batch}` ends all of \
             them"
        ),
        DryRun::Client | DryRun::Server => "interrupted; nothing was requested".to_owned(),
    }
}

fn no_hosts(selector: &str) -> String {
    format!(
        "no Endpoint has the labels {selector}: `kubectl get endpoints.lapse.dev --show-labels` lists them"
    )
}

fn nothing(namespace: &str, selector: &str) -> String {
    format!("No request of yours in namespace {namespace} with {selector} is open or active.")
}

fn progress(gone: usize, all: usize) -> String {
    format!("{gone} of {all} are gone")
}

fn not_gone(left: usize, all: usize) -> String {
    format!(
        "the access of {left} of {all} is not gone yet; it ends by itself, at its time at the latest"
    )
}

fn interrupted() -> String {
    "interrupted; what was ended ends all the same".to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn request(status: Value) -> AccessRequest {
        let mut request = json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessRequest",
            "metadata": {"name": "fix-web-1", "uid": "u-1"},
            "spec": {"target": {"endpoint": {"name": "web-1", "account": {"action": "Provision"}}}},
        });
        request["status"] = status;
        serde_json::from_value(request).unwrap()
    }

    #[test]
    fn what_is_said_of_a_batch() {
        let now = DateTime::UNIX_EPOCH;
        let unverified = json!({"phase": "Active", "conditions": [{
            "type": "Ended", "status": "False", "reason": "Unverified", "message": "Access is being revoked.",
            "lastTransitionTime": "2026-11-21T22:00:00Z",
        }]});
        let said = [
            made_up(now),
            gathered(1, "outage-17"),
            gathered(5, "outage-17"),
            stopped(2, 5, "outage-17", DryRun::None),
            stopped(2, 5, "outage-17", DryRun::Server),
            no_hosts("role=web"),
            nothing("shop", "lapse.dev/batch=outage-17"),
            progress(3, 5),
            not_gone(2, 5),
            interrupted(),
            why(&request(unverified.clone()), None),
            why(&request(unverified), Some("/home/al cannot be removed:\ndevice busy".to_owned())),
            why(&request(json!({"phase": "Active"})), None),
        ];
        insta::assert_snapshot!(said.join("\n"), @r"
        batch-19700101-000000-000
        1 request is the batch outage-17: `kubectl jit end --batch outage-17` ends all of it.
        5 requests are the batch outage-17: `kubectl jit end --batch outage-17` ends all of it.
        interrupted; 2 of 5 requests were made, and perhaps one more: `kubectl jit end --batch outage-17` ends all of them
        interrupted; nothing was requested
        no Endpoint has the labels role=web: `kubectl get endpoints.lapse.dev --show-labels` lists them
        No request of yours in namespace shop with lapse.dev/batch=outage-17 is open or active.
        3 of 5 are gone
        the access of 2 of 5 is not gone yet; it ends by itself, at its time at the latest
        interrupted; what was ended ends all the same
        Access is being revoked.
        its host says: /home/al cannot be removed: device busy
        nobody has looked at its end yet
        ");
    }

    #[test]
    fn what_is_ended_together_has_labels_in_common() {
        let which = |selector: Option<&str>, batch: Option<&str>| ByNameOrBatch {
            names: vec![],
            selector: selector.map(ToOwned::to_owned),
            batch: batch.map(ToOwned::to_owned),
        };
        let expected = Some("lapse.dev/batch=outage-17".to_owned());
        assert_eq!(selector(&which(None, Some("outage-17"))), expected);
        assert_eq!(selector(&which(Some("team=shop"), None)).as_deref(), Some("team=shop"));
        assert_eq!(selector(&which(None, None)), None);
    }
}
