//! What the holders of rights are told on the host: that a right begins, that it ends soon, and that it has ended early.
//!
//! - [`schedule`]: what is told when, once. Pure. [`words`]: how. [`told`]: what was told, over a restart of the agent.
//! - [`terminals`], [`desktop`]: where. [`post`]: from threads of their own, as people can stall what is theirs.

pub mod desktop;
pub mod post;
pub mod schedule;
pub mod terminals;
pub mod told;
pub mod words;

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use self::post::Post;
use self::schedule::{Look, look};
use self::told::Memory;
use crate::clock::{Clock as _, HostClock, Reading};
use crate::places::{Id, Places};
use crate::worker::Known;

/// How often it is looked whether something is to be told while a right is held: clocks may be set, and the machine may
/// sleep.
const WATCHFUL: Duration = Duration::from_secs(10);
/// And while there is none.
const CALM: Duration = Duration::from_hours(1);

/// Tells holders what there is to tell, for as long as the worker lives.
pub async fn tell(places: Places, mut known: watch::Receiver<Known>) {
    let post = Post::new(places.clone());
    let mut memory = Memory::read(places);
    // Before the worker has looked, nothing is known, and what was told would be forgotten.
    if known.borrow().is_empty() && known.changed().await.is_err() {
        return;
    }
    loop {
        let records = known.borrow_and_update().clone();
        let pause = HostClock.read().map_or(WATCHFUL, |now| {
            tell_all(&records, &mut memory, &now, |letter| post.send(letter))
        });
        tokio::select! {
            changed = known.changed() => if changed.is_err() { return },
            () = sleep(pause) => {}
        }
    }
}

/// Something to tell somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Whom, by their number.
    pub uid: u32,
    /// Of what.
    pub id: Id,
    /// What.
    pub text: words::Text,
}

/// Tells all that is due of these; how long nothing is. It is noted before it is told, so that nothing is told twice.
fn tell_all(
    records: &[crate::record::Record],
    memory: &mut Memory,
    now: &Reading,
    mut send: impl FnMut(Letter),
) -> Duration {
    let mut pause = CALM;
    let mut letters = Vec::new();
    let mut known = Vec::new();
    for record in records {
        let Some(right) = &record.right else { continue };
        let id = Id::of(&record.grant);
        let Look { say, told, next_in } = look(record, memory.of(&id), now);
        memory.note(&id, told);
        if let Some(say) = say {
            let text = words::text(record, right, say, now.wall);
            letters.push(Letter { uid: right.uid, id: id.clone(), text });
        }
        if let Some(next_in) = next_in {
            pause = pause.min(WATCHFUL).min(next_in.to_std().unwrap_or_default());
        }
        known.push(id);
    }
    memory.keep(&known);
    memory.write();
    letters.into_iter().for_each(&mut send);
    pause
}

#[cfg(test)]
mod tests;
