//! Whether what became of the rights is what should have.
//!
//! It knows nothing of how Lapse works: when people said what, when bindings were made and deleted, and when which
//! controller was hindered.

use chrono::{DateTime, TimeDelta, Utc};

use super::history::{End, Right, Stood};

/// A time in which a controller could not be expected to do its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hindered {
    pub(super) controller: usize,
    pub(super) from: DateTime<Utc>,
    /// Absent: it still is.
    pub(super) to: Option<DateTime<Utc>>,
}

/// What is found.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Judgement {
    /// What must not have been.
    pub(super) wrongs: Vec<String>,
    /// How late rights ended, of which a controller that was not hindered could have known.
    pub(super) late: Vec<TimeDelta>,
    /// How many bindings stood.
    pub(super) bindings: usize,
}

/// What is allowed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// How many controllers there are.
    pub(super) controllers: usize,
    /// How late a right may end when nothing hinders the controllers.
    pub(super) margin: TimeDelta,
    /// Until when the history goes.
    pub(super) now: DateTime<Utc>,
}

/// Judges the rights.
pub(super) fn judge(rights: &[Right], hindered: &[Hindered], terms: Terms) -> Judgement {
    let mut judgement = Judgement::default();
    for right in rights {
        for stood in &right.bindings {
            judgement.bindings += 1;
            judgement.wrongs.extend(given_without(right, stood, terms));
            for end in &right.ends {
                judgement.wrongs.extend(given_after(right, stood, end, terms));
                match outlived(stood, end, hindered, terms) {
                    Outlived::Not => {}
                    Outlived::By(late) => judgement.late.push(late),
                    Outlived::TooLong(words) => {
                        judgement.wrongs.push(format!("{}: {words}", right.grant));
                    }
                }
            }
        }
    }
    judgement
}

/// That a binding was made without all approvals.
fn given_without(right: &Right, stood: &Stood, terms: Terms) -> Option<String> {
    let valid = right.approvals.iter().filter(|approval| {
        let is_void = right.changes.iter().any(|change| {
            change.from > approval.called.to && change.to + terms.margin < stood.made.from
        });
        approval.called.from < stood.made.to && !is_void
    });
    let mut who: Vec<&str> = valid.map(|approval| approval.by.as_str()).collect();
    who.sort_unstable();
    who.dedup();
    (who.len() < right.required).then(|| {
        format!(
            "{}: its binding was made at {}, approved by {who:?}, and {} must",
            right.grant, stood.made.to, right.required
        )
    })
}

/// That a binding was made when the right had ended.
fn given_after(right: &Right, stood: &Stood, end: &End, terms: Terms) -> Option<String> {
    let is_meanwhile = end.until.is_none_or(|until| stood.made.to < until);
    // No fault excuses what somebody does.
    (is_meanwhile && stood.made.from > end.at + terms.margin).then(|| {
        format!(
            "{}: its binding was made at {}, after {} at {}",
            right.grant, stood.made.from, end.why, end.at
        )
    })
}

enum Outlived {
    Not,
    By(TimeDelta),
    TooLong(String),
}

/// How long a binding stood after the end of its right.
fn outlived(stood: &Stood, end: &End, hindered: &[Hindered], terms: Terms) -> Outlived {
    let begins = end.at.max(stood.made.to);
    let gone = stood.gone.map_or(terms.now, |gone| gone.to);
    if gone <= begins {
        return Outlived::Not;
    }
    let deadline = deadline(begins, hindered, terms) + terms.margin;
    if end.until.is_some_and(|until| until < deadline) {
        // It was taken back before anybody had to act.
        return Outlived::Not;
    }
    if gone > deadline {
        let gone =
            stood.gone.map_or("stands".to_owned(), |gone| format!("stood until {}", gone.to));
        return Outlived::TooLong(format!(
            "its binding, made at {}, {gone}; its end was {} at {}, and it had to be gone by {deadline}",
            stood.made.to, end.why, end.at
        ));
    }
    let is_free = deadline == begins + terms.margin;
    if is_free && stood.gone.is_some() { Outlived::By(gone - begins) } else { Outlived::Not }
}

/// The first moment from `at` on after which some controller is not hindered for the margin.
fn deadline(at: DateTime<Utc>, hindered: &[Hindered], terms: Terms) -> DateTime<Utc> {
    let free = |controller: usize| {
        let mut from = at;
        loop {
            let in_the_way = hindered
                .iter()
                .filter(|one| one.controller == controller)
                .find(|one| one.from < from + terms.margin && one.to.is_none_or(|to| to > from));
            match in_the_way {
                None => return Some(from),
                Some(one) => from = one.to?,
            }
        }
    };
    (0..terms.controllers).filter_map(free).min().unwrap_or(DateTime::<Utc>::MAX_UTC - terms.margin)
}

