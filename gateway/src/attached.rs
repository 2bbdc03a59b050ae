//! Which agents are connected here, and how they are told something.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::book::Tell;
use crate::identity::Identity;

/// How much may wait to be taken by an agent's own task. One whose task takes nothing more is disconnected: it connects
/// again, and is told everything.
const WAITING: usize = 64;

/// Why a connection ends, if it is not the agent that ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndCause {
    /// The same machine has connected again, here or to another replica.
    Replaced,
    /// Its Endpoint was deleted.
    Deleted,
    /// Its Endpoint has enrolled another agent, or is another of the same name.
    Reenrolled,
    /// One of these two.
    Gone,
    /// It takes nothing.
    Slow,
    /// This process stops.
    Stopping,
}

/// What the task of a connection hears.
pub(crate) struct Ears {
    /// The connection's own number.
    pub(crate) number: u64,
    /// What the agent is to be told.
    pub(crate) tells: mpsc::Receiver<Box<Tell>>,
    /// That it ends.
    pub(crate) end: oneshot::Receiver<EndCause>,
}

/// A connection that what the watch shows has no place for. The watch may show late what was, so this is no reason to end it:
/// its agent would end all that it has given.
#[derive(Clone, Debug)]
pub(crate) struct Doubtful {
    /// Whose it is.
    pub(crate) identity: Arc<Identity>,
    /// Its name.
    pub(crate) connection: Arc<str>,
    number: u64,
}

struct Attachment {
    number: u64,
    identity: Arc<Identity>,
    machine: String,
    connection: Arc<str>,
    /// Whether its name stands on its Endpoint, or did.
    is_stored: bool,
    tells: mpsc::Sender<Box<Tell>>,
    end: Option<oneshot::Sender<EndCause>>,
}

impl Attachment {
    fn doubtful(&self) -> Doubtful {
        let (identity, connection) = (self.identity.clone(), self.connection.clone());
        Doubtful { identity, connection, number: self.number }
    }

    fn end(&mut self, cause: EndCause) {
        if let Some(end) = self.end.take() {
            // If nobody hears it, it has ended.
            let _ = end.send(cause);
        }
    }
}

/// The agents that are connected here, by the UID of their Endpoint.
#[derive(Default)]
pub(crate) struct Attached {
    agents: HashMap<String, Attachment>,
    /// The UID of who connected last under a name: two Endpoints of one name are never there at once.
    uids: HashMap<String, String>,
    next: u64,
}

impl Attached {
    /// An agent connects; `None` if another machine is connected as the same Endpoint. An older connection of the same
    /// machine ends: the agent cannot have two, so that one is dead and does not know it.
    pub(crate) fn attach(
        &mut self,
        identity: &Arc<Identity>,
        machine: &str,
        connection: &Arc<str>,
    ) -> Option<Ears> {
        if let Some(known) = self.agents.get_mut(&identity.uid) {
            if known.machine != machine && known.identity.public_key == identity.public_key {
                return None;
            }
            known.end(EndCause::Replaced);
        }
        let before = self.uids.insert(identity.name.clone(), identity.uid.clone());
        if let Some(before) = before.filter(|before| *before != identity.uid) {
            self.deleted(&before);
        }
        self.next += 1;
        let (tells_sender, tells) = mpsc::channel(WAITING);
        let (end_sender, end) = oneshot::channel();
        let attachment = Attachment {
            number: self.next,
            identity: identity.clone(),
            machine: machine.to_owned(),
            connection: connection.clone(),
            is_stored: false,
            tells: tells_sender,
            end: Some(end_sender),
        };
        self.agents.insert(identity.uid.clone(), attachment);
        Some(Ears { number: self.next, tells, end })
    }

    /// A connection has ended. Whether it was the one that counts.
    pub(crate) fn detach(&mut self, uid: &str, number: u64) -> bool {
        if self.agents.get(uid).is_none_or(|agent| agent.number != number) {
            return false;
        }
        if let Some(agent) = self.agents.remove(uid)
            && self.uids.get(&agent.identity.name).is_some_and(|last| last == uid)
        {
            self.uids.remove(&agent.identity.name);
        }
        true
    }

