//! A copy of a machine that enrolled, with all that it had. It is not the host that was given anything: what is in force
//! on it ends, it forgets who it was, and it is nobody until it enrols with a token of its own.

use std::fs;

use anyhow::{Context as _, ensure};
use tracing::error;

use crate::drift;
use crate::durable;
use crate::fingerprint::machine;
use crate::hands::Hands;
use crate::identity::{Enrolled, IdentityError};
use crate::places::Places;
use crate::system::HostSystem;

/// Why everything ends.
const WHY: &str = "this machine is a copy of the one that enrolled, or its hardware was exchanged";

/// The name of the Endpoint that another machine enrolled as, if what is kept here is that machine's.
///
/// # Errors
/// If it cannot be told which machine this is.
pub fn copied_from(places: &Places) -> Result<Option<String>, IdentityError> {
    let Ok(Enrolled { identity, .. }) = Enrolled::read(places) else { return Ok(None) };
    let is_copy = identity.machine != machine(places)?;
    Ok(is_copy.then_some(identity.endpoint.name))
}

/// Ends everything, and forgets who this host was. Nothing of that is told to the cluster: the rights there are those of
/// the machine that enrolled.
///
/// # Errors
/// If something is not gone: then nothing is forgotten.
pub fn disown(hands: &Hands, endpoint: &str) -> anyhow::Result<()> {
    end_all(hands)?;
    for id in hands.journal().all()?.read.keys() {
        hands.journal().forget(hands.system(), id)?;
    }
    let notice = format!(
        "This machine is not the one that enrolled as Endpoint {endpoint}: its machine-id, or the number of its hardware, is \
         another. What was in force here has ended. Enrol it as an Endpoint of its own, with a token of its own; if it is \
         that machine, and its hardware was exchanged, enrol it as {endpoint} again, with a new token."
    );
    let path = hands.places().notice();
    durable::replace(&path, notice.as_bytes(), 0o600)
        .with_context(|| format!("writing {}", path.display()))?;
    forget(hands.places())?;
    error!("{notice}");
    Ok(())
}

/// Ends everything that is in force on a copy.
///
/// # Errors
/// If something is not gone.
pub fn end_all(hands: &Hands) -> anyhow::Result<()> {
    let left = hands.end_all(WHY)?;
    ensure!(
        left == 0,
        "{WHY}, and the access of {left} grants is not gone yet: `lapse-agent status` says why"
    );
    Ok(())
}

/// Forgets who this host is.
///
/// # Errors
/// If a file stays.
pub fn forget(places: &Places) -> anyhow::Result<()> {
    for name in ["identity.json", "key.json", "trust.json", "connections.json", "requests.json"] {
        durable::remove(&places.state().join(name)).with_context(|| format!("removing {name}"))?;
    }
    drift::forget(&HostSystem, places).context("removing what was found")?;
    // What was done here is told by who enrolled here, or by nobody.
    match fs::remove_dir_all(places.spool()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context("removing what was recorded and not told")
        }
        _ => Ok(()),
    }
}

/// What is to be said of a host that is nobody, if it was somebody.
#[must_use]
pub fn notice(places: &Places) -> Option<String> {
    fs::read_to_string(places.notice()).ok()
}
