//! Where people on this host hand in what they request, and give it up: the end at the socket.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use lapse_engine::order::Host;
use tokio::sync::{mpsc, watch};
use tracing::info;

use super::book::Requested;
use super::courier::{Errand, Gate};
use super::kept::Kept;
use super::wish::{Whose, Wish, end, name_of, request};
use crate::identity::HostKey;
use crate::shares::Shares;

/// How long is waited for what the cluster says.
const ANSWERING: Duration = Duration::from_secs(20);
/// How many people's words may be under way at once; each has one. A gateway takes as many of a host.
const AT_ONCE: usize = 4;

/// Somebody on this host, as the kernel says.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// Their number.
    pub uid: u32,
    /// Their name.
    pub name: &'a str,
}

/// Where it is handed in.
pub struct Counter {
    host: Host,
    key: HostKey,
    kept: Kept,
    gate: watch::Receiver<Gate>,
    errands: mpsc::Sender<Errand>,
    turns: Shares,
}

/// What becomes of an errand that was not answered with a yes.
enum Failed {
    /// It was not stored, in words.
    Refused(String),
    /// Nobody knows.
    Unknown,
}

impl Counter {
    pub(super) fn new(
        (host, key): (Host, HostKey),
        kept: Kept,
        gate: watch::Receiver<Gate>,
        errands: mpsc::Sender<Errand>,
    ) -> Self {
        Self { host, key, kept, gate, errands, turns: Shares::default() }
    }

    /// What somebody has requested here, or everybody.
    #[must_use]
    pub fn of(&self, uid: Option<u32>, now: DateTime<Utc>) -> Vec<Requested> {
        self.kept.look(|book| book.of(uid, now))
    }

    /// Requests something for somebody.
    ///
    /// # Errors
    /// Why it is not requested, in words.
    pub fn request(&self, wish: &Wish, who: Who, now: DateTime<Utc>) -> Result<Requested, String> {
        let gate = self.gate.borrow().clone();
        let namespace = gate.namespace()?;
        let chance = getrandom::u64().map_err(|error| format!("no name can be made: {error}"))?;
        let name = name_of(&self.host, who.name, chance);
        let whose = Whose { host: &self.host, user: who.name, namespace, name: &name };
        let json = request(whose, wish, now, &self.key).map_err(|error| error.to_string())?;
        let requested = Requested {
            name: name.clone(),
            namespace: namespace.to_owned(),
            user: who.name.to_owned(),
            what: wish.words(),
            since: now,
            phase: None,
            waiting_for: None,
            why: None,
        };
        let noted = self.kept.change(|book| {
            book.count(who.uid, false, Instant::now())?;
            book.add(who.uid, requested.clone())
        });
        noted.map_err(|full| full.to_string())?;
        info!(
            request = name,
            user = who.name,
            what = requested.what,
            "somebody requests access here"
        );
        match self.bring(who.uid, &name, json, false) {
            Ok(()) => self.kept.change(|book| book.stored(&name)),
            Err(Failed::Refused(why)) => {
                self.kept.change(|book| book.remove(&name));
                return Err(why);
            }
            Err(Failed::Unknown) => {
                return Err(format!(
                    "the gateway has not answered, and may have taken it: `lapse status` shows {name} if it has"
                ));
            }
        }
        Ok(requested)
    }

    /// Gives up what somebody has requested; says so. Nothing of it begins here afterwards, whether or not the cluster hears
    /// of it. What has begun when that is noted for the first time is to be stopped then.
    ///
    /// # Errors
    /// Why the cluster does not withdraw it, in words.
    pub fn give_up(
        &self,
        requested: &Requested,
        who: Who,
        now: DateTime<Utc>,
        stop: impl FnOnce(),
    ) -> Result<String, String> {
        let Requested { name, namespace, what, .. } = requested;
        let whose = Whose { host: &self.host, user: who.name, namespace, name };
        let json = end(whose, now, &self.key).map_err(|error| error.to_string())?;
        let ((is_new, counted), is_noted) = self.kept.write_down(|book| {
            let is_new = book.give_up(requested.full_name());
            (is_new, book.count(who.uid, true, Instant::now()))
        });
        if is_new {
            stop();
        }
        info!(request = name, user = who.name, "somebody gives up what they have requested here");
        let gate = self.gate.borrow().clone();
        let why = match (counted, gate.namespace()) {
            (Err(full), _) => full.to_string(),
            (Ok(()), Err(why)) => why.to_owned(),
            (Ok(()), Ok(_)) => match self.bring(who.uid, name, json, true) {
                Ok(()) => return Ok(format!("Withdrawn: {name} ({what}).")),
                Err(Failed::Refused(why)) => why,
                Err(Failed::Unknown) => "the gateway has not answered".to_owned(),
            },
        };
        let becomes = if is_noted {
            "but nothing of it begins on this host"
        } else {
            "and it cannot be written down on this host, where it may still begin (is the disk full?)"
        };
        Err(format!("the cluster has not heard that {name} is given up, {becomes}: {why}"))
    }

