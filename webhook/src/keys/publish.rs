//! The public keys in the `ConfigMap` `lapse-attestation-keys`.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use ed25519_dalek::VerifyingKey;
use lapse_engine::attest::{PublicKey, key_id};

/// A new key is in force from a little earlier on: another replica signs with it as soon as it reads
/// it, and its clock may be behind the one that published it. An attacker gains nothing by it: a
/// signature must be as old as its object in any case.
pub(super) const TOLERANCE: TimeDelta = TimeDelta::seconds(30);

/// How long a key signs before another takes its place: as long as a serving certificate lasts.
const SIGNING_LIFE: TimeDelta = TimeDelta::days(90);

/// How long a key whose time was up goes on: until each replica has read the one after it.
pub(super) const HANDOVER: TimeDelta = TimeDelta::minutes(1);

/// What the published keys say of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is published and not retired.
    InForce,
    /// The same, and it has signed for long enough.
    Due,
    /// It is retired, or its entry is not its own: nothing that it signs now is honoured.
    Unusable,
    /// It is not published: not yet, or somebody took it away.
    Absent,
}

fn entry(published: &BTreeMap<String, String>, id: &str) -> Option<PublicKey> {
    serde_json::from_str(published.get(id)?).ok()
}

/// What the published keys say of a key.
pub(crate) fn standing(
    published: &BTreeMap<String, String>,
    key: &VerifyingKey,
    now: DateTime<Utc>,
) -> Standing {
    let id = key_id(key);
    match entry(published, &id) {
        None if !published.contains_key(&id) => Standing::Absent,
        Some(found)
            if found.retired_at.is_none()
                && found.ed25519 == PublicKey::new(key, DateTime::UNIX_EPOCH).ed25519 =>
        {
            let is_due = now >= found.valid_from.time() + SIGNING_LIFE;
            if is_due { Standing::Due } else { Standing::InForce }
        }
        _ => Standing::Unusable,
    }
}

/// From when on a published key is in force.
pub(crate) fn valid_from(
    published: &BTreeMap<String, String>,
    key: &VerifyingKey,
) -> Option<DateTime<Utc>> {
    entry(published, &key_id(key)).map(|entry| entry.valid_from.time())
}

/// Adds a new key.
pub(crate) fn publish(
    published: &mut BTreeMap<String, String>,
    key: &VerifyingKey,
    now: DateTime<Utc>,
) -> Result<(), serde_json::Error> {
    let entry = serde_json::to_string(&PublicKey::new(key, now - TOLERANCE))?;
    published.insert(key_id(key), entry);
    Ok(())
}

/// Retires a key whose time is up, a moment from now: another replica may sign with it until it has read
/// the key that takes its place.
pub(crate) fn retire_soon(
    published: &mut BTreeMap<String, String>,
    key: &VerifyingKey,
    now: DateTime<Utc>,
) -> Result<(), serde_json::Error> {
    if let Some(mut entry) = entry(published, &key_id(key)) {
        entry.retired_at = Some((now + HANDOVER).into());
        published.insert(key_id(key), serde_json::to_string(&entry)?);
    }
    Ok(())
}

/// Ends the moment in which an old key goes on, because whoever asked for new ones may distrust it.
pub(crate) fn end_handover(
    published: &mut BTreeMap<String, String>,
    now: DateTime<Utc>,
) -> Result<(), serde_json::Error> {
    for text in published.values_mut() {
        let Ok(mut entry) = serde_json::from_str::<PublicKey>(text) else { continue };
        if entry.retired_at.is_some_and(|at| at.time() > now) {
            entry.retired_at = Some(now.into());
            *text = serde_json::to_string(&entry)?;
        }
    }
    Ok(())
}

/// Retires every key but this one; returns whether there was any. What they signed before still
/// holds. An entry that cannot be read is of no key, and stays for whoever looks into it.
pub(crate) fn retire_others(
    published: &mut BTreeMap<String, String>,
    key: &VerifyingKey,
    now: DateTime<Utc>,
) -> Result<bool, serde_json::Error> {
    let own = key_id(key);
    let mut changed = false;
    for (_, text) in published.iter_mut().filter(|(id, _)| **id != own) {
        let Ok(mut entry) = serde_json::from_str::<PublicKey>(text) else {
            continue;
        };
        if entry.retired_at.is_none() {
            entry.retired_at = Some(now.into());
            *text = serde_json::to_string(&entry)?;
            changed = true;
        }
    }
    Ok(changed)
}