#[cfg(test)]
mod tests {
    use super::super::history::{Approval, Span};
    use super::*;

    fn at(tenths: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_700_000_000_000 + tenths * 100).unwrap()
    }

    fn span(tenths: i64) -> Span {
        Span { from: at(tenths), to: at(tenths) }
    }

    fn approval(by: &str, tenths: i64) -> Approval {
        Approval { by: by.to_owned(), called: span(tenths) }
    }

    /// Approved at 1 s, held from 2 s, ended by its time at 10 s, gone at 10.2 s.
    fn right() -> Right {
        Right {
            grant: "chaos-fix-1-abc".to_owned(),
            required: 1,
            approvals: vec![approval("bob", 10)],
            changes: Vec::new(),
            ends: vec![End { why: "its time".to_owned(), at: at(100), until: None }],
            bindings: vec![Stood { made: span(20), gone: Some(span(102)) }],
        }
    }

    fn hindered(controller: usize, from: i64, to: i64) -> Hindered {
        Hindered { controller, from: at(from), to: Some(at(to)) }
    }

    fn wrongs(right: Right, hindered: &[Hindered]) -> Vec<String> {
        let terms = Terms { controllers: 2, margin: TimeDelta::seconds(1), now: at(1000) };
        judge(&[right], hindered, terms).wrongs
    }

    #[track_caller]
    fn refused(right: Right, hindered: &[Hindered], words: &str) {
        let wrongs = wrongs(right, hindered);
        assert!(wrongs.iter().any(|wrong| wrong.contains(words)), "{words:?}: {wrongs:#?}");
    }

    #[test]
    fn a_life_as_it_should_be_is_accepted() {
        assert_eq!(wrongs(right(), &[]), Vec::<String>::new());
    }

    #[test]
    fn what_nobody_approved_in_time_is_refused() {
        refused(Right { approvals: Vec::new(), ..right() }, &[], "approved by []");
        refused(Right { approvals: vec![approval("bob", 21)], ..right() }, &[], "approved by []");
        let twice = vec![approval("bob", 10), approval("bob", 11)];
        refused(Right { approvals: twice, required: 2, ..right() }, &[], "approved by [\"bob\"]");
    }

    #[test]
    fn an_approval_of_another_policy_is_refused() {
        let binding = vec![Stood { made: span(50), gone: Some(span(102)) }];
        let changed = Right { changes: vec![span(30)], bindings: binding, ..right() };
        refused(changed.clone(), &[], "approved by []");
        let anew = vec![approval("bob", 10), approval("ben", 35)];
        assert!(wrongs(Right { approvals: anew, ..changed }, &[]).is_empty());
    }

    #[test]
    fn what_stands_after_its_end_is_refused() {
        let stands = |gone| Right { bindings: vec![Stood { made: span(20), gone }], ..right() };
        refused(stands(Some(span(112))), &[], "stood until");
        refused(stands(None), &[], "stands");
        let denied = vec![End { why: "deny".to_owned(), at: at(50), until: None }];
        refused(Right { ends: denied, ..right() }, &[], "its end was deny");
    }

    #[test]
    fn what_is_given_after_its_end_is_refused() {
        let again = Stood { made: span(115), gone: Some(span(116)) };
        let mut right = right();
        right.bindings.push(again);
        refused(right, &[], "after its time");
    }

    #[test]
    fn a_fault_excuses_for_as_long_as_it_lasts_and_only_if_nobody_else_could() {
        let late =
            Right { bindings: vec![Stood { made: span(20), gone: Some(span(148)) }], ..right() };
        let both = [hindered(0, 90, 140), hindered(1, 95, 160)];
        assert!(wrongs(late.clone(), &both).is_empty());
        refused(late.clone(), &both[..1], "stood until");
        // Nobody was hindered for a second in between.
        refused(
            late,
            &[hindered(0, 90, 110), hindered(1, 95, 135), hindered(0, 122, 160)],
            "stood",
        );
    }

    #[test]
    fn what_is_taken_back_before_anybody_had_to_act_ends_nothing() {
        let off = |until| End { why: "policy one".to_owned(), at: at(50), until };
        let with = |end: End| Right { ends: vec![end, right().ends.remove(0)], ..right() };
        assert!(wrongs(with(off(Some(at(55)))), &[]).is_empty());
        refused(with(off(Some(at(70)))), &[], "policy one");
        assert!(
            wrongs(with(off(Some(at(70)))), &[hindered(0, 40, 65), hindered(1, 40, 65)]).is_empty()
        );
    }
}
