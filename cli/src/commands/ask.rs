//! Asking for access.

mod prompt;

use kube::ResourceExt as _;
use lapse_cluster::clock::now;
use lapse_crds::{AccessRequest, AccessRequestSpec, GrantDuration};
use lapse_engine::policy::Offered;
use lapse_engine::request::WILL_BE_DENIED;

use super::{allows, found};
use crate::args::{Ask, DryRun, Format, Wait};
use crate::decide::params;
use crate::fault::Fault;
use crate::follow::{stays, until_active};
use crate::host;
use crate::interrupt::Interrupts;
use crate::offers;
use crate::output::{objects, reference, say};
use crate::role::nearest;
use crate::session::{Session, warn};
use crate::target;

/// Makes the request that the command line asks for, and asks on a terminal for what it lacks.
pub(super) async fn request(
    session: &Session,
    ask: &Ask,
    name: Option<&str>,
    dry_run: DryRun,
) -> Result<AccessRequest, Fault> {
    let ask = &complete(session, ask).await?;
    let draft = draft(session, ask, name).await?;
    create(session, &draft, ask.from_host, dry_run).await
}

/// What is asked for, with what a person adds on a terminal.
pub(super) async fn complete(session: &Session, ask: &Ask) -> Result<Ask, Fault> {
    prompt::complete(session, ask).await
}

/// The request as it is sent.
pub(super) async fn draft(
    session: &Session,
    ask: &Ask,
    name: Option<&str>,
) -> Result<AccessRequest, Fault> {
    let offered = offered(session, ask).await?;
    // One that is not in force may be asked for, to see what it would say.
    if let Some(told) = offered.as_ref().and_then(|offered| misspelt(ask, offered)) {
        session.warn(&told);
    }
    let roles = offered.map(|offered| offers::roles(&offered));
    target::request(ask, name, &session.namespace, roles.as_deref(), now())
}

/// What policies offer us, if that can be known and bears on what is asked for.
async fn offered(session: &Session, ask: &Ask) -> Result<Option<Vec<Offered>>, Fault> {
    if ask.what.role.is_none() {
        return Ok(None);
    }
    let told = offers::to_me(session).await?;
    Ok((told.omitted == 0).then_some(told.offers))
}

/// That the policy that is named offers nothing, if another one has a name like it.
fn misspelt(ask: &Ask, offered: &[Offered]) -> Option<String> {
    let name = ask.policy.as_deref()?;
    let known = || offered.iter().map(|offered| &*offered.policy);
    if known().any(|known| known == name) {
        return None;
    }
    let near = nearest(name, known())?;
    Some(format!("no JitPolicy {name} offers you anything; did you mean {near}?"))
}

pub(super) async fn create(
    session: &Session,
    request: &AccessRequest,
    from_host: bool,
    dry_run: DryRun,
) -> Result<AccessRequest, Fault> {
    let request = &if from_host { host::proven(request, now())? } else { request.clone() };
    if dry_run == DryRun::Client {
        return Ok(request.clone());
    }
    let api = session.requests();
    session.create("requesting access", &api, &params(dry_run), request).await
}

/// What is said of more time, and from where; the rest is as in the request that is extended.
pub(super) struct More {
    pub(super) duration: Option<GrantDuration>,
    pub(super) reason: Option<String>,
    pub(super) ticket: Option<String>,
    pub(super) from_host: bool,
}

/// Asks for more time for what an earlier request gave.
pub(super) async fn extend(
    session: &Session,
    name: &str,
    more: More,
    dry_run: DryRun,
) -> Result<AccessRequest, Fault> {
    let More { duration, reason, ticket, from_host } = more;
    let earlier = found::request(session, name).await?;
    let policy = earlier.status.as_ref().and_then(|status| status.policy.as_ref());
    let spec = AccessRequestSpec {
        policy: policy.map(|policy| policy.name.clone()),
        target: earlier.spec.target.clone(),
        duration,
        start_time: None,
        ticket: ticket.or_else(|| earlier.spec.ticket.clone()),
        reason: reason.or_else(|| earlier.spec.reason.clone()),
        emergency: false,
        extends: Some(earlier.name_any()),
        origin: None,
        requester: None,
    };
    let request = target::named(spec, None, &session.namespace);
    create(session, &request, from_host, dry_run).await
}

/// Tells what became of a request that was made, and waits for the access if that is asked for.
pub(super) async fn tell(
    session: &Session,
    made: &AccessRequest,
    format: Option<Format>,
    wait: Wait,
    dry_run: DryRun,
) -> Result<(), Fault> {
    let refusal = tell_warnings(session);
    let format = Format::of_objects(format);
    if format.is_none() {
        say(&format!("{} created{}", reference(made), dry_run.suffix()))?;
    }
    // Whoever waits is told all that happens, the refusal too.
    if wait.wait && dry_run == DryRun::None {
        let left = |request: &AccessRequest| stays(request, now());
        let stands = until_active(session, made, wait.timeout, &mut Interrupts::new()?, left).await;
        let request = stands.as_ref().unwrap_or(made).clone();
        if let Some(format) = format {
            objects(vec![request], format, false)?;
        }
        return stands.map(|_| ());
    }
    if let Some(format) = format {
        objects(vec![made.clone()], format, false)?;
    }
    match refusal {
        Some(why) => Err(Fault::NoAccess(format!("{} is denied: {why}", made.name_any()))),
        None => Ok(()),
    }
}

/// Tells what the API server warned of, but for why nothing will come of the request: that is returned.
fn tell_warnings(session: &Session) -> Option<String> {
    let mut refusal = None;
    for warning in session.warnings() {
        match warning.strip_prefix(WILL_BE_DENIED) {
            Some(why) => refusal = Some(why.to_owned()),
            None => warn(&warning),
        }
    }
    refusal
}

/// Says whether a request would be accepted: by one that is judged and not stored.
pub(super) async fn can_i(session: &Session, ask: &Ask) -> Result<(), Fault> {
    let mut draft = draft(session, ask, None).await?;
    allows::ask(&mut draft);
    let answer = create(session, &draft, ask.from_host, DryRun::Server).await?;
    if let Some(why) = tell_warnings(session) {
        say("no")?;
        return Err(Fault::NoAccess(why));
    }
    // Who is told nothing of the role sees on their request what of it is risky.
    if let Ok(allowed) = allows::by_answer(session, &answer).await {
        allows::show(&allowed);
    }
    say("yes")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case(
        Some("shop-debgu"),
        Some("no JitPolicy shop-debgu offers you anything; did you mean shop-debug?")
    )]
    #[case(Some("shop-debug"), None)]
    #[case(Some("freeze"), None)]
    #[case(None, None)]
    fn a_policy_that_is_misspelt_is_told_with_the_nearest(
        #[case] policy: Option<&str>,
        #[case] told: Option<&str>,
    ) {
        let offered = json!([{
            "policy": "shop-debug", "priority": 100, "targets": [], "roles": [], "min": "5m", "max": "8h",
            "approval": "nobody", "reasonRequired": true, "ticketRequired": false,
        }]);
        let offered: Vec<Offered> = serde_json::from_value(offered).unwrap();
        let ask = Ask { policy: policy.map(ToOwned::to_owned), ..Ask::default() };
        assert_eq!(misspelt(&ask, &offered).as_deref(), told);
    }
}
