//! What somebody may see, and which of it they want to end. Pure.

use lapse_crds::RequestPhase;

use super::peers::Peer;
use super::protocol::End;
use crate::record::{Record, Stage};
use crate::requests::book::Requested;
use crate::text::plain;

/// How many names are listed.
const MOST_NAMES: usize = 16;
const NOTHING: &str = "you hold nothing on this host that could end, and have requested nothing";

/// What somebody wants to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted<'a> {
    /// What is held: that ends here, whatever a gateway says of its request.
    Held(&'a Record),
    /// What is requested, and not held.
    Requested(&'a Requested),
}

/// What somebody holds: what they may see and end.
pub(super) fn own(known: &[Record], peer: Peer) -> impl Iterator<Item = &Record> {
    let is_own = move |record: &&Record| {
        let uid = record.right.as_ref().map(|right| right.uid);
        record.is_open() && uid.is_some_and(|uid| peer.is_root() || uid == peer.uid)
    };
    known.iter().filter(is_own)
}

/// What was requested here and is not held, as far as the host itself does not know better than the gateway.
pub(super) fn requested(
    known: &[Record],
    requested: Vec<Requested>,
) -> impl Iterator<Item = Requested> {
    requested.into_iter().filter_map(|requested| {
        let full_name = requested.full_name();
        let is_of = |record: &&Record| {
            record.asked.as_ref().is_some_and(|asked| asked.request == full_name)
        };
        match known.iter().find(is_of) {
            None => Some(requested),
            Some(record) if record.is_open() => None,
            Some(record) => {
                let phase = if record.failed { RequestPhase::Failed } else { RequestPhase::Ended };
                let why = record.message.as_ref().map(|why| plain(why, 512));
                Some(Requested { phase: Some(phase), waiting_for: None, why, ..requested })
            }
        }
    })
}

/// What somebody wants to end. What is another's is to them as if it were not there.
pub(super) fn choose<'a>(
    known: &'a [Record],
    requested: &'a [Requested],
    end: &End,
    peer: Peer,
) -> Result<Wanted<'a>, String> {
    let held = own(known, peer).map(Wanted::Held);
    let open = requested.iter().filter(|requested| requested.is_open()).map(Wanted::Requested);
    let all: Vec<Wanted> = held.chain(open).collect();
    let wanted = match (&end.grant, all.as_slice()) {
        (Some(name), _) => all.iter().find(|wanted| is_named(**wanted, name)).copied(),
        (None, []) => return Err(NOTHING.to_owned()),
        (None, [only]) if !peer.is_root() => Some(*only),
        (None, several) => {
            let names: Vec<&str> =
                several.iter().map(|wanted| name_of(*wanted)).take(MOST_NAMES).collect();
            return Err(format!("say which one: lapse end {}", names.join(", or lapse end ")));
        }
    };
    let name = end.grant.as_deref().unwrap_or_default();
    let wanted = wanted.ok_or_else(|| {
        format!(
            "you neither hold {} on this host nor have requested it here: `lapse status` shows what there is",
            plain(name, 253)
        )
    })?;
    if let Wanted::Held(record) = wanted
        && record.stage == Stage::Ending
    {
        let why = record.message.as_ref().map(|why| format!(": {}", plain(why, 512)));
        let why = why.unwrap_or_default();
        return Err(format!("{} is being ended already, and not gone yet{why}", record.grant));
    }
    Ok(wanted)
}

fn name_of(wanted: Wanted<'_>) -> &str {
    match wanted {
        Wanted::Held(record) => &record.grant,
        Wanted::Requested(requested) => &requested.name,
    }
}

/// Whether somebody means this one: what is held goes by its Grant and by its request.
fn is_named(wanted: Wanted<'_>, name: &str) -> bool {
    match wanted {
        Wanted::Held(record) => {
            let request = record.asked.as_ref().map(|asked| asked.request.as_str());
            let is_request =
                |request: &str| request == name || request.split('/').next_back() == Some(name);
            record.grant == name || request.is_some_and(is_request)
        }
        Wanted::Requested(requested) => requested.name == name || requested.full_name() == name,
    }
}

#[cfg(test)]
mod tests;
