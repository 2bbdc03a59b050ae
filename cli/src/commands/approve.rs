//! Approving and denying, several at once, with what is being decided about.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal as _;

use anstream::eprintln;
use inquire::Confirm;
use kube::ResourceExt as _;
use kube::api::ListParams;
use lapse_cluster::clock::now;
use lapse_crds::{AccessRequest, Verdict};

use super::{allows, found, say};
use crate::args::{DryRun, Filter, Format, Several};
use crate::decide::Saying;
use crate::fault::Fault;
use crate::interrupt::Interrupt;
use crate::output::{number, phase_of};
use crate::session::Session;
use crate::story::{remarks, sheet};

pub(super) async fn run(
    session: &Session,
    format: Option<Format>,
    several: &Several,
    saying: &Saying,
    dry_run: DryRun,
) -> Result<(), Fault> {
    let which = &several.which;
    if !which.names.is_empty() {
        let (requests, failed) = found::named(session, &which.names).await?;
        let (requests, failed) = whole(session, requests, saying, failed).await?;
        show(session, &requests, saying).await;
        return say::of_each(session, format, &requests, saying, dry_run, failed).await;
    }
    let all_namespaces = several.all_namespaces;
    let requests = if let Some(selector) = &which.selector {
        let params = ListParams::default().labels(selector);
        let api = session.requests_in(all_namespaces);
        let mut found = found::list(session, &api, params).await?;
        found.retain(|request| is_open(request, saying.verdict));
        found
    } else {
        let filter = Filter { to_approve: true, all_namespaces, ..Filter::default() };
        found::filtered(session, filter).await?
    };
    if requests.is_empty() {
        eprintln!("No request waits for you in {}.", session.place(all_namespaces));
        return Ok(());
    }
    let (requests, failed) = whole(session, requests, saying, 0).await?;
    let shown = show(session, &requests, saying).await;
    if !several.yes && !requests.is_empty() {
        confirm(saying, &requests)?;
        stands(session, &requests, saying, &shown).await?;
    }
    say::of_each(session, format, &requests, saying, dry_run, failed).await
}

/// Those that can be shown whole: of another release's requests something may be missing, and nobody approves what they do not see.
/// Each other one is told; of a single one that is the error.
async fn whole(
    session: &Session,
    requests: Vec<AccessRequest>,
    saying: &Saying,
    mut failed: usize,
) -> Result<(Vec<AccessRequest>, usize), Fault> {
    if saying.verdict != Verdict::Approve {
        return Ok((requests, failed));
    }
    let all = requests.len() + failed;
    let mut whole = Vec::new();
    for request in requests {
        match found::shown_whole(session, &request).await {
            Ok(()) => whole.push(request),
            Err(fault) if all == 1 => return Err(fault),
            Err(fault) => {
                fault.tell();
                failed += 1;
            }
        }
    }
    Ok((whole, failed))
}

/// Whether a request that was found by its labels is one to say this about: access that is held is denied, and not approved.
fn is_open(request: &AccessRequest, verdict: Verdict) -> bool {
    match verdict {
        Verdict::Approve => found::is_waiting(request),
        Verdict::Deny | Verdict::End | Verdict::Review => !phase_of(request).is_terminal(),
    }
}

/// Asks whether to go on: what was found was not named.
fn confirm(saying: &Saying, requests: &[AccessRequest]) -> Result<(), Fault> {
    if !std::io::stdin().is_terminal() {
        return Err(Fault::Usage(unnamed(saying.verdict, requests.len())));
    }
    let nothing = || "nothing was decided".to_owned();
    match Confirm::new(&question(saying.verdict, requests)).with_default(false).prompt() {
        Ok(true) => Ok(()),
        Ok(false) => Err(Fault::Other(nothing())),
        Err(_) => Err(Fault::Interrupted { by: Interrupt::Keyboard, told: nothing() }),
    }
}

/// What is asked: `Approve these 3 requests in 2 namespaces?`
fn question(verdict: Verdict, requests: &[AccessRequest]) -> String {
    let count = requests.len();
    let these =
        if count == 1 { "this request".to_owned() } else { format!("these {count} requests") };
    let namespaces: BTreeSet<_> = requests.iter().map(kube::ResourceExt::namespace).collect();
    let places = match namespaces.len() {
        0 | 1 => String::new(),
        places => format!(" in {places} namespaces"),
    };
    format!("{verdict} {these}{places}?")
}

/// That nobody is there to say yes.
fn unnamed(verdict: Verdict, count: usize) -> String {
    let requests = number(count, "request that was", "requests that were");
    let them = if count == 1 { "it" } else { "them" };
    format!("{verdict} {requests} not named? Pass --yes, or name {them}")
}

