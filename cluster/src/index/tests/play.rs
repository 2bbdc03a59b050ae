//! A store in which anything happens, while pages of it are read and watches tell of it late.

use std::collections::BTreeMap;

use lapse_crds::{AccessRequest, Grant};

use super::past::{held, list_anew, list_of, name_of_grant};
use super::*;

/// Numbers that look as if they were random, the same in each run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

/// What stands under a name: its UID, its version, and whether it is over.
type Standing = (u64, u64, bool);

/// Pages that are being read: after which list, and what of them is left.
type Pages<K> = Option<(u64, Vec<Stored<K>>)>;

/// A store, what a watch has told of it, and pages of it that are read at any speed.
struct Play {
    index: Index,
    store: BTreeMap<usize, Standing>,
    /// What happened, by the name of what it happened to: what it was, and what it is.
    log: Vec<(usize, Option<Standing>, Option<Standing>)>,
    /// How much of that the watches have told.
    told: usize,
    version: u64,
    requests: Pages<AccessRequest>,
    grants: Pages<Grant>,
    early: Pages<Grant>,
}

/// How many names there are. Each is used again and again.
const NAMES: usize = 4;

fn phase(is_over: bool, live: &'static str) -> &'static str {
    if is_over { "Ended" } else { live }
}

fn request_of(name: usize, (uid, version, is_over): Standing) -> Stored<AccessRequest> {
    let mut request = request(&format!("r{name}"), version, phase(is_over, "Pending"));
    request["metadata"]["uid"] = json!(format!("u{uid}"));
    stored(&request)
}

/// Its name is the same each time, as it is for what is restored from a backup.
fn grant_of(name: usize, (uid, version, is_over): Standing) -> Stored<Grant> {
    let mut grant = grant(&format!("r{name}"), version, phase(is_over, "Active"));
    grant["metadata"]["uid"] = json!(format!("g{uid}"));
    if is_over {
        grant["status"]["endedAt"] = json!(clock::now().to_rfc3339());
    }
    stored(&grant)
}

impl Play {
    fn new() -> Self {
        let (_, keys) = watch::channel(KeySet::default());
        let mut play = Self {
            index: Index::new(settings(), keys, true),
            store: BTreeMap::new(),
            log: Vec::new(),
            told: 0,
            version: 0,
            requests: None,
            grants: None,
            early: None,
        };
        for kind in [Indexed::Policies, Indexed::Decisions] {
            list_anew(&play.index, kind);
        }
        play.list_what_is_live();
        play
    }

    fn list_what_is_live(&mut self) {
        self.index.begin(Indexed::Requests);
        self.index.begin(Indexed::Grants);
        for (name, standing) in self.store.iter().filter(|(_, (_, _, is_over))| !is_over) {
            self.index.apply_request(&request_of(*name, *standing));
            self.index.apply_grant(&grant_of(*name, *standing));
        }
        self.index.done(Indexed::Requests);
        self.index.done(Indexed::Grants);
        self.told = self.log.len();
    }

    /// Something is made, comes to its end, or goes.
    fn happen(&mut self, name: usize, goes: bool) {
        self.version += 1;
        let before = self.store.get(&name).copied();
        let after = match before {
            None => Some((self.version, self.version, false)),
            Some((uid, _, false)) if !goes => Some((uid, self.version, true)),
            Some(_) => None,
        };
        match after {
            Some(standing) => self.store.insert(name, standing),
            None => self.store.remove(&name),
        };
        self.log.push((name, before, after));
    }

    fn tell(&mut self) {
        let Some((name, before, after)) = self.log.get(self.told).copied() else { return };
        self.told += 1;
        match (before, after) {
            (_, Some(standing)) => {
                self.index.apply_request(&request_of(name, standing));
                self.index.apply_grant(&grant_of(name, standing));
            }
            (Some(standing), None) => {
                self.index.delete_request(&request_of(name, standing));
                let _ = self.index.delete_grant(&grant_of(name, standing));
            }
            (None, None) => unreachable!("nothing happened"),
        }
    }

    fn all<T>(&self, of: impl Fn(usize, Standing) -> T) -> Vec<T> {
        self.store.iter().rev().map(|(name, standing)| of(*name, *standing)).collect()
    }

    fn read_requests(&mut self) {
        let list = list_of(&self.index, Indexed::Requests);
        match self.requests.as_mut().filter(|(of, _)| *of == list) {
            None if self.index.knows_past() => {}
            None => self.requests = Some((list, self.all(request_of))),
            Some((_, left)) => match left.pop() {
                Some(request) => drop(self.index.apply_over_request(list, &request)),
                None => drop(self.index.done_over(Indexed::Requests, list)),
            },
        }
    }

    fn read_grants(&mut self) {
        let list = list_of(&self.index, Indexed::Grants);
        match self.grants.as_mut().filter(|(of, _)| *of == list) {
            None if self.index.knows_all_grants() => {}
            None => self.grants = Some((list, self.all(grant_of))),
            Some((_, left)) => match left.pop() {
                Some(grant) => drop(self.index.apply_over_grant(list, &grant)),
                None => drop(self.index.done_over(Indexed::Grants, list)),
            },
        }
    }

    fn read_early(&mut self) {
        let list = list_of(&self.index, Indexed::Grants);
        let Some((_, left)) = self.early.as_mut().filter(|(of, _)| *of == list) else {
            self.early = Some((list, self.all(grant_of)));
            return;
        };
        if let Some(grant) = left.pop() {
            self.index.apply_early_grant(list, &grant);
        } else {
            let part = Part::GrantsOf(subject_of(&alice()).unwrap());
            self.index.done_early(part, list);
        }
    }

    /// What nothing has happened to that was not told is known as it is, as far as it is said to be known.
    fn is_right(&self, run: u64) {
        let untold = &self.log[self.told..];
        let held = held(&self.index, None);
        for name in (0..NAMES).filter(|name| !untold.iter().any(|(of, ..)| of == name)) {
            let standing = self.store.get(&name);
            let request = format!("r{name}");
            let grant = self.index.grant(&name_of_grant(&request));
            let is_live = grant.as_ref().is_some_and(|known| known.live().is_some());
            let is_open = self.index.request_named("shop", &request).is_some();
            let stands_live = standing.is_some_and(|(_, _, is_over)| !is_over);
            assert_eq!((is_live, is_open), (stands_live, stands_live), "run {run}: {request}");
            if let Some(held) = &held {
                assert_eq!(held.contains(&request), standing.is_some(), "run {run}: {request}");
            }
            if self.index.knows_past() {
                assert_eq!(grant.is_some(), standing.is_some(), "run {run}: {request}");
                let now = standing.map(|(uid, ..)| *uid);
                let of_name = self.log.iter().filter(|(of, ..)| *of == name);
                for (uid, ..) in of_name.filter_map(|(_, _, after)| *after) {
                    let is_known = self.index.has_request(&format!("u{uid}"));
                    assert_eq!(is_known, now == Some(uid), "run {run}: {request}");
                }
            }
        }
    }
}

/// Whatever happens while pages are read, and however late it is told: nothing that is gone is kept, and nothing that stands
/// is missing once it is said that all is known.
#[test]
fn pages_and_watches_come_to_the_same_in_any_order() {
    for run in 0..100 {
        let mut chance = Chance(run);
        let mut play = Play::new();
        for _ in 0..80 {
            match chance.below(12) {
                0..=3 => {
                    let (name, goes) = (chance.below(NAMES), chance.below(3) == 0);
                    play.happen(name, goes);
                }
                4..=6 => play.tell(),
                7 if chance.below(3) == 0 => play.list_what_is_live(),
                7 | 8 => play.read_requests(),
                9 | 10 => play.read_grants(),
                _ => play.read_early(),
            }
            play.is_right(run);
        }
        while play.told < play.log.len() {
            play.tell();
        }
        while !play.index.knows_past() {
            play.read_grants();
            play.read_requests();
            play.is_right(run);
        }
    }
}
