//! Brings what is to be told to where people see it. Each person has a thread while there is something for them, so that
//! whoever stalls what is theirs stalls nobody else; what they do not take meanwhile is bounded.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;

use tracing::{debug, info};

use super::{Letter, desktop, terminals};
use crate::places::Places;
use crate::system::HostSystem;

/// How many people are told something at once.
const MOST: usize = 64;
/// How much waits for one of them.
const WAITING: usize = 8;

/// What waits, by the number of the user. Who is in it has a thread.
type Waiting = Arc<Mutex<HashMap<u32, Vec<Letter>>>>;

/// What brings it.
#[derive(Clone, Debug)]
pub struct Post {
    places: Places,
    waiting: Waiting,
}

impl Post {
    /// The one of a host.
    #[must_use]
    pub fn new(places: Places) -> Self {
        Self { places, waiting: Waiting::default() }
    }

    /// Has something told, if there is room for it. Waits for nothing.
    pub fn send(&self, letter: Letter) {
        let places = self.places.clone();
        self.send_by(letter, move |letter| deliver(&places, letter));
    }

    fn send_by(&self, letter: Letter, mut deliver: impl FnMut(&Letter) + Send + 'static) {
        let uid = letter.uid;
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = waiting.get_mut(&uid) {
            if own.len() < WAITING {
                own.push(letter);
            }
            return;
        }
        if waiting.len() >= MOST {
            debug!(uid, "too many people are told something at once");
            return;
        }
        let all = self.waiting.clone();
        let bringing = move || {
            while let Some(letters) = next(&all, uid) {
                letters.iter().for_each(&mut deliver);
            }
        };
        if Builder::new().name("post".to_owned()).spawn(bringing).is_ok() {
            waiting.insert(uid, vec![letter]);
        }
    }
}

/// What waits for somebody. If nothing does, their thread ends.
fn next(waiting: &Waiting, uid: u32) -> Option<Vec<Letter>> {
    let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
    let own = waiting.get_mut(&uid)?;
    if own.is_empty() {
        waiting.remove(&uid);
        return None;
    }
    Some(std::mem::take(own))
}

fn deliver(places: &Places, Letter { uid, id, text }: &Letter) {
    let terminals = terminals::of(places, *uid, id);
    let written = terminals::write(places, *uid, &terminals, &text.body);
    desktop::show(&HostSystem, places, *uid, text);
    info!(uid, %id, written, said = text.title, "a holder is told on the host");
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};
    use std::time::Duration;

    use super::*;
    use crate::notices::words::Text;
    use crate::places::Id;

    fn letter(uid: u32) -> Letter {
        Letter { uid, id: Id::of("g"), text: Text { title: "t", body: "b".into() } }
    }

    fn to(told: &Sender<u32>) -> impl FnMut(&Letter) + Send + 'static {
        let told = told.clone();
        move |letter| told.send(letter.uid).unwrap()
    }

    #[test]
    fn who_stalls_what_is_theirs_stalls_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let post = Post::new(Places::under(folder.path()));
        let (go_on, stalled) = channel::<()>();
        let (told, is_told) = channel();
        let soon = Duration::from_secs(20);
        let mut first = to(&told);
        let stalling = move |letter: &Letter| {
            stalled.recv_timeout(soon).unwrap();
            first(letter);
        };
        post.send_by(letter(1000), stalling);
        for _ in 0..2 * WAITING {
            post.send_by(letter(1000), |_| panic!("they have a thread"));
        }
        post.send_by(letter(1001), to(&told));
        assert_eq!(is_told.recv_timeout(soon), Ok(1001));
        for _ in 0..=2 * WAITING {
            let _ = go_on.send(());
        }
        drop(told);
        let later: Vec<u32> = is_told.into_iter().collect();
        assert!((1..=WAITING + 1).contains(&later.len()), "what waits is bounded: {later:?}");
    }
}
