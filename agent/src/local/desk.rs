//! What is answered to whom. Everybody sees and ends what is theirs, and root what is anybody's.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use lapse_engine::order::Host;
use tokio::sync::{Semaphore, watch};
use tracing::{debug, info};

use super::held::held;
use super::line::{self, Limit, LineError};
use super::peers::Peer;
use super::protocol::{Agent, Answer, End, Exited, Message, Prove, Proven, Request, Run, VERSION};
use super::wanted::{Wanted, choose, own, requested};
use crate::accounts;
use crate::application::handed::check;
use crate::application::held::{application, in_force};
use crate::application::room::Room;
use crate::application::start::{Outcome, Started, start};
use crate::clock::{Clock as _, HostClock};
use crate::identity::HostKey;
use crate::journal::read;
use crate::origin::prove;
use crate::places::{Id, Places};
use crate::record::{Record, Stage};
use crate::requests::book::Requested;
use crate::requests::counter::{Counter, Who};
use crate::requests::wish::Wish;
use crate::standing::Standing;
use crate::text::plain;
use crate::worker::{EndHere, Known, Task};

/// How long somebody may take to say what they want.
const ASKING: Duration = Duration::from_secs(5);
/// How long they may take to read the answer.
const ANSWERING: Duration = Duration::from_secs(5);
/// How long is waited until something has ended.
const ENDING: Duration = Duration::from_secs(20);
/// How many ends may wait for the worker at once: it must have room for what the gateway says.
const MOST_ENDS: usize = 8;

/// What answers.
pub struct Desk {
    places: Places,
    host: Host,
    key: HostKey,
    known: watch::Receiver<Known>,
    tasks: SyncSender<Task>,
    ends: Semaphore,
    room: Room,
    counter: Counter,
}

impl Desk {
    /// Of this Endpoint and with its key: what is known, who carries out what is asked for, and where requests are handed in.
    #[must_use]
    pub fn new(
        places: Places,
        (host, key): (Host, HostKey),
        known: watch::Receiver<Known>,
        tasks: SyncSender<Task>,
        counter: Counter,
    ) -> Self {
        let (ends, room) = (Semaphore::new(MOST_ENDS), Room::default());
        Self { places, host, key, known, tasks, ends, room, counter }
    }

    /// Serves a connection, but for the end of an application that was started on it: that is [`attend`]ed to.
    #[must_use]
    pub fn serve(&self, stream: &UnixStream, peer: Peer) -> Option<Started> {
        let mut handed = Vec::new();
        let (answers, started) = match line::read(stream, Limit::after(ASKING), &mut handed) {
            Ok(line) if line.is_empty() => return None,
            Ok(line) => self.answer(&line, peer, handed),
            Err(LineError::Io(error)) => {
                debug!(peer.uid, peer.pid, %error, "somebody on the host said nothing");
                return None;
            }
            Err(error) => (vec![Answer::refused(error.to_string())], None),
        };
        say(stream, &answers, peer);
        started
    }

    fn answer(
        &self,
        line: &[u8],
        peer: Peer,
        handed: Vec<OwnedFd>,
    ) -> (Vec<Answer>, Option<Started>) {
        let answers = match Request::read(line) {
            Ok(Request::Status) => self.status(peer),
            Ok(Request::End(end)) => vec![match self.end(&end, peer) {
                Ok(message) => Answer::done(message),
                Err(message) => Answer::refused(message),
            }],
            Ok(Request::Prove(asked)) => match self.prove(&asked, peer) {
                Ok(proven) => vec![Answer::Origin(proven), Answer::done("")],
                Err(message) => vec![Answer::refused(message)],
            },
            Ok(Request::Ask(wish)) => match self.ask(&wish, peer) {
                Ok(requested) => vec![Answer::Requested(Box::new(requested)), Answer::done("")],
                Err(message) => vec![Answer::refused(message)],
            },
            Ok(Request::Run(run)) => match self.run(&run, peer, handed) {
                Ok(started) => return (vec![Answer::Started(Message::default())], Some(started)),
                Err(message) => vec![Answer::refused(message)],
            },
            Err(error) => vec![Answer::refused(error.to_string())],
        };
        (answers, None)
    }