    /// Tells an agent something, if it is connected here.
    pub(crate) fn tell(&mut self, uid: &str, tell: Tell) {
        if let Some(agent) = self.agents.get_mut(uid)
            && agent.tells.try_send(Box::new(tell)).is_err()
        {
            agent.end(EndCause::Slow);
        }
    }

    /// The name of a connection stands on its Endpoint: from now on, another name there is of a later connection.
    pub(crate) fn stored(&mut self, uid: &str, connection: &str) {
        if let Some(agent) = self.agents.get_mut(uid)
            && *agent.connection == *connection
        {
            agent.is_stored = true;
        }
    }

    /// An Endpoint was seen: with this UID, and this key and connection, if an agent has enrolled and connected. The connection
    /// that this leaves no place for: of another key; of an agent that has connected to another replica since; of another
    /// Endpoint of the same name, of which it may have been missed that it went.
    pub(crate) fn seen(
        &self,
        name: &str,
        uid: &str,
        (public_key, connection): (Option<&str>, Option<&str>),
    ) -> Option<Doubtful> {
        if let Some(agent) = self.agents.get(uid) {
            let is_other = public_key != Some(agent.identity.public_key.as_str());
            let is_elsewhere = agent.is_stored && connection != Some(&*agent.connection);
            return (is_other || is_elsewhere).then(|| agent.doubtful());
        }
        let before = self.uids.get(name)?;
        self.agents.get(before).map(Attachment::doubtful)
    }

    /// An Endpoint is gone.
    pub(crate) fn deleted(&mut self, uid: &str) {
        if let Some(agent) = self.agents.get_mut(uid) {
            agent.end(EndCause::Deleted);
        }
    }

    /// The Endpoints are these and no others: the connections that this leaves no place for.
    pub(crate) fn beyond(&self, is_there: impl Fn(&str) -> bool) -> Vec<Doubtful> {
        let beyond = self.agents.iter().filter(|(uid, _)| !is_there(uid));
        beyond.map(|(_, agent)| agent.doubtful()).collect()
    }

    /// Whether this connection is still there.
    pub(crate) fn is_there(&self, doubtful: &Doubtful) -> bool {
        let agent = self.agents.get(&doubtful.identity.uid);
        agent.is_some_and(|agent| agent.number == doubtful.number)
    }

    /// There is no place for this connection, for sure.
    pub(crate) fn end(&mut self, doubtful: &Doubtful, cause: EndCause) {
        if let Some(agent) = self.agents.get_mut(&doubtful.identity.uid)
            && agent.number == doubtful.number
        {
            agent.end(cause);
        }
    }

    /// The same, once the name of this connection stood on its Endpoint: before, another name may be of an earlier one.
    pub(crate) fn end_stored(&mut self, doubtful: &Doubtful, cause: EndCause) {
        let agent = self.agents.get(&doubtful.identity.uid);
        if agent.is_some_and(|agent| agent.is_stored) {
            self.end(doubtful, cause);
        }
    }

    /// Whether the agent of the Endpoint of this UID is connected here, by the connection of this name.
    pub(crate) fn has(&self, uid: &str, connection: &str) -> bool {
        self.agents.get(uid).is_some_and(|agent| *agent.connection == *connection)
    }

