//! Approving and denying, several at once, with what is being decided about.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;

use anstream::eprintln;
use inquire::Confirm;
use k8s_openapi::api::rbac::v1::{ClusterRole, Role};
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use lapse_cluster::clock::now;
use lapse_crds::{AccessRequest, KubernetesTarget, RoleKind, RoleRef, RoleRule, Verdict};
use lapse_engine::rules::compact;
use lapse_engine::target::Privilege;

use super::{found, say};
use crate::args::{DryRun, Filter, Format, Several};
use crate::decide::Saying;
use crate::fault::Fault;
use crate::interrupt::Interrupt;
use crate::output::{phase_of, plain};
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
        show(session, &requests, saying).await;
        return say::of_each(session, format, &requests, saying, dry_run, failed).await;
    }
    let requests = match &which.selector {
        Some(selector) => {
            let params = ListParams::default().labels(selector);
            let mut found = found::list(session, &session.requests(), params).await?;
            found.retain(|request| !phase_of(request).is_terminal());
            found
        }
        None => found::filtered(session, Filter { to_approve: true, ..Filter::default() }).await?,
    };
    if requests.is_empty() {
        eprintln!("No request waits for you in namespace {}.", session.namespace);
        return Ok(());
    }
    show(session, &requests, saying).await;
    if !several.yes {
        confirm(saying, requests.len())?;
    }
    say::of_each(session, format, &requests, saying, dry_run, 0).await
}

/// Asks whether to go on: what was found was not named.
fn confirm(saying: &Saying, count: usize) -> Result<(), Fault> {
    let verb = saying.verdict.to_string();
    if !std::io::stdin().is_terminal() {
        return Err(Fault::Usage(format!(
            "{verb} {count} requests that were not named? Pass --yes, or name them"
        )));
    }
    let nothing = || "nothing was decided".to_owned();
    let question = format!(
        "{verb} {}?",
        if count == 1 { "this request".to_owned() } else { format!("these {count} requests") }
    );
    match Confirm::new(&question).with_default(false).prompt() {
        Ok(true) => Ok(()),
        Ok(false) => Err(Fault::Other(nothing())),
        Err(_) => Err(Fault::Interrupted { by: Interrupt::Keyboard, told: nothing() }),
    }
}

/// Shows on standard error what is being decided about; who approves, also what it would allow, and what was asked before.
async fn show(session: &Session, requests: &[AccessRequest], saying: &Saying) {
    for request in requests {
        for line in sheet(request, now()).into_iter().chain(remarks(request)) {
            eprintln!("{line}");
        }
        if saying.verdict == Verdict::Approve {
            eprintln!("{:11}{}", "Allows", allows(session, request).await);
            if let Some(before) = before(session, request).await {
                eprintln!("{:11}{before}", "Before");
            }
        }
        eprintln!();
    }
}

/// What the role allows, or why that cannot be told.
async fn allows(session: &Session, request: &AccessRequest) -> String {
    let (target, role) = match role_of(request) {
        Ok(found) => found,
        Err(told) => return told.to_owned(),
    };
    let client = session.client.clone();
    let what = format!("reading {role}");
    let rules = match role.kind {
        RoleKind::ClusterRole => {
            let api: Api<ClusterRole> = Api::all(client);
            session.call(what, api.get(&role.name)).await.map(|role| role.rules)
        }
        RoleKind::Role => {
            let own = request.namespace().unwrap_or_default();
            let namespace = target.namespaces.first().unwrap_or(&own);
            let api: Api<Role> = Api::namespaced(client, namespace);
            session.call(what, api.get(&role.name)).await.map(|role| role.rules)
        }
    };
    match rules {
        Ok(rules) => {
            let rules =
                compact(&rules.unwrap_or_default()).into_iter().map(RoleRule::from).collect();
            plain(&Privilege::Rules(rules).to_string())
        }
        Err(fault) if fault.is_forbidden() => format!("what {role} allows, which you may not read"),
        Err(fault) => fault.to_string(),
    }
}

/// The role that is asked for, and where; or what is allowed without one, in words.
fn role_of(request: &AccessRequest) -> Result<(&KubernetesTarget, &RoleRef), &'static str> {
    let target = request.spec.target.kubernetes.as_ref().ok_or("what it names, on that host")?;
    Ok((target, target.role.as_ref().ok_or("only these rules")?))
}

/// How often the same person asked before in this namespace, and what became of it.
async fn before(session: &Session, request: &AccessRequest) -> Option<String> {
    let who = &request.spec.requester.as_ref()?.username;
    let params = ListParams::default().fields(&format!("spec.requester.username={who}"));
    let mut earlier = found::list(session, &session.requests(), params).await.ok()?;
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
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_is_no_role_is_told_in_words() {
        let of = |target: Value| {
            let request = json!({
                "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessRequest", "metadata": {"name": "fix"},
                "spec": {"target": target},
            });
            let request: AccessRequest = serde_json::from_value(request).unwrap();
            role_of(&request).map(|(_, role)| role.to_string()).map_err(ToOwned::to_owned)
        };
        let edit = json!({"kind": "ClusterRole", "name": "edit"});
        assert_eq!(of(json!({"kubernetes": {"role": edit}})), Ok("ClusterRole edit".to_owned()));
        let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
        assert_eq!(of(json!({"kubernetes": {"rules": rules}})), Err("only these rules".to_owned()));
        let host = json!({"endpoint": {"name": "web-1", "admin": {}}});
        assert_eq!(of(host), Err("what it names, on that host".to_owned()));
    }
}