/// Shows on standard error what is being decided about; who approves, also what it would allow, and what was asked before. Returns
/// what each would allow.
async fn show(session: &Session, requests: &[AccessRequest], saying: &Saying) -> Vec<allows::Told> {
    let mut shown = Vec::new();
    for request in requests {
        for line in sheet(request, now()).into_iter().chain(remarks(request)) {
            eprintln!("{line}");
        }
        if saying.verdict == Verdict::Approve {
            let allowed = allows::by_approval(session, request, saying).await;
            allows::show(&allowed.clone().unwrap_or_else(|told| vec![told]));
            shown.push(allowed);
            if let Some(before) = before(session, request).await {
                eprintln!("{:11}{before}", "Before");
            }
        }
        eprintln!();
    }
    shown
}

/// That what is approved allows what was shown: reading takes time, and an approval is for the rules of its moment.
async fn stands(
    session: &Session,
    requests: &[AccessRequest],
    saying: &Saying,
    shown: &[allows::Told],
) -> Result<(), Fault> {
    for (request, shown) in requests.iter().zip(shown) {
        if allows::by_approval(session, request, saying).await != *shown {
            return Err(Fault::Other(changed(&request.name_any())));
        }
    }
    Ok(())
}

fn changed(name: &str) -> String {
    format!(
        "what request {name} allows has changed since it was shown; nothing was decided, look at it again"
    )
}

/// How often the same person asked before in the request's namespace, and what became of it.
async fn before(session: &Session, request: &AccessRequest) -> Option<String> {
    let who = &request.spec.requester.as_ref()?.username;
    let params = ListParams::default().fields(&format!("spec.requester.username={who}"));
    let api = session.requests_of(&request.namespace()?);
    let mut earlier = found::list(session, &api, params).await.ok()?;
    earlier.retain(|other| other.uid() != request.uid());
    let mut counts = BTreeMap::<String, usize>::new();
    for other in &earlier {
        *counts.entry(phase_of(other).to_string()).or_default() += 1;
    }
    let told: Vec<String> =
        counts.into_iter().map(|(phase, count)| format!("{count} {phase}")).collect();
    Some(if told.is_empty() {
        "no other request by the same person here".to_owned()
    } else {
        told.join(", ")
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::json;

    use super::*;
    use crate::testing::{request, session};

    #[test]
    fn what_was_not_named_is_counted() {
        let told = [1, 2].map(|count| unnamed(Verdict::Approve, count)).join("\n");
        insta::assert_snapshot!(told, @r"
        Approve 1 request that was not named? Pass --yes, or name it
        Approve 2 requests that were not named? Pass --yes, or name them
        ");
    }

    #[test]
    fn what_is_asked_counts_requests_and_namespaces() {
        let asked = |namespaces: &[&str]| {
            let requests = namespaces.iter().map(|namespace| {
                let mut request = request("fix", &json!({}));
                request["metadata"]["namespace"] = json!(namespace);
                serde_json::from_value(request).unwrap()
            });
            question(Verdict::Approve, &requests.collect::<Vec<_>>())
        };
        let all = [asked(&["shop"]), asked(&["shop", "shop"]), asked(&["shop", "bank", "shop"])];
        insta::assert_snapshot!(all.join("\n"), @r"
        Approve this request?
        Approve these 2 requests?
        Approve these 3 requests in 2 namespaces?
        ");
    }

    /// Somebody adds a verb to the role while the approver reads.
    #[tokio::test]
    async fn what_has_changed_since_it_was_shown_is_not_approved() {
        let asked = AtomicUsize::new(0);
        let session = session(30, move |_| {
            let verb = if asked.fetch_add(1, Ordering::Relaxed) < 2 { "get" } else { "delete" };
            let rule = json!({"apiGroups": [""], "resources": ["pods"], "verbs": [verb]});
            Some(json!({
                "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessDecision", "metadata": {"name": "fix-x"},
                "spec": {"request": {"name": "fix"}, "verdict": "Approve", "rules": [{"rules": [rule]}]},
            }))
        });
        let target = json!({"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}}});
        let requests: [AccessRequest; 1] =
            [serde_json::from_value(request("fix", &target)).unwrap()];
        let saying = Saying::only(Verdict::Approve);
        let shown = [allows::by_approval(&session, &requests[0], &saying).await];
        assert_eq!(shown[0], Ok(vec!["get pods".to_owned()]));
        stands(&session, &requests, &saying, &shown).await.unwrap();
        let told = stands(&session, &requests, &saying, &shown).await.unwrap_err().to_string();
        insta::assert_snapshot!(told, @"what request fix allows has changed since it was shown; nothing was decided, look at it again");
    }

    #[test]
    fn what_is_held_is_denied_and_not_approved() {
        let of = |phase: &str| {
            let mut request = request("fix", &json!({}));
            request["status"] = json!({"phase": phase});
            serde_json::from_value::<AccessRequest>(request).unwrap()
        };
        let cases = [("Pending", true, true), ("Active", false, true), ("Ended", false, false)];
        for (phase, approved, denied) in cases {
            let open =
                [Verdict::Approve, Verdict::Deny].map(|verdict| is_open(&of(phase), verdict));
            assert_eq!(open, [approved, denied], "{phase}");
        }
    }
}