    /// Has something brought to the gateway, and waits for what becomes of it.
    fn bring(&self, uid: u32, name: &str, json: String, is_end: bool) -> Result<(), Failed> {
        let busy = || Failed::Refused(BUSY.to_owned());
        let Ok(_turn) = self.turns.take(uid, 1, AT_ONCE) else { return Err(busy()) };
        let (reply, answer) = sync_channel(1);
        let errand = Errand { json, name: name.to_owned(), is_end, reply };
        self.errands.try_send(errand).map_err(|_| busy())?;
        match answer.recv_timeout(ANSWERING) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(why)) => Err(Failed::Refused(why)),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Err(Failed::Unknown),
        }
    }
}

const BUSY: &str = "the agent has much to bring to the gateway: try again in a moment";

#[cfg(test)]
mod tests {
    use lapse_crds::{AccessDecision, AccessRequest};
    use lapse_wire::{Asked, Progress, from_agent};

    use super::*;
    use crate::places::Places;
    use crate::requests::{Courier, open, refusal};

    const AL: Who = Who { uid: 1000, name: "al" };

    struct Fixture {
        _folder: tempfile::TempDir,
        places: Places,
        counter: Counter,
        courier: Courier,
    }

    fn fixture() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::under(folder.path());
        std::fs::create_dir_all(places.state()).unwrap();
        let host = Host { name: "web-1".into(), uid: "e-1".into() };
        let (counter, courier) = open(&places, host, HostKey::from_seed(&[5; 32]));
        Fixture { _folder: folder, places, counter, courier }
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + chrono::TimeDelta::days(20_000) + chrono::TimeDelta::seconds(seconds)
    }

    fn admin() -> Wish {
        Wish { admin: true, ..Wish::default() }
    }

    /// Requests while a gateway answers this to whatever is said.
    fn answered<T: Send>(
        fixture: &mut Fixture,
        error: &str,
        say: impl FnOnce(&Counter) -> T + Send,
    ) -> (T, from_agent::Message) {
        let Fixture { counter, courier, .. } = fixture;
        let counter = &*counter;
        std::thread::scope(|scope| {
            let saying = scope.spawn(move || say(counter));
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let message = runtime.block_on(courier.next());
            let (json, is_withdrawal) = match &message {
                from_agent::Message::Ask(ask) => (ask.json.clone(), false),
                from_agent::Message::Withdraw(withdraw) => (withdraw.json.clone(), true),
                other => panic!("{other:?}"),
            };
            let object: serde_json::Value = serde_json::from_str(&json).unwrap();
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            courier.hear(Asked { name, is_withdrawal, error: error.to_owned() });
            (saying.join().unwrap(), message)
        })
    }

    #[test]
    fn what_is_requested_is_carried_and_then_shown() {
        let mut fixture = fixture();
        fixture.courier.opened("ops");
        let (requested, message) =
            answered(&mut fixture, "", |counter| counter.request(&admin(), AL, at(0)));
        let requested = requested.unwrap();
        assert!(requested.full_name().starts_with("ops/web-1-al-"), "{requested:?}");
        let from_agent::Message::Ask(ask) = message else { panic!("{message:?}") };
        let asked: AccessRequest = serde_json::from_str(&ask.json).unwrap();
        assert_eq!(asked.spec.origin.unwrap().local_user, "al");
        let Fixture { places, counter, courier, .. } = &mut fixture;
        assert_eq!(counter.of(Some(1000), at(0)).len(), 1);
        assert!(counter.of(Some(1001), at(0)).is_empty());
        assert_eq!(counter.of(None, at(0)).len(), 1);
        assert_eq!(courier.names(), std::slice::from_ref(&requested.name));
        // Also after the agent was restarted.
        let host = Host { name: "web-1".into(), uid: "e-1".into() };
        let (counter, courier) = open(places, host, HostKey::from_seed(&[5; 32]));
        let phase = "Denied".to_owned();
        let progress = Progress { name: requested.name, phase, ..Progress::default() };
        courier.note(&progress, at(1));
        assert!(!counter.of(Some(1000), at(2))[0].is_open());
        assert!(courier.names().is_empty());
    }

    #[test]
    fn what_is_refused_leaves_nothing() {
        let mut fixture = fixture();
        fixture.courier.opened("ops");
        let (refused, _) = answered(&mut fixture, "no policy\u{1b} offers it", |counter| {
            counter.request(&admin(), AL, at(0))
        });
        assert_eq!(refused, Err("no policy? offers it".to_owned()));
        assert!(fixture.counter.of(None, at(0)).is_empty());
    }

    #[test]
    fn without_a_gateway_that_takes_it_nothing_is_said() {
        let fixture = fixture();
        let refused = |counter: &Counter| counter.request(&admin(), AL, at(0)).unwrap_err();
        assert_eq!(
            refused(&fixture.counter),
            "the agent is not connected to the gateway: try again when `lapse status` says that it is"
        );
        fixture.courier.opened("");
        assert!(refused(&fixture.counter).starts_with("the gateway takes no requests from hosts"));
        assert!(fixture.counter.of(None, at(0)).is_empty());
    }

    /// What was sent as the connection ended may be stored, and what was not sent is not.
    #[test]
    fn a_connection_that_ends_is_told() {
        let mut fixture = fixture();
        fixture.courier.opened("ops");
        let Fixture { counter, courier, .. } = &mut fixture;
        let counter = &*counter;
        let unknown = std::thread::scope(|scope| {
            let asking = scope.spawn(|| counter.request(&admin(), AL, at(0)));
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let _sent = runtime.block_on(courier.next());
            courier.lost();
            asking.join().unwrap().unwrap_err()
        });
        assert!(unknown.contains("may have taken it"), "{unknown}");
        assert_eq!(courier.names().len(), 1);
        courier.opened("ops");
        let unsent = std::thread::scope(|scope| {
            let asking = scope.spawn(|| counter.request(&admin(), AL, at(0)));
            while !asking.is_finished() {
                courier.lost();
                std::thread::yield_now();
            }
            asking.join().unwrap().unwrap_err()
        });
        assert!(unsent.starts_with("the agent is not connected"), "{unsent}");
        assert_eq!(courier.names().len(), 1);
    }

    #[test]
    fn what_is_given_up_is_withdrawn_and_begins_no_more() {
        let mut fixture = fixture();
        fixture.courier.opened("ops");
        let (requested, _) =
            answered(&mut fixture, "", |counter| counter.request(&admin(), AL, at(0)));
        let requested = requested.unwrap();
        let full_name = requested.full_name();
        let why = |uid| refusal(&fixture.places, &full_name, uid);
        assert_eq!(why(1000), None);
        // By then al may be another one.
        assert!(why(1001).unwrap().starts_with("the local user of this name had another user ID"));
        let (ended, message) =
            answered(&mut fixture, "", |counter| counter.give_up(&requested, AL, at(1), || ()));
        assert_eq!(ended.unwrap(), format!("Withdrawn: {} (sudo).", requested.name));
        let from_agent::Message::Withdraw(withdraw) = message else { panic!("{message:?}") };
        let decision: AccessDecision = serde_json::from_str(&withdraw.json).unwrap();
        assert_eq!(decision.spec.request.name, requested.name);
        let why = refusal(&fixture.places, &full_name, 1000).unwrap();
        assert!(why.starts_with("who requested it on this host gave it up"), "{why}");
        // Nor does it without a connection.
        fixture.courier.lost();
        let untold = fixture.counter.give_up(&requested, AL, at(2), || ()).unwrap_err();
        let expected = format!(
            "the cluster has not heard that {} is given up, but nothing of it begins on this host: the agent is not connected",
            requested.name
        );
        assert!(untold.starts_with(&expected), "{untold}");
    }

    /// Whoever fills the disk must not have somebody told that nothing begins.
    #[test]
    fn what_cannot_be_written_down_may_begin_and_that_is_said() {
        let mut fixture = fixture();
        fixture.courier.opened("ops");
        let (requested, _) =
            answered(&mut fixture, "", |counter| counter.request(&admin(), AL, at(0)));
        let requested = requested.unwrap();
        fixture.courier.lost();
        std::fs::remove_dir_all(fixture.places.state()).unwrap();
        let mut is_stopped = false;
        let stop = || is_stopped = true;
        let told = fixture.counter.give_up(&requested, AL, at(1), stop).unwrap_err();
        assert!(told.contains("where it may still begin (is the disk full?)"), "{told}");
        assert!(is_stopped, "what has begun ends all the same");
    }

    /// Who has their words under way has no more of them there.
    #[test]
    fn one_person_has_one_turn() {
        let fixture = fixture();
        fixture.courier.opened("ops");
        let _turn = fixture.counter.turns.take(1000, 1, AT_ONCE).unwrap();
        assert_eq!(fixture.counter.request(&admin(), AL, at(0)), Err(BUSY.to_owned()));
        assert!(fixture.counter.of(None, at(0)).is_empty());
    }
}
