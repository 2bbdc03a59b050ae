//! What can happen.

use std::fmt;
use std::time::Duration;

/// How many controllers there are.
pub(super) const CONTROLLERS: usize = 3;

/// Under what people ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    /// One manager approves.
    One,
    /// Two managers approve.
    Two,
}

impl Policy {
    pub(super) const ALL: [Self; 2] = [Self::One, Self::Two];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Two => "two",
        }
    }

    /// How many must approve.
    pub(super) fn required(self) -> usize {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }
}

/// Who approves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manager {
    Bob,
    Ben,
}

/// What somebody does. Requests have numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Ask {
        request: u32,
        policy: Policy,
        seconds: u64,
    },
    Extend {
        request: u32,
        of: u32,
        policy: Policy,
        seconds: u64,
    },
    Approve {
        request: u32,
        by: Manager,
    },
    Deny {
        request: u32,
    },
    End {
        request: u32,
    },
    DeleteRequest {
        request: u32,
    },
    DeleteGrant {
        request: u32,
    },
    DeleteBinding {
        request: u32,
    },
    DeleteMarker {
        request: u32,
    },
    SwitchOff(Policy),
    SwitchOn(Policy),
    /// A policy is made that denies everything.
    Forbid,
    /// It is deleted.
    Permit,
}

/// What goes wrong between a controller and the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Network {
    /// Calls come late.
    Slow(Duration),
    /// Calls are taken and never answered.
    Silent,
    /// Connections end.
    Cut,
    /// Writes take effect, and their answers are lost.
    AnswersLost,
    /// So many calls in a hundred are answered with this code.
    Refused { code: u16, percent: u64 },
    /// Watches tell nothing.
    Deaf,
    /// Watches tell everything twice.
    Echo,
    /// Watches are too old to go on (410).
    WatchesGone,
    /// Watches find out that they are when they have something to tell.
    WatchesExpire,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// A controller is killed, and started again at the end.
    Killed { controller: usize },
    /// A controller is stopped (SIGSTOP), and goes on at the end.
    Stopped { controller: usize },
    /// Between these controllers and the API server.
    Network { controllers: Vec<usize>, what: Network },
    /// The webhook is killed, and started again at the end.
    WebhookKilled,
    /// The webhook is called, and does not answer.
    WebhookSilent,
    /// The API server is killed, and started again at the end.
    ApiServerKilled,
}

/// Something that happens at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Act(Act),
    Begin { trouble: usize },
    End { trouble: usize },
}

/// A time without rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Round {
    /// What happens, in its order, each after so much of the round.
    pub(super) steps: Vec<(Duration, What)>,
    pub(super) troubles: Vec<Trouble>,
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ask { request, policy, seconds } => {
                write!(f, "ask for fix-{request} by policy {}, {seconds}s", policy.name())
            }
            Self::Extend { request, of, seconds, .. } => {
                write!(f, "extend fix-{of} by fix-{request}, {seconds}s")
            }
            Self::Approve { request, by } => write!(f, "{by:?} approves fix-{request}"),
            Self::Deny { request } => write!(f, "deny fix-{request}"),
            Self::End { request } => write!(f, "end fix-{request}"),
            Self::DeleteRequest { request } => write!(f, "delete request fix-{request}"),
            Self::DeleteGrant { request } => write!(f, "delete the grant of fix-{request}"),
            Self::DeleteBinding { request } => write!(f, "delete the binding of fix-{request}"),
            Self::DeleteMarker { request } => write!(f, "delete the marker of fix-{request}"),
            Self::SwitchOff(policy) => write!(f, "switch policy {} off", policy.name()),
            Self::SwitchOn(policy) => write!(f, "switch policy {} on", policy.name()),
            Self::Forbid => write!(f, "make a policy that denies everything"),
            Self::Permit => write!(f, "delete the policy that denies everything"),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Killed { controller } => write!(f, "controller {controller} is killed"),
            Self::Stopped { controller } => write!(f, "controller {controller} is stopped"),
            Self::Network { controllers, what } => {
                write!(f, "controllers {controllers:?}: {what:?}")
            }
            Self::WebhookKilled => write!(f, "the webhook is killed"),
            Self::WebhookSilent => write!(f, "the webhook does not answer"),
            Self::ApiServerKilled => write!(f, "the API server is killed"),
        }
    }
}
