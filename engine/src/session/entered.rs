//! Which pods somebody went into while they held a right, and which of these go at its end.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use lapse_crds::{
    EnteredPod, Grant, GrantPhase, GrantSession, MOST_ENTERED, OpenStreams, StreamKind, Timestamp,
};

use super::started::{covers, place};
use crate::lifetime::has_ended;
use crate::summary::GrantSummary;

/// How exact the record says when a pod was last entered: somebody who enters it again and again costs no write each
/// time.
const EXACT_TO: TimeDelta = TimeDelta::seconds(10);
/// How far the clock of the API server, which says when a pod was made, may be ahead.
const CLOCKS: TimeDelta = TimeDelta::seconds(5);

/// Somebody opens something to a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The namespace of the pod.
    pub namespace: String,
    /// Its name.
    pub pod: String,
    /// As whom.
    pub username: String,
    /// What is opened.
    pub stream: StreamKind,
    /// Whether the namespace opted in.
    pub tracked: bool,
}

/// What a Grant is to say of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entered {
    /// What it says already.
    Known,
    /// This, of all entries.
    New(Vec<EnteredPod>),
    /// The right is gone.
    Over,
    /// Nothing of its own: it has room for so many pods, and no more.
    Full,
}

/// The rights that bear on what somebody who holds them opens in a namespace.
pub fn entered_under<'a>(
    held: &'a [Arc<GrantSummary>],
    namespace: &'a str,
) -> impl Iterator<Item = &'a GrantSummary> {
    held.iter().map(|grant| &**grant).filter(move |grant| covers(grant, namespace))
}

/// What a Grant is to say once somebody has opened something under it.
#[must_use]
pub fn enter(grant: &Grant, entry: &Entry, now: DateTime<Utc>) -> Entered {
    let phase = grant.status.as_ref().map(|status| status.phase).unwrap_or_default();
    if phase == GrantPhase::Ended {
        return Entered::Over;
    }
    let mut all = grant.status.as_ref().map(|status| status.entered.clone()).unwrap_or_default();
    let is_same = |known: &&mut EnteredPod| {
        known.namespace == entry.namespace
            && known.pod == entry.pod
            && known.username == entry.username
    };
    if let Some(known) = all.iter_mut().find(is_same) {
        let is_recent = now - known.last_at.time() < EXACT_TO;
        if is_recent && known.tracked == entry.tracked && known.streams.contains(&entry.stream) {
            return Entered::Known;
        }
        known.streams.push(entry.stream);
        known.streams.sort();
        known.streams.dedup();
        known.last_at = now.max(known.last_at.time()).into();
        known.tracked |= entry.tracked;
        return Entered::New(all);
    }
    if all.len() >= MOST_ENTERED {
        return Entered::Full;
    }
    all.push(EnteredPod {
        namespace: entry.namespace.clone(),
        pod: entry.pod.clone(),
        username: entry.username.clone(),
        streams: vec![entry.stream],
        first_at: now.into(),
        last_at: now.into(),
        tracked: entry.tracked,
    });
    Entered::New(all)
}

/// Whether the pods that are entered under a right are deleted at its end.
#[must_use]
pub fn ends_streams(session: Option<&GrantSession>) -> bool {
    session.and_then(|session| session.open_streams) == Some(OpenStreams::DeletePods)
}

/// The pods that were entered under a grant and are to go, once its right is gone: nobody enters one after that.
pub fn entered_to_end(grant: &Grant) -> impl Iterator<Item = &EnteredPod> {
    let ends = has_ended(grant) && ends_streams(grant.spec.session.as_ref());
    let scope = place(&grant.spec).filter(|_| ends);
    let all = grant.status.iter().flat_map(|status| &status.entered);
    all.filter(move |entered| {
        entered.tracked && scope.as_ref().is_some_and(|scope| scope.covers(&entered.namespace))
    })
}