    /// Whether an agent is connected here by this name of its Endpoint.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        self.uids.contains_key(name)
    }

    /// Ends all.
    pub(crate) fn stop(&mut self) {
        for agent in self.agents.values_mut() {
            agent.end(EndCause::Stopping);
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn named(name: &str, uid: &str) -> Arc<Identity> {
        Arc::new(Identity {
            name: name.into(),
            uid: uid.into(),
            public_key: "k".into(),
            expires_at: DateTime::from_timestamp(2_000_000_000, 0).unwrap(),
        })
    }

    fn name() -> Arc<str> {
        "first".into()
    }

    fn identity(uid: &str) -> Arc<Identity> {
        named(&format!("host-of-{uid}"), uid)
    }

    #[test]
    fn the_newer_connection_of_a_machine_counts_and_another_machine_is_refused() {
        let mut attached = Attached::default();
        let mut first = attached.attach(&identity("u"), "m", &name()).unwrap();
        assert!(attached.attach(&identity("u"), "n", &name()).is_none());
        assert!(first.end.try_recv().is_err(), "who was there stays");
        let second = attached.attach(&identity("u"), "m", &name()).unwrap();
        assert_eq!(first.end.try_recv(), Ok(EndCause::Replaced));
        assert!(attached.is_named("host-of-u") && !attached.is_named("host-of-v"));
        assert!(!attached.detach("u", first.number) && attached.agents.contains_key("u"));
        assert!(attached.detach("u", second.number) && attached.agents.is_empty());
        assert!(attached.uids.is_empty());
    }

    #[test]
    fn what_the_watch_shows_otherwise_is_doubted_and_what_is_deleted_ends() {
        let mut attached = Attached::default();
        let mut ears = |uid: &str| attached.attach(&identity(uid), "m", &name()).unwrap().end;
        let (mut kept, mut gone, mut anew, _missed) = (ears("a"), ears("b"), ears("c"), ears("d"));
        assert!(attached.seen("host-of-a", "a", (Some("k"), None)).is_none());
        assert!(attached.seen("host-of-z", "z", (None, None)).is_none());
        attached.deleted("b");
        assert_eq!(gone.try_recv(), Ok(EndCause::Deleted));
        let of_another_key = attached.seen("host-of-c", "c", (Some("other"), None)).unwrap();
        assert_eq!(of_another_key.identity.uid, "c");
        assert_eq!(attached.seen("host-of-d", "d2", (None, None)).unwrap().identity.uid, "d");
        assert_eq!(attached.beyond(|uid| uid == "a").len(), 3);
        assert!(anew.try_recv().is_err(), "nothing ends by a doubt");
        attached.end(&of_another_key, EndCause::Reenrolled);
        assert_eq!(anew.try_recv(), Ok(EndCause::Reenrolled));
        assert!(kept.try_recv().is_err());
    }

    #[test]
    fn who_has_connected_to_another_replica_is_doubted_once_it_was_written_who_it_was() {
        let mut attached = Attached::default();
        let _ears = attached.attach(&identity("u"), "m", &name()).unwrap();
        let mut seen = |is_stored: bool, connection: &str| {
            if is_stored {
                attached.stored("u", "first");
            }
            attached.seen("host-of-u", "u", (Some("k"), Some(connection))).is_some()
        };
        assert!(!seen(false, "earlier"), "the watch shows what was before it");
        assert!(!seen(true, "first"));
        assert!(seen(true, "later"));
    }

    #[test]
    fn a_doubt_about_one_connection_does_not_end_the_next() {
        let mut attached = Attached::default();
        let first = attached.attach(&identity("u"), "m", &name()).unwrap();
        let doubtful = attached.seen("host-of-u", "u", (None, None)).unwrap();
        assert!(attached.is_there(&doubtful));
        attached.detach("u", first.number);
        let mut second = attached.attach(&identity("u"), "m", &name()).unwrap();
        assert!(!attached.is_there(&doubtful));
        attached.end(&doubtful, EndCause::Reenrolled);
        assert!(second.end.try_recv().is_err());
    }

    #[test]
    fn an_endpoint_that_was_made_anew_ends_the_connection_of_its_predecessor() {
        let mut attached = Attached::default();
        let mut first = attached.attach(&named("web-1", "u"), "m", &name()).unwrap();
        let second = attached.attach(&named("web-1", "v"), "m", &name()).unwrap();
        assert_eq!(first.end.try_recv(), Ok(EndCause::Deleted));
        assert!(attached.detach("u", first.number));
        assert_eq!(attached.seen("web-1", "w", (None, None)).unwrap().identity.uid, "v");
        assert!(attached.detach("v", second.number) && attached.uids.is_empty());
    }

    #[test]
    fn who_takes_nothing_is_disconnected_and_no_tell_is_lost_in_silence() {
        let mut attached = Attached::default();
        let mut ears = attached.attach(&identity("u"), "m", &name()).unwrap();
        for _ in 0..WAITING {
            attached.tell("u", Tell::Order("o".into()));
        }
        assert!(ears.end.try_recv().is_err());
        attached.tell("u", Tell::Order("o".into()));
        assert_eq!(ears.end.try_recv(), Ok(EndCause::Slow));
    }
}
