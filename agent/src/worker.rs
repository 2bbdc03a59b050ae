//! The thread that carries out orders: what comes from the gateway, and what the clock says.

mod here;
mod judge;

use std::collections::HashSet;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use lapse_crds::AgentReport;
use lapse_engine::order::{Host, Order, OrderError, PublishedTrust, Receipt, TrustStore, verify};
use tokio::sync::watch;
use tracing::{error, info, warn};

use self::here::Reply;
pub use self::here::{EndHere, Known};
use self::judge::judge;
use crate::drift;
use crate::hands::{Hands, HandsError, Round};
use crate::identity::write_trust;
use crate::journal::{MOST, Records};
use crate::places::Id;
use crate::problems::Problems;
use crate::record::Record;

/// How often clocks are looked at while a right is in force: one may be set, and the machine may sleep.
const WATCHFUL: Duration = Duration::from_secs(1);
/// And while there is none.
const CALM: Duration = Duration::from_hours(1);
/// How often it is looked whether what is in force is still there.
const THOROUGH: Duration = Duration::from_secs(15);
/// How many ends are remembered of orders that never came.
const MOST_UNSEEN: usize = 128;
/// How many orders wait: by unknown keys, for what is published about keys; for room on the disk.
const WAITING: usize = 64;

/// Something to do.
#[derive(Debug)]
pub enum Task {
    /// What is published of whom to trust.
    Trust(String),
    /// An order.
    Order(String),
    /// An end.
    End {
        /// The Grant.
        grant: String,
        /// Why, in words.
        reason: String,
        /// The UID of its request, or nothing.
        request_uid: String,
    },
    /// An end that somebody on the host asks for.
    EndHere(EndHere),
    /// Somebody on the host has given up what they requested, and has noted that.
    GivenUp {
        /// The request: its namespace and its name.
        request: String,
        /// Who, by their number.
        uid: u32,
    },
    /// The Endpoint is no more, or another agent has enrolled for it: everything ends.
    EndAll(String),
    /// A receipt is stored in the cluster.
    Recorded {
        /// The Grant.
        grant: String,
        /// Its number.
        sequence: i64,
    },
    /// What is done with sudo and not recorded, in words; or that all is recorded again.
    Unrecorded(Option<String>),
    /// This process ends. What is in force goes on, and ends by the timers.
    Stop,
}

/// What the cluster is to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Receipts that are not stored in the cluster.
    pub receipts: Vec<Receipt>,
    /// The Grants of which something may be there.
    pub grants: Vec<String>,
    /// What the agent says of itself.
    pub report: AgentReport,
    /// Whom to trust.
    pub authorities: String,
}

/// An end that could not be carried out yet.
#[derive(Clone, Debug)]
struct Ending {
    grant: String,
    reason: String,
    request_uid: String,
}

/// The thread's own.
pub struct Worker {
    hands: Hands,
    host: Host,
    enrolled_at: DateTime<Utc>,
    trust: TrustStore,
    problems: Problems,
    news: watch::Sender<News>,
    known: watch::Sender<Known>,
    /// What came of ends that people on the host asked for, until it is published.
    replies: Vec<Reply>,
    /// Orders by keys that are not known yet, and those that could not be remembered.
    waiting: Vec<Order>,
    /// Ends that could not be written down: said once, they are not said again.
    endings: Vec<Ending>,
    /// What the cluster asked for again.
    again: HashSet<String>,
}

impl Worker {
    /// With what does it, who this host is and since when, whom it trusts, what it lacks if it can do nothing, and who is
    /// told.
    #[must_use]
    pub fn new(
        hands: Hands,
        (host, enrolled_at): (Host, DateTime<Utc>),
        trust: TrustStore,
        lack: Option<String>,
        news: watch::Sender<News>,
    ) -> Self {
        let problems = Problems { lack, ..Problems::default() };
        let (waiting, endings, again) = (Vec::new(), Vec::new(), HashSet::new());
        let (known, replies) = (watch::Sender::default(), Vec::new());
        Self {
            hands,
            host,
            enrolled_at,
            trust,
            problems,
            news,
            known,
            replies,
            waiting,
            endings,
            again,
        }
    }

