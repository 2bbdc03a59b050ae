//! Being told to stop: Ctrl-C or Ctrl-\, the end of the terminal, or `kill`.

use nix::sys::signal::Signal;
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};

/// From when this is made on, none of these signals ends the process by itself, and none is missed.
pub(crate) struct Interrupts {
    interrupt: Signals,
    quit: Signals,
    hangup: Signals,
    terminate: Signals,
}

/// One of these signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// Ctrl-C
    Keyboard,
    /// Ctrl-\
    Quit,
    /// The terminal is gone
    Hangup,
    /// `kill`
    Terminate,
}

impl Interrupt {
    /// Its number, as in `kill -2`.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Hangup => 1,
            Self::Keyboard => 2,
            Self::Quit => 3,
            Self::Terminate => 15,
        }
    }

    /// The signal itself.
    pub(crate) fn signal(self) -> Signal {
        match self {
            Self::Hangup => Signal::SIGHUP,
            Self::Keyboard => Signal::SIGINT,
            Self::Quit => Signal::SIGQUIT,
            Self::Terminate => Signal::SIGTERM,
        }
    }
}

impl Interrupts {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// One that has come already, if any has.
    pub(crate) async fn pending(&mut self) -> Option<Interrupt> {
        // They are handed out where the program gives way.
        tokio::task::yield_now().await;
        tokio::select! {
            biased;
            interrupt = self.next() => Some(interrupt),
            () = std::future::ready(()) => None,
        }
    }

    /// The next of them.
    pub(crate) async fn next(&mut self) -> Interrupt {
        tokio::select! {
            _ = self.interrupt.recv() => Interrupt::Keyboard,
            _ = self.quit.recv() => Interrupt::Quit,
            _ = self.hangup.recv() => Interrupt::Hangup,
            _ = self.terminate.recv() => Interrupt::Terminate,
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::raise;

    use super::*;

    #[tokio::test]
    async fn what_has_come_is_found_without_waiting() {
        let mut interrupts = Interrupts::new().unwrap();
        assert_eq!(interrupts.pending().await, None);
        raise(Signal::SIGHUP).unwrap();
        assert_eq!(interrupts.pending().await, Some(Interrupt::Hangup));
        assert_eq!(interrupts.pending().await, None);
    }
}