    /// The local user that somebody is, by what the kernel says.
    fn name_of(&self, peer: Peer) -> Result<String, String> {
        let names = accounts::names_of(&self.places, peer.uid)
            .map_err(|error| format!("the accounts of this host cannot be read: {error}"))?;
        <[String; 1]>::try_from(names).map(|[name]| name).map_err(|names| {
            format!(
                "{} local users of this host have the user ID {}, and it must be one",
                names.len(),
                peer.uid
            )
        })
    }

    /// States that somebody asks for something here; or says why not.
    fn prove(&self, Prove { digest }: &Prove, peer: Peer) -> Result<Proven, String> {
        let name = &self.name_of(peer)?;
        let now = HostClock.read().map_err(|_| UNCLEAR.to_owned())?.wall;
        let origin = prove(&self.host, name, digest, now, &self.key);
        let origin = origin.map_err(|error| error.to_string())?;
        info!(name, peer.uid, peer.pid, "it is stated that somebody requests access here");
        Ok(Proven { origin })
    }

    /// Requests something for somebody; or says why not.
    fn ask(&self, wish: &Wish, peer: Peer) -> Result<Requested, String> {
        let name = &self.name_of(peer)?;
        let now = HostClock.read().map_err(|_| UNCLEAR.to_owned())?.wall;
        self.counter.request(wish, Who { uid: peer.uid, name }, now)
    }

    /// Starts an application that somebody holds; or says why not.
    fn run(
        &self,
        Run { application: name }: &Run,
        peer: Peer,
        handed: Vec<OwnedFd>,
    ) -> Result<Started, String> {
        let known = self.known.borrow().clone();
        let held = known.iter().filter(|record| is_held(record, peer, name));
        // Of several the one that lasts longest.
        let Some(record) = held.max_by_key(|record| record.due()) else {
            return Err(not_held(&self.host.name, &plain(name, 63)));
        };
        let place = self.room.take(peer.uid).map_err(|full| full.to_string())?;
        let handed = check(handed).map_err(|error| error.to_string())?;
        let id = Id::of(&record.grant);
        let (record, rest) =
            in_force(&HostClock, &self.places, &id).map_err(|error| error.to_string())?;
        let started = start(&self.places, (&record.grant, rest), handed, place);
        info!(record.grant, peer.uid, peer.pid, name, "an application is started");
        started.map_err(|error| format!("{name} cannot be started: {error}"))
    }

    fn status(&self, peer: Peer) -> Vec<Answer> {
        let Ok(now) = HostClock.read() else {
            return vec![Answer::refused(UNCLEAR)];
        };
        let connection: Option<Standing> = read(self.places.standing()).unwrap_or_default();
        // What went wrong names the addresses of the installation.
        let connection = connection.map(|standing| Standing {
            last_error: standing.last_error.filter(|_| peer.is_root()),
            ..standing
        });
        let agent = Agent { version: VERSION, endpoint: self.host.name.clone(), connection };
        let known = self.known.borrow().clone();
        let all = own(&known, peer).filter_map(|record| held(&self.places, record, &now));
        let mut answers = vec![Answer::Agent(agent)];
        answers.extend(all.map(|held| Answer::Held(Box::new(held))));
        let whose = if peer.is_root() { None } else { Some(peer.uid) };
        let requested = requested(&known, self.counter.of(whose, now.wall));
        answers.extend(requested.map(|one| Answer::Requested(Box::new(one))));
        answers.push(Answer::done(""));
        answers
    }

