//! The public keys in the `ConfigMap` `lapse-attestation-keys`.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use ed25519_dalek::VerifyingKey;
use lapse_engine::attest::{PublicKey, key_id};

/// A new key is in force from a little earlier on: another replica signs with it as soon as it reads
/// it, and its clock may be behind the one that published it. An attacker gains nothing by it: a
/// signature must be as old as its object in any case.
const TOLERANCE: TimeDelta = TimeDelta::seconds(30);

/// What the published keys say of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is published and not retired.
    InForce,
    /// It is retired, or its entry is not its own: nothing that it signs now is honoured.
    Unusable,
    /// It is not published: not yet, or somebody took it away.
    Absent,
}

fn entry(published: &BTreeMap<String, String>, id: &str) -> Option<PublicKey> {
    serde_json::from_str(published.get(id)?).ok()
}

/// What the published keys say of a key.
pub(crate) fn standing(published: &BTreeMap<String, String>, key: &VerifyingKey) -> Standing {
    let id = key_id(key);
    match entry(published, &id) {
        None if !published.contains_key(&id) => Standing::Absent,
        Some(found)
            if found.retired_at.is_none()
                && found.ed25519 == PublicKey::new(key, DateTime::UNIX_EPOCH).ed25519 =>
        {
            Standing::InForce
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
