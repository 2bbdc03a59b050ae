//! Why Windows did not do what it was asked for.

use std::io;

use windows_sys::core::BOOL;

/// A call that failed. What its code means in words Windows says in the language of the host, so it is not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{call} failed with {code}")]
pub struct Failure {
    /// Which call.
    pub call: &'static str,
    /// What it returned.
    pub code: u32,
}

impl Failure {
    /// Of a call that has just failed, and that leaves its code with the thread.
    pub(crate) fn last(call: &'static str) -> Self {
        let code = io::Error::last_os_error().raw_os_error();
        Self { call, code: code.unwrap_or_default().cast_unsigned() }
    }
}

/// Of a call that returns its code.
pub(crate) fn check(call: &'static str, code: u32) -> Result<(), Failure> {
    if code == 0 { Ok(()) } else { Err(Failure { call, code }) }
}

/// Of a call that says whether it succeeded.
pub(crate) fn check_bool(call: &'static str, is_ok: BOOL) -> Result<(), Failure> {
    if is_ok == 0 { Err(Failure::last(call)) } else { Ok(()) }
}

/// Takes some codes for success: that what was to be done is done already.
pub(crate) fn or_done(done: Result<(), Failure>, codes: &[u32]) -> Result<(), Failure> {
    match done {
        Err(failure) if codes.contains(&failure.code) => Ok(()),
        done => done,
    }
}
