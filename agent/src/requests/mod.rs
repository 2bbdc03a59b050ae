//! What people on this host request (`lapse request`): the agent states that it is they who ask, the gateway carries it, and the
//! cluster decides.
//!
//! - Pure: [`wish`]: what somebody asks for, and what is signed of it. [`book`]: what was asked for and what has become of it, and
//!   how much of that one person may have.
//! - [`counter`]: where it is handed in. [`courier`]: who brings it to the gateway. `kept`: the book, which both write in.

pub mod book;
pub mod counter;
pub mod courier;
mod kept;
pub mod wish;

use lapse_engine::order::Host;
use tokio::sync::{mpsc, watch};

use self::counter::Counter;
use self::courier::{Courier, Gate};
use self::kept::Kept;
pub use self::kept::refusal;
use crate::identity::HostKey;
use crate::places::Places;

/// How much may wait to be brought to the gateway.
const WAITING: usize = 16;

/// Where people on this host hand in what they request, and who brings it to the gateway.
#[must_use]
pub fn open(places: &Places, host: Host, key: HostKey) -> (Counter, Courier) {
    let kept = Kept::read(places);
    let (gate, seen) = watch::channel(Gate::default());
    let (sender, errands) = mpsc::channel(WAITING);
    (Counter::new((host, key), kept.clone(), seen, sender), Courier::new(kept, gate, errands))
}
