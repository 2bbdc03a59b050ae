//! The installation as seen from outside: what is wrong with it, and what to do.
//!
//! It changes nothing and reads no Secret: those of Lapse hold the keys with which it signs, which nobody's machine needs.

mod access;
mod admission;
mod cluster;
mod deployments;
mod endpoints;
mod ends;
mod finding;
mod gateway;
mod installation;
mod leader;
mod policies;
mod rights;
mod standing;
mod trust;

use anstyle::{AnsiColor, Style};
use futures::FutureExt as _;
use futures::future::{LocalBoxFuture, join_all};
use lapse_cluster::WebhookConfigurations;
use serde::Serialize;

use self::finding::{Examined, Finding, Outcome};
use crate::args::Format;
use crate::fault::Fault;
use crate::output::{Table, plain, say, whole};
use crate::session::Session;

/// What is printed as a whole.
#[derive(Serialize)]
struct Examination {
    namespace: String,
    checks: Vec<Finding>,
}

/// Looks at everything, and fails if there is a problem. `home`: the namespace of Lapse, if it is named.
pub(super) async fn run(
    session: &Session,
    format: Option<Format>,
    home: Option<&str>,
) -> Result<(), Fault> {
    let format = Format::of_values(format)?;
    // Without an API server there is nothing to look at, and one error says it.
    session
        .call("asking the API server for its version", session.client.apiserver_version())
        .await?;
    let examination = Box::pin(examine(session, home)).await;
    session.warnings();
    let problems = examination.checks.iter().filter(|found| found.outcome == Outcome::Problem);
    let problems = problems.count();
    match format {
        Some(format) => whole(&examination, format)?,
        None => print(&examination)?,
    }
    match problems {
        0 => Ok(()),
        1 => Err(Fault::Other("there is a problem".to_owned())),
        count => Err(Fault::Other(format!("there are {count} problems"))),
    }
}

async fn examine(session: &Session, home: Option<&str>) -> Examination {
    let webhooks = WebhookConfigurations::read(&session.client, session.limit);
    let webhooks = webhooks.await.map_err(Fault::from);
    let webhooks = &webhooks;
    let (installation, found) = installation::find(session, webhooks, home).await;
    let installation = &installation;
    let looks: [LocalBoxFuture<'_, Examined>; 14] = [
        cluster::supported(session).boxed_local(),
        cluster::definitions(session).boxed_local(),
        deployments::examine(session, installation).boxed_local(),
        admission::objects(session, installation, webhooks).boxed_local(),
        admission::answers(session).boxed_local(),
        trust::keys(session, installation).boxed_local(),
        rights::examine(session, installation).boxed_local(),
        leader::examine(session, installation).boxed_local(),
        gateway::examine(session, installation).boxed_local(),
        endpoints::examine(session, installation).boxed_local(),
        policies::examine(session).boxed_local(),
        ends::examine(session, installation).boxed_local(),
        standing::examine(session).boxed_local(),
        access::examine(session).boxed_local(),
    ];
    let mut all = join_all(looks).await;
    // What was read before, and what the answers to all of that told.
    all.extend([Ok(found), trust::bundles(session, webhooks), Ok(vec![leader::clock(session)])]);
    let checks = all.into_iter().flat_map(|examined| examined.unwrap_or_else(|found| vec![found]));
    let mut checks: Vec<Finding> = checks.collect();
    checks.sort_by_key(|found| found.check);
    Examination { namespace: installation.namespace.clone(), checks }
}

fn print(examination: &Examination) -> Result<(), Fault> {
    let mut table = Table::new(&["CHECK", "RESULT", "WHAT"]);
    for Finding { check, outcome, message, action } in &examination.checks {
        let style = style(*outcome);
        let result = format!("{style}{}{style:#}", outcome.word());
        table.row([format!("{check:?}"), result, plain(message)]);
        if let Some(action) = action {
            table.row([String::new(), String::new(), format!("→ {}", plain(action))]);
        }
    }
    for line in table.lines()? {
        say(&line)?;
    }
    Ok(())
}

fn style(outcome: Outcome) -> Style {
    match outcome {
        Outcome::Ok => AnsiColor::Green.on_default(),
        Outcome::Warning => AnsiColor::Yellow.on_default(),
        Outcome::Problem => AnsiColor::Red.on_default().bold(),
        Outcome::NotChecked => Style::new().dimmed(),
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::session;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_look_waits_as_long_as_people_say() {
        let examination = Box::pin(examine(&session(7, |_| None), None)).await;
        let unanswered = |found: &&Finding| found.message.contains("no answer within");
        let late: Vec<&str> =
            examination.checks.iter().filter(unanswered).map(|found| &*found.message).collect();
        assert!(late.len() > 10, "{late:#?}");
        assert!(late.iter().all(|told| told.ends_with("no answer within 7 s")), "{late:#?}");
    }
}
