//! What whoever administers the host sees, and accepts.

use super::hands;
use crate::clock::MaxSeen;
use crate::copied;
use crate::drift;
use crate::identity::Enrolled;
use crate::places::Places;
use crate::probe::Probe;
use crate::record::Record;
use crate::standing;

/// Shows what is in force.
///
/// # Errors
/// If it cannot be read.
pub fn status() -> anyhow::Result<()> {
    let places = Places::default();
    let hands = hands(&places)?;
    match Enrolled::read(&places) {
        Ok(enrolled) => println!(
            "This host is Endpoint {} of the gateway {}.",
            enrolled.identity.endpoint.name, enrolled.identity.gateway
        ),
        Err(error) => println!("{}", copied::notice(&places).unwrap_or(error.to_string())),
    }
    println!("{}", standing::describe(&places));
    if let Some(found) = drift::summary(&places) {
        println!("{found}");
    }
    let records = hands.journal().all()?;
    for error in records.broken.values() {
        println!("{error}");
    }
    let open: Vec<&Record> = records.read.values().filter(|record| record.is_open()).collect();
    if open.is_empty() {
        println!("No grant is in force.");
        return Ok(());
    }
    println!("{:<10} {:<16} {:<24} {:<20} GRANT", "STATE", "USER", "ACCESS", "UNTIL");
    for record in open {
        let Some(right) = &record.right else { continue };
        let until = right.expires_at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        let state = record.receipt().state.to_string();
        println!(
            "{state:<10} {:<16} {:<24} {until} {}",
            right.user,
            right.elevation.to_string(),
            record.grant
        );
        if let Some(message) = &record.message {
            println!("           {message}");
        }
    }
    Ok(())
}

/// Shows what the host can do.
///
/// # Errors
/// If it is not called by root.
pub fn show_probe() -> anyhow::Result<()> {
    let places = Places::default();
    let Probe { dialect: _, capabilities, lacks, system } = hands(&places)?.probe();
    println!("{}", system.unwrap_or_else(|| "a Linux host".to_owned()));
    for capability in capabilities {
        println!("  can:   {capability}");
    }
    for lack in lacks {
        println!("  lacks: {lack}");
    }
    Ok(())
}

/// Believes the clock.
///
/// # Errors
/// If that cannot be written.
pub fn accept_clock() -> anyhow::Result<()> {
    let hands = hands(&Places::default())?;
    let _lock = hands.lock()?;
    let wall = hands.now()?.wall;
    hands.journal().accept_clock(hands.system(), MaxSeen { wall })?;
    println!("The clock is believed from {} on.", wall.to_rfc3339());
    Ok(())
}

/// Shows what would outlast access.
///
/// # Errors
/// If it is not called by root.
pub fn show_drift() -> anyhow::Result<()> {
    print!("{}", drift::show(hands(&Places::default())?.places()));
    Ok(())
}

/// Accepts what would outlast access.
///
/// # Errors
/// If that cannot be written.
pub fn accept_drift() -> anyhow::Result<()> {
    let hands = hands(&Places::default())?;
    let accepted = drift::accept(hands.system(), hands.places())?;
    println!("{accepted} changes are accepted. The host stays as it is.");
    Ok(())
}
