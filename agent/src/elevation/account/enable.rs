//! An account that is disabled, enabled for a time. Disabled is one that has expired: a locked password alone leaves keys, su
//! and the jobs of cron and at.

use lapse_crds::AccountAction;

use super::expiry::{day_of, day_of_others, expire_on, is_as_ordered, last_until, lock, others};
use crate::accounts::{self, Password, Shadow, shadow};
use crate::elevation::files::{Aim, keep_reserve, unreadable};
use crate::elevation::{Bench, Driver};
use crate::processes::{Extent, end_all_of};
use crate::record::{Disabled, Undo};
use crate::right::Right;

const ACTION: AccountAction = AccountAction::Enable;

pub(in crate::elevation) struct Enable<'a> {
    pub(in crate::elevation) right: &'a Right,
}

impl Enable<'_> {
    fn found(&self, bench: &Bench<'_>) -> Result<Shadow, String> {
        let user = &self.right.user;
        let found = shadow(bench.places, user).map_err(unreadable)?;
        found.ok_or_else(|| {
            format!("the local user {user} is not in /etc/shadow: it cannot be disabled, and so not enabled")
        })
    }

    /// What the user is called now. A name that is another's by now is nobody's to disable.
    fn names(&self, bench: &Bench<'_>) -> Result<Vec<String>, String> {
        accounts::names_of(bench.places, self.right.uid).map_err(unreadable)
    }

    fn is_kept_by_another(&self, bench: &Bench<'_>) -> bool {
        others(bench, self.right, ACTION).next().is_some()
    }
}

impl<'bench> Driver<Bench<'bench>, Undo> for Enable<'_> {
    fn prepare(&self, bench: &Bench<'bench>) -> Result<Undo, String> {
        // By another order it is enabled now, and was not before.
        let before = others(bench, self.right, ACTION)
            .find_map(|(record, _)| record.undo.as_ref().and_then(|undo| undo.disabled));
        if let Some(disabled) = before {
            return Ok(Undo { disabled: Some(disabled), ..Undo::default() });
        }
        let now = bench.clock.read().map_err(|error| error.to_string())?;
        let (user, Shadow { password, expires }) = (&self.right.user, self.found(bench)?);
        let was_locked = password == Password::Locked;
        match expires {
            Some(expired) if expired <= day_of(now.wall) => {
                let disabled = Some(Disabled { expired, was_locked });
                Ok(Undo { disabled, ..Undo::default() })
            }
            _ if was_locked => Err(format!(
                "the password of {user} is locked, and the account has not expired: keys, su and jobs work all the same, so \
                 it could not be disabled again. Disable it (chage --expiredate 0 {user}), then request again"
            )),
            _ => Err(format!("the local user {user} is not disabled: there is nothing to enable")),
        }
    }

    fn apply(&self, bench: &Bench<'bench>, undo: &Undo) -> Result<(), String> {
        let before = undo.disabled.ok_or("how the account was disabled was not written down")?;
        keep_reserve(bench)?;
        let own = last_until(self.right.expires_at);
        let day = day_of_others(bench, self.right, ACTION).map_or(own, |others| others.max(own));
        expire_on(bench, Aim::Gives, &self.right.user, day)?;
        if before.was_locked {
            lock(bench, Aim::Gives, &self.right.user, false)?;
        }
        Ok(())
    }

    fn observe(&self, bench: &Bench<'bench>, undo: &Undo) -> Result<bool, String> {
        let found = self.found(bench)?;
        let was_locked = undo.disabled.is_some_and(|before| before.was_locked);
        let is_locked = was_locked && found.password == Password::Locked;
        Ok(!is_locked && is_as_ordered(bench, self.right, ACTION, found))
    }

    /// The day goes back to what it was, and the lock. The password stays what it is: if its owner has changed it meanwhile,
    /// that was theirs to do, and Lapse keeps no copy of it.
    fn revert(&self, bench: &Bench<'bench>, undo: Option<&Undo>) -> Result<(), String> {
        let Some(before) = undo.and_then(|undo| undo.disabled) else { return Ok(()) };
        let day = day_of_others(bench, self.right, ACTION);
        for name in self.names(bench)? {
            // One without a line there has no password, and nobody logs in by it.
            if shadow(bench.places, &name).map_err(unreadable)?.is_none() {
                continue;
            }
            expire_on(bench, Aim::Ends, &name, day.unwrap_or(before.expired))?;
            if day.is_none() && before.was_locked {
                lock(bench, Aim::Ends, &name, true)?;
            }
        }
        Ok(())
    }

    fn stop(&self, bench: &Bench<'bench>, undo: Option<&Undo>) -> Result<(), String> {
        let was_given = undo.is_some_and(|undo| undo.disabled.is_some());
        if !was_given || self.is_kept_by_another(bench) {
            return Ok(());
        }
        end_all_of(bench.system, bench.places, self.right.uid, Extent::Sessions)
    }
}
