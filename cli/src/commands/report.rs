//! Who had what, when, why, approved by whom, and how it ended; with an audit log, what of it was used; with the record of hosts,
//! what was done there.
//!
//! It holds one page of Grants at a time. Of logs, which are read as streams, it holds a little for each Grant.

mod audit;
mod lines;
mod records;
mod row;
mod usage;
mod written;

use std::path::PathBuf;

use anstream::eprintln;
use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::Api;
use kube::api::ListParams;
use lapse_crds::{AccessRequest, Grant};

use self::audit::Used;
use self::row::Row;
use self::written::{More, Written};
use crate::args::{Format, Period};
use crate::fault::Fault;
use crate::pages::Pages;
use crate::session::Session;

/// How many requests are read at once.
const AT_ONCE: usize = 8;

pub(super) async fn run(
    session: &Session,
    format: Option<Format>,
    (namespace, period): (Option<&str>, Period),
    (audit, records): (&[PathBuf], &[PathBuf]),
    now: DateTime<Utc>,
) -> Result<(), Fault> {
    let more = More { usage: !audit.is_empty(), record: !records.is_empty() };
    let mut written = Written::new(format, more)?;
    let used = more.usage.then(|| audit::read(audit)).transpose()?;
    let done = more.record.then(|| records::read(records)).transpose()?;
    let since = period.since(now);
    let mut unread = 0;
    let api: Api<Grant> = Api::all(session.client.clone());
    let mut pages = Pages::of(session, "listing grants", api, ListParams::default()).passing_over();
    while let Some(page) = pages.next().await? {
        let is_of =
            |grant: &Grant| namespace.is_none_or(|name| grant.spec.request.namespace == name);
        let grants = page.into_iter().filter(|grant| is_of(grant) && bears(grant, since));
        let rows = stream::iter(grants).map(async |grant| {
            let request = request(session, &grant).await?;
            Ok::<_, Fault>((grant, request))
        });
        let mut rows = std::pin::pin!(rows.buffered(AT_ONCE));
        while let Some((grant, request)) = rows.try_next().await? {
            unread += usize::from(matches!(request, Request::Forbidden));
            let used = used.as_ref().map(|used| used.by(&grant));
            let done = done.as_ref().map(|done| done.by(&grant));
            written.row(&Row::of(&grant, request.found(), (used, done)))?;
        }
    }
    written.end()?;
    if unread > 0 {
        eprintln!(
            "The reasons of {unread} are left out: you may not read their requests; ask for ClusterRole lapse:auditor."
        );
    }
    tell(used.as_ref());
    Ok(())
}

/// What the audit log lacks.
fn tell(used: Option<&Used>) {
    let Some(used) = used else { return };
    if used.passed_over > 0 {
        eprintln!("{} lines of the audit log are not events, and were skipped.", used.passed_over);
    }
    if used.events > 0 && used.is_empty() {
        eprintln!(
            "No event of the audit log was allowed by a binding of Lapse: it is of another time or cluster, or its level \
             is None for these requests."
        );
    }
}

/// Whether a right was held at some time since then.
fn bears(grant: &Grant, since: DateTime<Utc>) -> bool {
    let ended = grant.status.as_ref().and_then(|status| status.ended_at);
    ended.is_none_or(|ended| ended.time() >= since)
}

/// The request of a Grant, which may be gone: retention deletes it by itself.
enum Request {
    Found(Box<AccessRequest>),
    Gone,
    Forbidden,
}

impl Request {
    fn found(&self) -> Option<&AccessRequest> {
        match self {
            Self::Found(request) => Some(request),
            Self::Gone | Self::Forbidden => None,
        }
    }
}

async fn request(session: &Session, grant: &Grant) -> Result<Request, Fault> {
    let of = &grant.spec.request;
    let api: Api<AccessRequest> = Api::namespaced(session.client.clone(), &of.namespace);
    match session.call("reading a request", api.get_opt(&of.name)).await {
        Ok(Some(request)) if request.metadata.uid.as_ref() == Some(&of.uid) => {
            Ok(Request::Found(Box::new(request)))
        }
        // Another may have its name by now.
        Ok(_) => Ok(Request::Gone),
        Err(fault) if fault.is_forbidden() => Ok(Request::Forbidden),
        Err(fault) => Err(fault),
    }
}
