//! Whose a connection is, as what is called on it knows.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::identity::{Identity, IdentityError};
use crate::turns::Turn;

/// Whose a connection is. In place of the certificates themselves, which TLS keeps for as long as it lasts.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// Where it comes from.
    pub(crate) address: SocketAddr,
    /// Whose the certificate is that was shown, and that TLS has verified; `None` if none was.
    pub(crate) identity: Option<Result<Arc<Identity>, IdentityError>>,
    turn: Arc<Mutex<Option<Turn>>>,
}

impl Caller {
    /// Somebody from there, who is let in by this turn until it is settled what becomes of them.
    pub(crate) fn new(
        address: SocketAddr,
        identity: Option<Result<Arc<Identity>, IdentityError>>,
        turn: Option<Turn>,
    ) -> Self {
        Self { address, identity, turn: Arc::new(Mutex::new(turn)) }
    }

    /// It is settled: it is the turn of somebody else.
    pub(crate) fn is_settled(&self) {
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(turn);
    }

    /// It is settled when this is dropped.
    pub(crate) fn settles(&self) -> Settles {
        Settles(self.clone())
    }
}

/// Settles what becomes of a caller, when it is dropped.
pub(crate) struct Settles(Caller);

impl Drop for Settles {
    fn drop(&mut self) {
        self.0.is_settled();
    }
}
