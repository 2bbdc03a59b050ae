//! Being told to stop: Ctrl-C or Ctrl-\, the end of the terminal, or `kill`.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// From when this is made on, none of these signals ends the process by itself, and none is missed.
pub(crate) struct Interrupts {
    interrupt: Signal,
    quit: Signal,
    hangup: Signal,
    terminate: Signal,
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