/// Whether a pod of the name that was entered is the one that was: another can have its name, but only one that was
/// made later.
#[must_use]
pub fn is_entered(grant: &Grant, entered: &EnteredPod, created_at: DateTime<Utc>) -> bool {
    // Nobody enters anything when the right is gone, whatever the record says.
    let ended_at = grant.status.as_ref().and_then(|status| status.ended_at).map(Timestamp::time);
    let last_at = entered.last_at.time();
    created_at <= ended_at.map_or(last_at, |at| at.min(last_at)) + EXACT_TO + CLOCKS
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::testing::life::{marked, time};

    fn entry(pod: &str) -> Entry {
        Entry {
            namespace: "shop".into(),
            pod: pod.into(),
            username: "alice".into(),
            stream: StreamKind::Exec,
            tracked: true,
        }
    }

    fn entered(grant: &mut Grant, entry: &Entry, now: i64) -> bool {
        let Entered::New(all) = enter(grant, entry, time(now)) else { return false };
        grant.status.get_or_insert_default().entered = all;
        true
    }

    #[test]
    fn a_pod_is_recorded_once_and_again_when_time_has_passed() {
        let mut grant = marked();
        assert!(entered(&mut grant, &entry("web"), 20));
        assert!(!entered(&mut grant, &entry("web"), 25), "a moment ago");
        let forward = Entry { stream: StreamKind::PortForward, ..entry("web") };
        assert!(entered(&mut grant, &forward, 26));
        assert!(entered(&mut grant, &entry("web"), 40));
        let disguised = Entry { username: "system:serviceaccount:shop:bot".into(), ..entry("web") };
        assert!(entered(&mut grant, &disguised, 41));
        let all = grant.status.unwrap().entered;
        let [web, bot] = &all[..] else { panic!("{all:?}") };
        assert_eq!(web.streams, [StreamKind::Exec, StreamKind::PortForward]);
        assert_eq!((web.first_at.time(), web.last_at.time()), (time(20), time(40)));
        assert_eq!(bot.username, "system:serviceaccount:shop:bot");
    }

    #[test]
    fn there_is_room_for_so_many_pods() {
        let mut grant = marked();
        for number in 0..MOST_ENTERED {
            assert!(entered(&mut grant, &entry(&format!("web-{number}")), 20));
        }
        assert_eq!(enter(&grant, &entry("one-more"), time(21)), Entered::Full);
        assert_eq!(enter(&grant, &entry("web-0"), time(21)), Entered::Known);
    }

    #[test]
    fn nothing_is_entered_once_the_right_is_gone() {
        let mut grant = marked();
        assert!(entered(&mut grant, &entry("web"), 20));
        grant.status.get_or_insert_default().phase = GrantPhase::Ended;
        assert_eq!(enter(&grant, &entry("web"), time(40)), Entered::Over);
    }

    #[rstest]
    #[case::the_policy_says_so(Some(OpenStreams::DeletePods), GrantPhase::Ended, &["web"])]
    #[case::it_keeps_them(Some(OpenStreams::Keep), GrantPhase::Ended, &[])]
    #[case::it_says_nothing(None, GrantPhase::Ended, &[])]
    #[case::the_right_is_held(Some(OpenStreams::DeletePods), GrantPhase::Ending, &[])]
    fn what_goes_at_the_end(
        #[case] streams: Option<OpenStreams>,
        #[case] phase: GrantPhase,
        #[case] expected: &[&str],
    ) {
        let mut grant = marked();
        let elsewhere = Entry { tracked: false, ..entry("elsewhere") };
        assert!(entered(&mut grant, &entry("web"), 20) && entered(&mut grant, &elsewhere, 20));
        grant.spec.session.as_mut().unwrap().open_streams = streams;
        grant.status.as_mut().unwrap().phase = phase;
        let pods: Vec<_> = entered_to_end(&grant).map(|entered| &*entered.pod).collect();
        assert_eq!(pods, expected);
    }

    #[test]
    fn a_pod_that_was_made_after_the_last_entry_is_another() {
        let mut grant = marked();
        assert!(entered(&mut grant, &entry("web-0"), 100));
        let is_it = |grant: &Grant, made: i64| {
            is_entered(grant, &grant.status.as_ref().unwrap().entered[0], time(made))
        };
        assert!(is_it(&grant, 50));
        // Whoever enters the next of this name within ten seconds is not recorded anew.
        assert!(is_it(&grant, 109));
        assert!(!is_it(&grant, 116));
        let status = grant.status.as_mut().unwrap();
        status.entered[0].last_at = time(1_000_000).into();
        status.ended_at = Some(time(200).into());
        assert!(is_it(&grant, 210) && !is_it(&grant, 216), "nothing is entered after the end");
    }

    #[test]
    fn a_right_bears_on_what_is_entered_where_it_is_held() {
        let held = [Arc::new(GrantSummary::of(&marked()))];
        assert_eq!(entered_under(&held, "shop").count(), 1);
        assert_eq!(entered_under(&held, "web").count(), 0);
    }
}
