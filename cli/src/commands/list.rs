//! Listing requests.

use anstream::eprintln;
use chrono::{DateTime, Utc};
use kube::ResourceExt as _;
use lapse_cluster::clock::now;
use lapse_crds::AccessRequest;

use super::found;
use crate::args::{Filter, Format};
use crate::fault::Fault;
use crate::output::{Table, objects, phase, phase_of, plain};
use crate::session::Session;
use crate::story;

pub(super) async fn run(
    session: &Session,
    format: Option<Format>,
    filter: Filter,
) -> Result<(), Fault> {
    let requests = found::filtered(session, filter).await?;
    if let Some(format) = Format::of_objects(format) {
        return objects(requests, format, true);
    }
    if requests.is_empty() {
        eprintln!("No requests found in {}.", session.place(filter.all_namespaces));
        return Ok(());
    }
    table(&requests, filter.all_namespaces, format == Some(Format::Wide), now()).print()
}

/// Requests as a table.
pub(super) fn table(
    requests: &[AccessRequest],
    all_namespaces: bool,
    is_wide: bool,
    now: DateTime<Utc>,
) -> Table {
    let namespace = all_namespaces.then_some("NAMESPACE");
    let more: &[&str] = if is_wide { &["POLICY", "TICKET", "REASON"] } else { &[] };
    let header = ["NAME", "PHASE", "REQUESTER", "TARGET", "WAITING-FOR", "TIME", "AGE"];
    let header: Vec<&str> =
        namespace.into_iter().chain(header).chain(more.iter().copied()).collect();
    let mut table = Table::new(&header);
    for request in requests {
        let mut row: Vec<String> =
            request.namespace().filter(|_| all_namespaces).into_iter().collect();
        row.extend([
            request.name_any(),
            phase(phase_of(request)),
            story::requester(request),
            story::target(request),
            story::waiting_for(request),
            story::time_left(request, now),
            story::age(request, now),
        ]);
        if is_wide {
            let policy = request.status.as_ref().and_then(|status| status.policy.as_ref());
            let text = |text: &Option<String>| plain(text.as_deref().unwrap_or_default());
            row.extend([
                policy.map_or_else(String::new, |policy| policy.name.clone()),
                text(&request.spec.ticket),
                text(&request.spec.reason),
            ]);
        }
        table.row(row);
    }
    table
}
