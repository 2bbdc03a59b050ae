//! Where requests stand.

use anstream::eprintln;
use lapse_cluster::clock::now;

use super::found;
use crate::args::{Filter, Format};
use crate::fault::Fault;
use crate::output::{objects, phase_of, say};
use crate::session::Session;
use crate::story::{drift, remarks, sheet};

/// Shows one request, or all of ours that are not over.
pub(super) async fn run(
    session: &Session,
    format: Option<Format>,
    name: Option<&str>,
) -> Result<(), Fault> {
    let requests = if let Some(name) = name {
        vec![found::request(session, name).await?]
    } else {
        let mut mine = found::filtered(session, Filter { mine: true, ..Filter::default() }).await?;
        mine.retain(|request| !phase_of(request).is_terminal());
        mine
    };
    if let Some(format) = Format::of_objects(format) {
        return objects(requests, format, name.is_none());
    }
    if requests.is_empty() {
        let namespace = &session.namespace;
        eprintln!("You have no open request and no access in namespace {namespace}.");
    }
    for (place, request) in requests.iter().enumerate() {
        if place > 0 {
            say("")?;
        }
        // Of all of ours that are open nothing is compared yet.
        let grant = match name {
            Some(_) => found::grant_on_host(session, request).await,
            None => None,
        };
        let lines = sheet(request, now()).into_iter().chain(remarks(request));
        lines.chain(grant.iter().flat_map(drift)).try_for_each(|line| say(&line))?;
    }
    Ok(())
}
