//! What people have requested on this host, and what the gateway says has become of it. Pure: the time is passed in.
//!
//! Nothing that anybody may do follows from what a gateway says here: access comes by an order alone. How much there is of one
//! person is bounded, and what comes to nothing counts for nobody.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use lapse_crds::RequestPhase;
use lapse_wire::Progress;
use serde::{Deserialize, Serialize};

use crate::text::plain;

/// How many requests of one person may wait at once, whatever their policies allow.
const OF_ONE: usize = 4;
/// How many of all people on the host. A gateway carries a few more.
const MOST: usize = 24;
/// How often one person may say something in a while: each costs the gateway and the cluster a call.
const OFTEN: usize = 6;
const WHILE: Duration = Duration::from_mins(5);
/// How long it is shown what was decided.
const SHOWN: TimeDelta = TimeDelta::minutes(10);
/// How long something of which the gateway knows nothing may still be on its way.
const ON_ITS_WAY: TimeDelta = TimeDelta::minutes(1);
/// How many requests are remembered that were given up.
const GIVEN_UP: usize = 256;
/// The longest text, in characters.
const LONGEST: usize = 512;

/// Something that somebody has requested on this host. What people wrote in it is made such that it can be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Requested {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The local user who asked.
    pub user: String,
    /// What it is, in words.
    pub what: String,
    /// When it was asked for, by the clock of the host.
    pub since: DateTime<Utc>,
    /// Its phase. Absent: the cluster has not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<RequestPhase>,
    /// Who must still approve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// Why it is in this phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Requested {
    /// Its namespace and its name, as an order names it.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// Whether it may still come to something.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.phase.is_none_or(|phase| !phase.is_terminal())
    }

    /// Whether it waits to be decided, or for its start.
    fn is_waiting(&self) -> bool {
        self.is_open() && self.phase != Some(RequestPhase::Active)
    }
}

/// What is known of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    uid: u32,
    requested: Requested,
    /// When it was heard that it waits no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    decided_at: Option<DateTime<Utc>>,
    /// When the gateway first knew nothing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    missed_at: Option<DateTime<Utc>>,
}

/// Why no more may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// They wait for enough.
    #[error(
        "{OF_ONE} of your requests wait already, and no more may: `lapse status` shows them, and `lapse end` withdraws one"
    )]
    Yours,
    /// Everybody together does.
    #[error(
        "{MOST} requests of people on this host wait already, and no more may: try again when some are decided"
    )]
    All,
    /// They ask too often.
    #[error("you have asked {OFTEN} times within {} minutes: wait a little", WHILE.as_secs() / 60)]
    Often,
}

/// All of it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Book {
    #[serde(default)]
    entries: Vec<Entry>,
    /// The requests that were given up, by namespace and name, the oldest first.
    #[serde(default)]
    given_up: Vec<String>,
    /// When who has said something.
    #[serde(skip)]
    said: HashMap<(u32, bool), Vec<Instant>>,
}

impl Book {
    /// Counts that somebody says something: what they ask for, or that they give it up.
    ///
    /// # Errors
    /// If they have done so too often.
    pub fn count(&mut self, uid: u32, is_end: bool, at: Instant) -> Result<(), Full> {
        self.said.retain(|_, times| {
            times.retain(|time| at.duration_since(*time) < WHILE);
            !times.is_empty()
        });
        let times = self.said.entry((uid, is_end)).or_default();
        if times.len() >= OFTEN {
            return Err(Full::Often);
        }
        times.push(at);
        Ok(())
    }

    /// Notes what somebody asks for, before it is sent.
    ///
    /// # Errors
    /// If too much waits.
    pub fn add(&mut self, uid: u32, requested: Requested) -> Result<(), Full> {
        self.forget(requested.since);
        let waiting = || self.entries.iter().filter(|entry| entry.requested.is_waiting());
        if waiting().filter(|entry| entry.uid == uid).count() >= OF_ONE {
            return Err(Full::Yours);
        }
        if waiting().count() >= MOST {
            return Err(Full::All);
        }
        self.entries.push(Entry { uid, requested, decided_at: None, missed_at: None });
        Ok(())
    }

    /// It is not stored in the cluster, and never was.
    pub fn remove(&mut self, name: &str) {
        self.entries.retain(|entry| entry.requested.name != name);
    }

    /// It is stored.
    pub fn stored(&mut self, name: &str) {
        for entry in self.entries.iter_mut().filter(|entry| entry.requested.name == name) {
            entry.requested.phase.get_or_insert(RequestPhase::Pending);
        }
    }

