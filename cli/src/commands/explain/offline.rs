//! What would come of a request under policies that are in files: for whoever reviews a change of them. No cluster is asked.

use anstream::eprintln;
use chrono::{DateTime, Utc};
use kube::ResourceExt as _;
use lapse_crds::{AccessRequest, Identity};
use lapse_engine::identity::service_account_groups;
use lapse_engine::policy::{Policies, PolicyState, lint, lint_among};
use lapse_engine::target::ResolvedTarget;
use serde::Serialize;

use super::known::Known;
use super::{candidates, checks};
use crate::args::{Format, Global, Offline};
use crate::fault::Fault;
use crate::manifests;
use crate::output::{plain, say, whole};
use crate::session::warn;
use crate::trial::{Judgement, Verdict, judge, state_of};

/// What is printed as a whole.
#[derive(Serialize)]
struct Explained {
    #[serde(flatten)]
    judgement: Judgement,
    /// What was taken to be so.
    assumed: Vec<String>,
}

pub(in crate::commands) fn run(
    global: &Global,
    file: &str,
    offline: &Offline,
    now: DateTime<Utc>,
) -> Result<(), Fault> {
    let format = Format::of_values(global.output)?;
    let mut request = read_request(file)?;
    let namespace = request.namespace().or_else(|| global.namespace.clone()).ok_or_else(|| {
        Fault::Usage(format!("{file} names no namespace; write metadata.namespace, or give -n"))
    })?;
    request.metadata.namespace = Some(namespace.clone());
    let requester = requester(global, &request)?;
    let target = ResolvedTarget::resolve(&request.spec.target, &namespace).ok_or_else(|| {
        Fault::Other(format!("{file}: spec.target names nothing that could be granted; write a role, rules or an endpoint"))
    })?;
    let policies = manifests::policies(&offline.policies)?;
    let mut known = Known::read(&offline.with)?;
    let settings = known.settings(&policies)?;
    let states: Result<Vec<PolicyState>, Fault> =
        policies.iter().map(|policy| state_of(policy, &settings)).collect();
    let all = Policies::from(states?);
    for policy in &policies {
        let name = policy.name_any();
        let among = all.get(&name).map(|state| lint_among(state, &all)).unwrap_or_default();
        lint(&policy.spec)
            .iter()
            .chain(&among)
            .for_each(|told| warn(&plain(&format!("{name}: {told}"))));
    }
    known.assume(format!("{} has no other request, and holds no other access", requester.username));
    let ground = known.ground(&policies, all, settings, &requester, &target);
    let judgement = judge(&request, &requester, &target, &ground, now);
    tell(format, judgement, known.assumed())
}

fn read_request(file: &str) -> Result<AccessRequest, Fault> {
    let found = manifests::read(file.as_ref())?;
    match found.as_slice() {
        [one] => one.object(),
        all => {
            Err(Fault::Other(format!("{file} has {} objects; give one AccessRequest", all.len())))
        }
    }
}

/// Who asks: whom `--as` names, or whom the request was stamped with.
fn requester(global: &Global, request: &AccessRequest) -> Result<Identity, Fault> {
    let Some(username) = global.as_user.clone() else {
        return request.spec.requester.clone().ok_or_else(|| {
            Fault::Usage(
                "the requester is not known without a cluster; give --as USER, and --as-group GROUP for each group"
                    .to_owned(),
            )
        });
    };
    let mut groups = global.as_groups.clone();
    // As the API server adds them.
    groups.extend(service_account_groups(&username));
    groups.push("system:authenticated".to_owned());
    groups.dedup();
    Ok(Identity { username, groups, ..Identity::default() })
}

fn tell(format: Option<Format>, judgement: Judgement, assumed: Vec<String>) -> Result<(), Fault> {
    let (verdict, why) = (judgement.verdict, plain(&judgement.why));
    if let Some(format) = format {
        whole(&Explained { judgement, assumed }, format)?;
    } else {
        for text in &assumed {
            eprintln!("Assumed: {}", plain(text));
        }
        let policy = plain(judgement.policy.as_deref().unwrap_or("none"));
        say(&format!("Verdict    {verdict:?}: {why}"))?;
        say(&format!("Policy     {policy}"))?;
        checks(&judgement.checks)?;
        candidates(&judgement.candidates)?;
    }
    match verdict {
        Verdict::Granted | Verdict::Pending => Ok(()),
        Verdict::Denied => Err(Fault::NoAccess("it would be denied".to_owned())),
        Verdict::Unknown => {
            Err(Fault::Other("the outcome is not known: give what is missing".to_owned()))
        }
    }
}