    /// Works until it is told to stop, or nobody is there who could tell it anything. Whoever starts it has settled what was
    /// in force.
    pub fn work(mut self, tasks: &Receiver<Task>) {
        let mut round = self.hands.round();
        let mut thorough = Instant::now();
        loop {
            let pause = self.tell(round);
            self.reply();
            match tasks.recv_timeout(pause) {
                Ok(Task::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(task) => self.take(task),
                Err(RecvTimeoutError::Timeout) => {}
            }
            for Ending { grant, reason, request_uid } in std::mem::take(&mut self.endings) {
                self.end(grant, reason, request_uid);
            }
            round = if thorough.elapsed() > THOROUGH {
                thorough = Instant::now();
                self.try_waiting();
                self.hands.thorough_round()
            } else {
                self.hands.round()
            };
        }
    }

    /// Says what is, and returns how long nothing is to be done.
    fn tell(&mut self, round: Result<Round, HandsError>) -> Duration {
        let round = match round {
            Ok(round) => round,
            Err(error) => {
                error!(%error, "orders cannot be looked at");
                self.problems.round = Some(error.to_string());
                let problem = self.problems.said();
                self.news.send_modify(|news| news.report.problem = problem);
                return WATCHFUL;
            }
        };
        let pause = pause(&round, !self.waiting.is_empty() || !self.endings.is_empty());
        let Round { records, problem, due: _, now } = round;
        self.problems.round = problem;
        let problem = self.problems.said();
        self.publish(&records);
        let is_news = |record: &Record| {
            self.again.contains(&record.grant)
                || now.as_ref().is_some_and(|now| record.is_news(now))
        };
        let receipts =
            records.iter().filter(|record| is_news(record)).map(Record::receipt).collect();
        let known = records.iter().filter(|record| record.is_open());
        let grants = known.map(|record| record.grant.clone()).collect();
        let authorities = self.trust.authorities().to_owned();
        self.news.send_if_modified(|news| {
            let report = AgentReport { problem, ..news.report.clone() };
            let next = News { receipts, grants, report, authorities };
            let is_other = *news != next;
            *news = next;
            is_other
        });
        pause
    }

    fn take(&mut self, task: Task) {
        let done = match task {
            Task::Trust(json) => self.trust(&json),
            Task::Order(json) => match serde_json::from_str(&json) {
                Ok(order) => {
                    self.order(order);
                    Ok(())
                }
                Err(error) => {
                    warn!(%error, "something came that is no order");
                    Ok(())
                }
            },
            Task::End { grant, reason, request_uid } => {
                self.end(grant, reason, request_uid);
                Ok(())
            }
            Task::EndHere(asked) => {
                self.end_here(asked);
                Ok(())
            }
            Task::GivenUp { request, uid } => self.given_up(&request, uid),
            Task::EndAll(why) => self.hands.end_all(&why).map(drop),
            Task::Recorded { grant, sequence } => self.recorded(&grant, sequence),
            Task::Unrecorded(what) => {
                self.problems.unrecorded = what;
                Ok(())
            }
            Task::Stop => Ok(()),
        };
        if let Err(error) = done {
            error!(%error, "something that the gateway said was not done");
        }
    }

    fn trust(&mut self, json: &str) -> Result<(), HandsError> {
        let published: PublishedTrust = match serde_json::from_str(json) {
            Ok(published) => published,
            Err(error) => {
                warn!(%error, "what is published of whom to trust cannot be read");
                return Ok(());
            }
        };
        match self.trust.follow(&published) {
            Ok(is_other) => {
                self.problems.disbelief = None;
                if is_other {
                    info!("other keys are trusted, or other authorities");
                    let _lock = self.hands.lock()?;
                    write_trust(self.hands.places(), &self.trust)?;
                    drift::expect_trust(self.hands.system(), self.hands.places())?;
                }
            }
            Err(error) => {
                warn!(%error, "what is published of whom to trust is not believed");
                self.problems.disbelief =
                    Some(format!("what is published of whom to trust is not believed: {error}"));
            }
        }
        // What was signed by a key that follows on a trusted one can be judged now.
        self.try_waiting();
        Ok(())
    }

    fn try_waiting(&mut self) {
        for order in std::mem::take(&mut self.waiting) {
            self.order(order);
        }
    }

    /// Takes an order over. One that cannot be remembered, as on a full disk, waits.
    fn order(&mut self, order: Order) {
        if let Err(error) = self.take_over(order.clone()) {
            error!(grant = order.grant, %error, "an order cannot be taken over yet");
            self.wait(order);
        }
    }

    fn wait(&mut self, order: Order) {
        if self.waiting.len() < WAITING {
            self.waiting.push(order);
        }
    }

    fn take_over(&mut self, order: Order) -> Result<(), HandsError> {
        let id = Id::of(&order.grant);
        if self.hands.journal().read(&id)?.is_some() {
            // The cluster does not know how it stands.
            self.again.insert(order.grant);
            return Ok(());
        }
        let now = self.hands.now()?;
        let record = match verify(&self.trust.keys(), &self.host, &order) {
            // By somebody who was here before, whose memory is gone.
            Ok(verified) if verified.admitted_at < self.enrolled_at => {
                let why = Some("it was signed before this host enrolled; request again".to_owned());
                Record::over(verified.grant, verified.spec.request.uid, why, &now)
            }
            Ok(verified) => judge(&self.hands, &verified, &now),
            Err(error @ OrderError::OtherHost { .. }) => {
                warn!(grant = order.grant, %error, "an order is not carried out");
                return Ok(());
            }
            Err(OrderError::Attestation(error)) => {
                warn!(grant = order.grant, %error, "an order is not carried out");
                self.wait(order);
                return Ok(());
            }
            // Signed, and for nobody to carry out with this release.
            Err(error @ (OrderError::Malformed(_) | OrderError::Unknown)) => {
                let uid = order.spec.pointer("/request/uid").and_then(serde_json::Value::as_str);
                let Some(uid) = uid.map(str::to_owned) else { return Ok(()) };
                Record::over(order.grant, uid, Some(error.to_string()), &now)
            }
        };
        self.remember(&record)
    }

    fn remember(&self, record: &Record) -> Result<(), HandsError> {
        let _lock = self.hands.lock()?;
        let Records { read, broken } = self.hands.journal().all()?;
        // A gateway that makes up names must not keep orders away.
        let is_made_up = |record: &&Record| record.right.is_none() && !record.failed;
        let made_up = read.values().filter(is_made_up).count();
        let is_full = if is_made_up(&record) {
            made_up >= MOST_UNSEEN
        } else {
            read.len() - made_up + broken.len() >= MOST
        };
        if is_full {
            warn!(grant = record.grant, "no more orders can be remembered: it is not carried out");
            return Ok(());
        }
        Ok(self.hands.remember(record)?)
    }

    fn end(&mut self, grant: String, reason: String, request_uid: String) {
        // An order that waits must not be taken over afterwards.
        self.waiting.retain(|order| order.grant != grant);
        if let Err(error) = self.try_end(&grant, &reason, &request_uid) {
            error!(grant, %error, "an end cannot be carried out yet");
            if self.endings.len() < WAITING {
                self.endings.push(Ending { grant, reason, request_uid });
            }
        }
    }

    fn try_end(&mut self, grant: &str, reason: &str, request_uid: &str) -> Result<(), HandsError> {
        let id = Id::of(grant);
        if self.hands.journal().read(&id)?.is_some() {
            self.again.insert(grant.to_owned());
            self.hands.end_now(&id, Some(reason))?;
            return Ok(());
        }
        let is_known = !request_uid.is_empty() && request_uid.len() <= 64 && grant.len() <= 253;
        if !is_known {
            return Ok(());
        }
        // It is said that nothing of it stands, so nothing of it may stand later.
        let (grant, uid) = (grant.to_owned(), request_uid.to_owned());
        let mut record = Record::over(grant, uid, None, &self.hands.now()?);
        record.say(Some("it ended before it came to this host".to_owned()));
        self.remember(&record)
    }

    fn recorded(&mut self, grant: &str, sequence: i64) -> Result<(), HandsError> {
        self.again.remove(grant);
        let _lock = self.hands.lock()?;
        let Some(mut record) = self.hands.journal().read(&Id::of(grant))? else { return Ok(()) };
        if record.recorded < sequence && sequence <= record.sequence {
            record.recorded = sequence;
            self.hands.remember(&record)?;
        }
        Ok(())
    }
}

/// How long nothing is to be done.
fn pause(round: &Round, is_waiting: bool) -> Duration {
    let is_open = round.records.iter().any(Record::is_open);
    let longest = if is_open || is_waiting || round.problem.is_some() { WATCHFUL } else { CALM };
    match (round.due, &round.now) {
        (Some(due), Some(now)) => {
            (due - now.wall).to_std().unwrap_or_default().clamp(Duration::from_millis(1), longest)
        }
        _ => longest,
    }
}
