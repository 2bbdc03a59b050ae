//! An account that is disabled, enabled for a time. Disabled is one that is switched off or has expired; both are looked at when
//! somebody logs in, by a password, a key, a card, or a task.

use super::calls::{CallError, Calls, User};
use super::groups::sid_of;
use super::processes::end_all_of;
use super::sid::Sid;
use crate::driver::Driver;
use crate::host::Bench;
use crate::order::{Disabled, Right, Undo};
use crate::record::Record;

/// When an account expires that lasts until this end: Windows keeps whole seconds.
pub(super) fn last_until(right: &Right) -> i64 {
    right.expires_at.timestamp() + i64::from(right.expires_at.timestamp_subsec_nanos() > 0)
}

/// Has an account expire at a time, and verifies it.
pub(super) fn expire(calls: &dyn Calls, name: &str, at: Option<i64>) -> Result<(), String> {
    let words = |error: CallError| format!("changing when {name} expires: {error}");
    let read = || {
        let found = calls.user(name).map_err(words)?;
        found.map(|user| user.expires).ok_or_else(|| format!("there is no local user {name}"))
    };
    if read()? == at {
        return Ok(());
    }
    calls.expire(name, at).map_err(words)?;
    let is_done = read()? == at;
    is_done.then_some(()).ok_or_else(|| format!("{name} does not expire when it was told to"))
}

/// Switches an account off or on, and verifies it.
pub(super) fn switch(calls: &dyn Calls, name: &str, is_off: bool) -> Result<(), String> {
    let what = if is_off { "switching off" } else { "switching on" };
    let words = |error: CallError| format!("{what} the account {name}: {error}");
    let read = || {
        let found = calls.user(name).map_err(words)?;
        found.map(|user| user.is_off).ok_or_else(|| format!("there is no local user {name}"))
    };
    if read()? == is_off {
        return Ok(());
    }
    calls.switch(name, is_off).map_err(words)?;
    if read()? == is_off { Ok(()) } else { Err(format!("{what} the account {name} had no effect")) }
}

pub(super) struct Enable<'a> {
    pub(super) calls: &'a dyn Calls,
    pub(super) right: &'a Right,
}

impl Enable<'_> {
    fn sid(&self) -> Result<Sid, String> {
        sid_of(&self.right.user)
    }

    /// Other orders by which the account is enabled.
    fn others<'b>(&'b self, bench: &'b Bench<'_>) -> impl Iterator<Item = (&'b Record, &'b Undo)> {
        let others = bench.others.iter();
        others.filter_map(|other| Some((other, other.enables(&self.right.user.id)?)))
    }

    /// The last time of all other such orders.
    fn last_of_others(&self, bench: &Bench<'_>) -> Option<i64> {
        self.others(bench).map(|(other, _)| last_until(&other.right)).max()
    }

    fn found(&self) -> Result<User, String> {
        let name = &self.right.user.name;
        let words = |error: CallError| format!("reading the account {name}: {error}");
        let found = self.calls.user(name).map_err(words)?;
        found.ok_or_else(|| format!("there is no local user {name} on this host any more"))
    }
}

impl<'bench> Driver<Bench<'bench>, Undo> for Enable<'_> {
    fn prepare(&self, bench: &Bench<'bench>) -> Result<Undo, String> {
        // By another order it is enabled now, and was not before.
        let before = self.others(bench).find_map(|(_, undo)| undo.disabled);
        if let Some(disabled) = before {
            return Ok(Undo { disabled: Some(disabled), ..Undo::default() });
        }
        let now = bench.now.ok_or("nobody can tell what time it is")?.wall.timestamp();
        let User { is_off, expires, .. } = self.found()?;
        if !is_off && expires.is_none_or(|at| at > now) {
            let name = &self.right.user.name;
            return Err(format!(
                "the local user {name} is not disabled: there is nothing to enable"
            ));
        }
        Ok(Undo { disabled: Some(Disabled { is_off, expires }), ..Undo::default() })
    }

    /// It expires before it is switched on, so that it is never on without an end.
    fn apply(&self, bench: &Bench<'bench>, _: &Undo) -> Result<(), String> {
        let own = last_until(self.right);
        let last = self.last_of_others(bench).map_or(own, |others| others.max(own));
        expire(self.calls, &self.right.user.name, Some(last))?;
        switch(self.calls, &self.right.user.name, false)
    }

    fn observe(&self, bench: &Bench<'bench>, _: &Undo) -> Result<bool, String> {
        let own = last_until(self.right);
        let last = self.last_of_others(bench).map_or(own, |others| others.max(own));
        let User { is_off, expires, .. } = self.found()?;
        Ok(!is_off && expires.is_some_and(|at| (own..=last).contains(&at)))
    }

    fn revert(&self, bench: &Bench<'bench>, undo: Option<&Undo>) -> Result<(), String> {
        let Some(before) = undo.and_then(|undo| undo.disabled) else { return Ok(()) };
        let sid = self.sid()?;
        let name = self.calls.name_of(&sid);
        let name = name.map_err(|error| format!("looking for {sid}: {error}"))?;
        // One that is gone is nobody's to disable.
        let Some(name) = name else { return Ok(()) };
        if let Some(last) = self.last_of_others(bench) {
            return expire(self.calls, &name, Some(last));
        }
        if before.is_off {
            switch(self.calls, &name, true)?;
        }
        expire(self.calls, &name, before.expires)
    }

    fn stop(&self, bench: &Bench<'bench>, undo: Option<&Undo>) -> Result<(), String> {
        let was_given = undo.is_some_and(|undo| undo.disabled.is_some());
        if !was_given || self.others(bench).next().is_some() {
            return Ok(());
        }
        end_all_of(self.calls, &self.sid()?)
    }
}
