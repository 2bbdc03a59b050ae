//! Becoming an Endpoint, and being none any more.

use std::io::Read as _;

use anyhow::{Context as _, ensure};
use lapse_engine::activity::Batch;
use tracing::warn;

use super::hands;
use crate::activity::recorder::Recorder;
use crate::cli;
use crate::clock::HostClock;
use crate::copied::{self, copied_from};
use crate::enrol::{Invitation, enrol};
use crate::farewell::say_farewell;
use crate::fingerprint::machine;
use crate::hands::Hands;
use crate::identity::Enrolled;
use crate::places::Places;
use crate::record::Record;
use crate::standing;

/// Becomes the agent of an Endpoint.
///
/// # Errors
/// If it does not.
pub async fn enrol_host(options: cli::Enrol) -> anyhow::Result<()> {
    let places = Places::default();
    let hands = hands(&places)?;
    let is_enrolled = Enrolled::read(&places).is_ok() && copied_from(&places)?.is_none();
    ensure!(
        options.again || !is_enrolled,
        "this host has enrolled already: call it with --again, and restart lapse-agent, to enrol anew"
    );
    let records = hands.journal().all()?.read;
    let in_force = records.values().filter(|record| record.is_open()).count();
    ensure!(
        in_force == 0,
        "{in_force} grants are in force here: end them first (`lapse end GRANT` as root, or `lapse-agent remove` for all of them)"
    );
    let token = read_token(&options)?;
    let cli::Enrol { gateway, endpoint, pin, .. } = options;
    let enrolled = enrol(&places, Invitation { gateway, endpoint, pin, token }).await?;
    crate::durable::remove(&places.notice())?;
    println!("Enrolled as Endpoint {}.", enrolled.identity.endpoint.name);
    Ok(())
}

fn read_token(options: &cli::Enrol) -> anyhow::Result<String> {
    let mut token = String::new();
    if options.token_file.as_os_str() == "-" {
        std::io::stdin().take(4096).read_to_string(&mut token).context("reading the token")?;
    } else {
        let path = &options.token_file;
        token =
            std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    }
    let token = token.trim().to_owned();
    ensure!(
        !token.is_empty(),
        "the token is empty: write it to standard input, or name a file with it"
    );
    Ok(token)
}

/// Ends everything, tells the cluster so if it can be reached, and forgets who this host is.
///
/// # Errors
/// If a right is not gone: then nothing is forgotten.
pub async fn remove() -> anyhow::Result<()> {
    let places = Places::default();
    let hands = hands(&places)?;
    let left = hands.end_all("the agent was removed from the host")?;
    ensure!(
        left == 0,
        "the access of {left} grants is not gone yet: `lapse-agent status` says why"
    );
    if let Err(error) = tell_ends(&hands).await {
        println!(
            "The cluster was not told: {error:#}. Grants that ended here stay Ending there; ask an owner to delete the \
             Endpoint, and to remove its finalizer."
        );
    }
    copied::forget(&places)?;
    println!(
        "Nothing is in force, and this host is no Endpoint any more. To use it again, enrol it with a new token."
    );
    if standing::is_running(&places) {
        println!(
            "The agent still runs as that Endpoint, and could be given new orders: `systemctl stop lapse-agent`."
        );
    }
    Ok(())
}

/// What of the record the cluster does not have.
fn last_of_record(places: &Places) -> anyhow::Result<Vec<Batch>> {
    let mut recorder = Recorder::new(places.clone(), Box::new(HostClock))?;
    recorder.take_all()?;
    Ok(recorder.spool().all()?)
}

/// Tells the cluster what has ended and it does not know, as nobody will later.
async fn tell_ends(hands: &Hands) -> anyhow::Result<()> {
    let places = hands.places();
    // Nobody has enrolled, or on another machine: then there is nobody to tell.
    if Enrolled::read(places).is_err() || copied_from(places)?.is_some() {
        return Ok(());
    }
    let (enrolled, now) = (Enrolled::read(places)?, hands.now()?);
    let records = hands.journal().all()?.read;
    let unsaid: Vec<_> = records.into_values().filter(|record| record.is_news(&now)).collect();
    let receipts: Vec<_> = unsaid.iter().map(Record::receipt).collect();
    let record = last_of_record(places).unwrap_or_else(|error| {
        warn!("the last of the record cannot be sent: {error:#}");
        Vec::new()
    });
    let untold = say_farewell(&enrolled, machine(places)?, &receipts, record).await?;
    if untold > 0 {
        println!("The cluster was not told all of what was done with sudo here.");
    }
    for mut record in unsaid {
        // Who enrols here later has nothing to say of it.
        record.recorded = record.sequence;
        hands.remember(&record)?;
    }
    Ok(())
}
