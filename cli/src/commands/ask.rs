//! Asking for access.

mod prompt;

use kube::ResourceExt as _;
use lapse_cluster::clock::now;
use lapse_crds::{AccessRequest, AccessRequestSpec, GrantDuration};
use lapse_engine::request::WILL_BE_DENIED;

use super::found;
use crate::args::{Ask, DryRun, Format, Wait};
use crate::decide::params;
use crate::fault::Fault;
use crate::follow::until_active;
use crate::interrupt::Interrupts;
use crate::offers;
use crate::output::{objects, reference, say};
use crate::session::{Session, warn};
use crate::target;

/// Makes the request that the command line asks for, and asks on a terminal for what it lacks.
pub(super) async fn request(
    session: &Session,
    ask: &Ask,
    name: Option<&str>,
    dry_run: DryRun,
) -> Result<AccessRequest, Fault> {
    let ask = &prompt::complete(session, ask).await?;
    create(session, &draft(session, ask, name).await?, dry_run).await
}

/// The request as it is sent.
async fn draft(session: &Session, ask: &Ask, name: Option<&str>) -> Result<AccessRequest, Fault> {
    let offered = offered(session, ask).await?;
    target::request(ask, name, &session.namespace, offered.as_deref(), now())
}

/// The roles that policies offer us, if that can be known and bears on what is asked for.
async fn offered(session: &Session, ask: &Ask) -> Result<Option<Vec<lapse_crds::RoleRef>>, Fault> {
    if ask.what.role.is_none() {
        return Ok(None);
    }
    let told = offers::to_me(session).await?;
    Ok((told.omitted == 0).then(|| offers::roles(&told.offers)))
}

async fn create(
    session: &Session,
    request: &AccessRequest,
    dry_run: DryRun,
) -> Result<AccessRequest, Fault> {
    if dry_run == DryRun::Client {
        return Ok(request.clone());
    }
    let api = session.requests();
    session.call("requesting access", api.create(&params(dry_run), request)).await
}

/// Asks for more time for what an earlier request gave.
pub(super) async fn extend(
    session: &Session,
    name: &str,
    duration: Option<GrantDuration>,
    reason: Option<String>,
    ticket: Option<String>,
) -> Result<AccessRequest, Fault> {
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
        requester: None,
    };
    create(session, &target::named(spec, None, &session.namespace), DryRun::None).await
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
        let stands = until_active(session, made, wait.timeout, &mut Interrupts::new()?).await;
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
    let draft = draft(session, ask, None).await?;
    create(session, &draft, DryRun::Server).await?;
    match tell_warnings(session) {
        Some(why) => {
            say("no")?;
            Err(Fault::NoAccess(why))
        }
        None => say("yes"),
    }
}