    /// What somebody has asked for, or everybody.
    #[must_use]
    pub fn of(&self, uid: Option<u32>, now: DateTime<Utc>) -> Vec<Requested> {
        let known = self.entries.iter().filter(|entry| is_known(entry, now));
        let theirs = known.filter(|entry| uid.is_none_or(|uid| entry.uid == uid));
        theirs.map(|entry| entry.requested.clone()).collect()
    }

    /// Of which it is not known what has become.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let open = self.entries.iter().filter(|entry| entry.requested.is_waiting());
        open.map(|entry| entry.requested.name.clone()).collect()
    }

    /// Notes how one stands. Of what nobody has asked for here nothing is noted.
    pub fn hear(&mut self, progress: &Progress, now: DateTime<Utc>) {
        let Progress { name, phase, waiting_for, why } = progress;
        let text = |text: &String| Some(plain(text, LONGEST)).filter(|text| !text.is_empty());
        let Some(index) = self.entries.iter().position(|entry| entry.requested.name == *name)
        else {
            return;
        };
        if phase.is_empty() {
            let entry = &mut self.entries[index];
            // What was sent as the connection ended may not be stored yet.
            if entry.requested.phase.is_none() && now - entry.requested.since < ON_ITS_WAY {
                entry.missed_at = Some(now);
            } else {
                self.entries.remove(index);
            }
            return;
        }
        // One that a newer release knows says nothing here.
        let Ok(phase) = serde_json::from_value(phase.as_str().into()) else { return };
        let entry = &mut self.entries[index];
        entry.requested.phase = Some(phase);
        entry.requested.waiting_for = text(waiting_for);
        entry.requested.why = text(why);
        entry.missed_at = None;
        if entry.requested.is_waiting() {
            entry.decided_at = None;
        } else {
            entry.decided_at.get_or_insert(now);
        }
        self.forget(now);
    }

    /// Notes that somebody gives up what they have asked for: nothing of it begins on this host any more. Whether that is new.
    pub fn give_up(&mut self, full_name: String) -> bool {
        if self.given_up.contains(&full_name) {
            return false;
        }
        if self.given_up.len() >= GIVEN_UP {
            self.given_up.remove(0);
        }
        self.given_up.push(full_name);
        true
    }

    /// Whether it was given up.
    #[must_use]
    pub fn was_given_up(&self, full_name: &str) -> bool {
        self.given_up.iter().any(|known| known == full_name)
    }

    /// The number of who has asked for it here, as far as that is known.
    #[must_use]
    pub fn asked_by(&self, full_name: &str) -> Option<u32> {
        let mut of = self.entries.iter().filter(|entry| entry.requested.full_name() == full_name);
        of.next().map(|entry| entry.uid)
    }

    fn forget(&mut self, now: DateTime<Utc>) {
        self.entries.retain(|entry| is_known(entry, now));
    }
}

