//! The requests that are over: as the pages that are read of them show them, and in words for whoever deletes them.

use chrono::{DateTime, Utc};

use super::{Change, Decoded, KnownRequest, PastRequest, Requests};

impl Requests {
    /// One as its page shows it. Returns what is to be told: what differs from what was known, and what something may
    /// still happen to, whoever has looked at it before. What is live is the watch's to show.
    pub(in super::super) fn apply_over(
        &mut self,
        decoded: Decoded,
    ) -> Option<Change<KnownRequest>> {
        let known = &decoded.known;
        if is_live(known) || self.meanwhile.has(&known.uid) {
            return None;
        }
        let uid = known.uid.clone();
        if let Some(change) = self.put(decoded) {
            return Some(change);
        }
        let open = self.get(&uid).filter(|known| known.is_over() && !known.is_settled)?;
        Some(Change { before: Some(open.clone()), after: Some(open) })
    }

    /// One that was read before its page, for somebody who asks. As nobody is told, it changes nothing of what is known.
    /// What it is now, if it was applied.
    pub(in super::super) fn apply_early(&mut self, decoded: Decoded) -> Option<KnownRequest> {
        let known = &decoded.known;
        let is_known = self
            .by_uid
            .get(&known.uid)
            .is_some_and(|(other, seen)| !other.is_over() || *seen == self.round);
        if !known.is_over() || is_known || self.meanwhile.has(&known.uid) {
            return None;
        }
        self.put(decoded)?.after
    }

    /// All pages have been read. Returns what none of them named, and nothing has shown since, of what is kept whole.
    pub(in super::super) fn done_over(&mut self) -> Vec<Change<KnownRequest>> {
        self.meanwhile.end();
        let gone = self.remove_unnamed(|_| true);
        let round = self.round;
        let past = self.past.by_uid.iter().filter(|(_, (_, seen))| *seen < round);
        let past: Vec<Box<str>> = past.map(|(uid, _)| uid.clone()).collect();
        for uid in &past {
            self.past.remove(uid);
        }
        gone
    }

    /// What a person asked for in a namespace was read before the rest: what that did not name is gone.
    pub(in super::super) fn done_early(&mut self, namespace: &str, requester: &str) {
        let Some(of_person) = self.by_person.get(requester) else { return };
        let is_gone = |uid: &&String| {
            let known = self.by_uid.get(*uid);
            known.is_some_and(|(known, seen)| {
                known.is_over() && known.namespace == namespace && *seen < self.round
            })
        };
        let gone: Vec<String> = of_person.iter().filter(is_gone).cloned().collect();
        for uid in &gone {
            self.remove(uid);
        }
    }

    /// One that is over, of which a live read finds nothing.
    pub(in super::super) fn past_gone(&mut self, past: &PastRequest) {
        let policy: Option<Box<str>> = past.policy_uid.as_deref().map(Box::from);
        let from: (DateTime<Utc>, Box<str>) = (past.since, "".into());
        let of_policy = self.past.in_order.get(&policy);
        let mut since = of_policy.into_iter().flat_map(|past| past.range(from.clone()..));
        let of_name = since.find(|((at, _), known)| *at > past.since || known.as_ref() == past);
        if let Some(uid) =
            of_name.filter(|(_, known)| known.as_ref() == past).map(|((_, uid), _)| uid)
        {
            let uid = uid.clone();
            self.meanwhile.note(&uid);
            self.past.remove(&uid);
        }
    }

    /// Those that are over, the first that was first, at most so many by each policy.
    pub(in super::super) fn past(&self, most: usize) -> Vec<PastRequest> {
        let of_policies = self.past.in_order.values();
        of_policies.flat_map(|past| past.values().take(most)).map(|past| (**past).clone()).collect()
    }
}

/// Whether it is certainly live. Of what cannot be decoded that is not known.
fn is_live(known: &KnownRequest) -> bool {
    known.summary.is_ok() && !known.is_over()
}