    /// Ends something; says so, or why not.
    fn end(&self, end: &End, peer: Peer) -> Result<String, String> {
        let known = self.known.borrow().clone();
        // What is held ends whatever the clock says.
        let now = HostClock.read().map(|now| now.wall).unwrap_or_default();
        let requested: Vec<Requested> =
            requested(&known, self.counter.of(Some(peer.uid), now)).collect();
        match choose(&known, &requested, end, peer)? {
            Wanted::Held(record) => self.end_held(record, peer),
            Wanted::Requested(requested) => {
                let name = &self.name_of(peer)?;
                let stop = || self.stop(requested.full_name(), peer);
                self.counter.give_up(requested, Who { uid: peer.uid, name }, now, stop)
            }
        }
    }

    /// Ends what has begun of a request that was given up: its order may have been judged a moment before that was noted. This
    /// waits for room, which a gateway may fill.
    fn stop(&self, request: String, peer: Peer) {
        // Without a worker nothing begins.
        let _ = self.tasks.send(Task::GivenUp { request, uid: peer.uid });
    }

    fn end_held(&self, record: &Record, peer: Peer) -> Result<String, String> {
        let grant = &record.grant;
        let right = record.right.as_ref();
        let what = right.map(|right| plain(&right.elevation.to_string(), 128)).unwrap_or_default();
        let ended = format!("Ended: {grant} ({what}).");
        let open =
            format!("{grant} is being ended, and not gone yet: `lapse status` says what keeps it");
        let Ok(_place) = self.ends.try_acquire() else { return Err(BUSY.to_owned()) };
        let (done, is_done) = sync_channel(1);
        let task = EndHere { id: Id::of(grant), uid: peer.uid, done };
        match self.tasks.try_send(Task::EndHere(task)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(BUSY.to_owned()),
            Err(TrySendError::Disconnected(_)) => return Err(STOPPING.to_owned()),
        }
        info!(grant, peer.uid, peer.pid, "an end was asked for on the host");
        match is_done.recv_timeout(ENDING) {
            Ok(Ok(true)) => Ok(ended),
            Ok(Ok(false)) | Err(RecvTimeoutError::Timeout) => Err(open),
            Ok(Err(error)) => Err(format!("{grant} cannot be ended: {error}")),
            Err(RecvTimeoutError::Disconnected) => Err(STOPPING.to_owned()),
        }
    }
}

/// Waits until an application has ended, and says how.
pub fn attend(stream: &UnixStream, started: Started, peer: Peer) {
    let exited = |code| Answer::Exited(Exited { code });
    let answers = match started.wait(stream) {
        Outcome::Exited(code) => vec![exited(code), Answer::done("")],
        Outcome::Over(code) => {
            vec![
                exited(code),
                Answer::done("your access has ended, and what you ran by it with it"),
            ]
        }
        Outcome::Unknown => vec![Answer::refused("the agent cannot tell how it has ended")],
    };
    say(stream, &answers, peer);
}

fn say(stream: &UnixStream, answers: &[Answer], peer: Peer) {
    let limit = Limit::after(ANSWERING);
    for answer in answers {
        if let Err(error) = line::write(stream, answer, limit) {
            debug!(peer.uid, peer.pid, %error, "somebody on the host does not read the answer");
            return;
        }
    }
}

/// Whether this is the right of somebody to an application of this name.
fn is_held(record: &Record, peer: Peer, name: &str) -> bool {
    let right = record.right.as_ref().filter(|_| record.stage == Stage::Active);
    let theirs = right.filter(|right| right.uid == peer.uid);
    theirs.and_then(application).is_some_and(|(own, _)| own == name)
}

fn not_held(endpoint: &str, name: &str) -> String {
    format!(
        "you hold no application {name} on Endpoint {endpoint}. Request it, for example with `kubectl jit request --endpoint \
         {endpoint} --application {name} --for 30m --reason '…'`, and try again when `lapse run --list` shows it"
    )
}

const UNCLEAR: &str = "the clock of this host cannot be read";
const BUSY: &str = "the agent has much to do: try again in a moment";
const STOPPING: &str = "the agent is stopping: try again when it is back";

#[cfg(test)]
mod tests;
