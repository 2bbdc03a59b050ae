//! Ending and reviewing, by name.

use kube::ResourceExt as _;
use lapse_crds::{AccessRequest, Verdict};

use super::found;
use crate::args::{DryRun, Format};
use crate::decide::{Saying, send};
use crate::fault::Fault;
use crate::output::{objects, say};
use crate::session::Session;
use crate::story;

/// Says the same of each of these requests; one that fails keeps no other.
pub(super) async fn run(
    session: &Session,
    format: Option<Format>,
    names: &[String],
    saying: &Saying,
    dry_run: DryRun,
) -> Result<(), Fault> {
    let (requests, failed) = found::named(session, names).await?;
    of_each(session, format, &requests, saying, dry_run, failed).await
}

/// The same, of requests as they were read. `failed` is how many were not found.
pub(super) async fn of_each(
    session: &Session,
    format: Option<Format>,
    requests: &[AccessRequest],
    saying: &Saying,
    dry_run: DryRun,
    mut failed: usize,
) -> Result<(), Fault> {
    let all = requests.len() + failed;
    let mut decisions = Vec::new();
    for request in requests {
        let sent = send(session, &saying.about(request), dry_run).await;
        session.tell_warnings();
        match sent {
            Ok(decision) => {
                if format.is_none() {
                    say(&done(session, request, saying, dry_run))?;
                }
                decisions.push(decision);
            }
            Err(fault) if all == 1 => return Err(fault),
            Err(fault) => {
                fault.tell();
                failed += 1;
            }
        }
    }
    if let Some(format) = format {
        let format = if format == Format::Wide { Format::Name } else { format };
        objects(decisions, format, all != 1)?;
    }
    if failed > 0 { Err(Fault::Some { failed, all }) } else { Ok(()) }
}

fn done(session: &Session, request: &AccessRequest, saying: &Saying, dry_run: DryRun) -> String {
    let whose = match saying.verdict {
        Verdict::End => String::new(),
        _ => format!(" of {}", story::requester(request)),
    };
    let how_long = saying.duration.map(|duration| format!(" for {duration}")).unwrap_or_default();
    let how = dry_run.suffix();
    let target = story::target(request);
    // What is elsewhere is named with where it is.
    let elsewhere = request.namespace().filter(|namespace| *namespace != session.namespace);
    let place = elsewhere.map(|namespace| format!("{namespace}/")).unwrap_or_default();
    let name = format!("{place}{}", request.name_any());
    format!("{name}{whose} {}{how_long}: {target}{how}", saying.done())
}
