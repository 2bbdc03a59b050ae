//! Why a request stands where it stands; or, offline, what would come of one.

mod activity;
mod known;
pub(super) mod offline;

use kube::api::ListParams;
use lapse_cluster::clock::now;
use lapse_crds::{Candidate, CheckStatus};

use super::found;
use crate::args::Format;
use crate::fault::Fault;
use crate::output::{Table, objects, plain, say};
use crate::session::Session;
use crate::story::{drift, history, sheet};

pub(super) async fn run(
    session: &Session,
    format: Option<Format>,
    name: &str,
) -> Result<(), Fault> {
    let request = found::request(session, name).await?;
    if let Some(format) = Format::of_objects(format) {
        return objects(vec![request], format, false);
    }
    let fields =
        format!("spec.request.name={}", request.metadata.name.as_deref().unwrap_or_default());
    let api = session.decisions(&session.namespace);
    let params = ListParams::default().fields(&fields);
    let decisions = session.call("listing decisions", api.list(&params)).await?.items;
    let grant = found::grant_on_host(session, &request).await;
    for line in sheet(&request, now()).into_iter().chain(grant.iter().flat_map(drift)) {
        say(&line)?;
    }
    let status = request.status.clone().unwrap_or_default();
    checks(&status.checks)?;
    candidates(&status.candidates)?;
    say("\nHistory")?;
    for line in history(&request, &decisions) {
        say(&format!("  {line}"))?;
    }
    activity::show(session, &request).await
}

fn checks(checks: &[CheckStatus]) -> Result<(), Fault> {
    if checks.is_empty() {
        return Ok(());
    }
    say("\nChecks")?;
    let mut table = Table::new(&["  CHECK", "OUTCOME", "MESSAGE"]);
    for check in checks {
        let name = format!("  {:?}", check.name);
        table.row([name, format!("{:?}", check.outcome), plain(&check.message)]);
    }
    table.print()
}

fn candidates(candidates: &[Candidate]) -> Result<(), Fault> {
    if candidates.is_empty() {
        return Ok(());
    }
    say("\nPolicies that did not decide")?;
    let mut table = Table::new(&["  POLICY", "WHY"]);
    for candidate in candidates {
        table.row([format!("  {}", plain(&candidate.policy)), plain(&candidate.reason)]);
    }
    table.print()
}