/// Whether there is still something to show of it.
fn is_known(entry: &Entry, now: DateTime<Utc>) -> bool {
    entry.decided_at.is_none_or(|at| now - at < SHOWN)
        && entry.missed_at.is_none_or(|at| now - at < ON_ITS_WAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::seconds(seconds)
    }

    fn requested(name: &str) -> Requested {
        Requested {
            name: name.into(),
            namespace: "ops".into(),
            user: "al".into(),
            what: "sudo".into(),
            since: at(0),
            phase: None,
            waiting_for: None,
            why: None,
        }
    }

    fn progress(name: &str, phase: &str, waiting_for: &str, why: &str) -> Progress {
        let [name, phase, waiting_for, why] =
            [name, phase, waiting_for, why].map(ToOwned::to_owned);
        Progress { name, phase, waiting_for, why }
    }

    fn names(book: &Book, uid: u32) -> Vec<String> {
        book.of(Some(uid), at(0)).into_iter().map(|requested| requested.name).collect()
    }

    #[test]
    fn one_person_asks_for_little_and_takes_nothing_from_others() {
        let mut book = Book::default();
        for number in 0..OF_ONE {
            book.add(1000, requested(&format!("al-{number}"))).unwrap();
        }
        let full = book.add(1000, requested("al-more")).unwrap_err();
        assert_eq!(
            full.to_string(),
            "4 of your requests wait already, and no more may: `lapse status` shows them, and `lapse end` withdraws one"
        );
        book.add(1001, requested("bo")).unwrap();
        assert_eq!((names(&book, 1001), book.names().len()), (vec!["bo".to_owned()], OF_ONE + 1));
        // What came to nothing counts for nothing.
        book.remove("al-0");
        book.hear(&progress("al-1", "Denied", "", "no"), at(0));
        book.add(1000, requested("al-5")).unwrap();
        book.add(1000, requested("al-6")).unwrap();
        assert_eq!(book.add(1000, requested("al-7")), Err(Full::Yours));
    }

    #[test]
    fn all_together_ask_for_no_more_than_the_gateway_takes() {
        let mut book = Book::default();
        for number in 0..MOST {
            let uid = 1000 + u32::try_from(number / OF_ONE).unwrap();
            book.add(uid, requested(&number.to_string())).unwrap();
        }
        assert_eq!(book.add(2000, requested("more")), Err(Full::All));
        assert_eq!(
            Full::All.to_string(),
            "24 requests of people on this host wait already, and no more may: try again when some are decided"
        );
    }

    #[test]
    fn who_asks_too_often_waits_and_may_still_give_up() {
        let (mut book, began) = (Book::default(), Instant::now());
        for _ in 0..OFTEN {
            book.count(1000, false, began).unwrap();
        }
        let often = book.count(1000, false, began).unwrap_err();
        assert_eq!(often.to_string(), "you have asked 6 times within 5 minutes: wait a little");
        book.count(1000, true, began).unwrap();
        book.count(1001, false, began).unwrap();
        book.count(1000, false, began + WHILE).unwrap();
        assert_eq!(book.said.len(), 1, "nothing is kept of who says nothing");
    }

    #[test]
    fn how_it_stands_is_shown_and_for_a_while_how_it_was_decided() {
        let mut book = Book::default();
        book.add(1000, requested("fix")).unwrap();
        book.stored("fix");
        assert_eq!(book.of(None, at(0))[0].phase, Some(RequestPhase::Pending));
        book.hear(&progress("fix", "Pending", "1 of olga\u{1b}[2J", ""), at(5));
        let waits = &book.of(Some(1000), at(5))[0];
        assert_eq!(waits.waiting_for.as_deref(), Some("1 of olga?[2J"));
        assert_eq!((waits.is_open(), book.names()), (true, vec!["fix".to_owned()]));
        book.hear(&progress("fix", "Denied", "", "Denied by olga: no"), at(9));
        book.hear(&progress("fix", "Denied", "", "Denied by olga: no"), at(99));
        let denied = &book.of(Some(1000), at(100))[0];
        assert_eq!((denied.why.as_deref(), denied.is_open()), (Some("Denied by olga: no"), false));
        assert!(book.names().is_empty() && book.of(None, at(9) + SHOWN).is_empty());
    }

    /// A gateway that was taken over cannot fill a host, nor end or give anything here.
    #[test]
    fn of_what_nobody_asked_for_nothing_is_noted() {
        let mut book = Book::default();
        book.add(1000, requested("fix")).unwrap();
        book.hear(&progress("other", "Pending", "", ""), at(0));
        book.hear(&progress("fix", "Granted", "", "a newer phase"), at(0));
        assert_eq!(book.of(None, at(0)), [requested("fix")]);
    }

    #[test]
    fn what_is_gone_is_forgotten_unless_it_may_be_on_its_way() {
        let mut book = Book::default();
        book.add(1000, requested("sent")).unwrap();
        book.add(1000, requested("known")).unwrap();
        book.stored("known");
        for name in ["sent", "known"] {
            book.hear(&progress(name, "", "", ""), at(1));
        }
        assert_eq!(names(&book, 1000), ["sent"]);
        book.hear(&progress("sent", "Pending", "", ""), at(2));
        assert_eq!(book.of(None, at(600)).len(), 1, "it was stored after all");
        book.hear(&progress("sent", "", "", ""), at(601));
        assert!(book.of(None, at(601)).is_empty());
    }

    #[test]
    fn what_was_given_up_is_remembered_and_of_that_not_too_much() {
        let mut book = Book::default();
        for number in 0..=GIVEN_UP {
            book.give_up(format!("ops/{number}"));
            book.give_up(format!("ops/{number}"));
        }
        assert_eq!(book.given_up.len(), GIVEN_UP);
        assert!(book.was_given_up("ops/1") && !book.was_given_up("ops/0"));
        let again: Book = serde_json::from_str(&serde_json::to_string(&book).unwrap()).unwrap();
        assert!(again.was_given_up(&format!("ops/{GIVEN_UP}")));
    }
}
