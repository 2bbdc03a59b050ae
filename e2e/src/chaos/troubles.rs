//! What goes wrong, done to the programs, to their way to the API server, and to that.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use http::{Method, StatusCode};
use lapse_cluster::clock;

use super::checker::Hindered;
use super::random::Random;
use super::step::{CONTROLLERS, Network, Trouble};
use crate::plane::Lapse;
use crate::plane::api_proxy::{ApiProxy, Call, Fault};
use crate::plane::proxy::Behaviour;

/// Does it, and knows whom it hinders.
pub(super) struct Troubles {
    lapse: Arc<Lapse>,
    api: Arc<ApiProxy>,
    seed: u64,
    now: Mutex<Vec<(Vec<usize>, Network)>>,
    hindered: Mutex<Vec<Hindered>>,
}

impl Troubles {
    pub(super) fn new(lapse: Arc<Lapse>, seed: u64) -> Result<Self> {
        let api = lapse.api.clone().context("the controllers are not behind a proxy")?;
        Ok(Self { lapse, api, seed, now: Mutex::default(), hindered: Mutex::default() })
    }

    /// Whom it hindered, and when.
    pub(super) fn hindered(&self) -> Vec<Hindered> {
        self.hindered.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Begins.
    pub(super) fn begin(&self, trouble: &Trouble) {
        for controller in whom(trouble) {
            let one = Hindered { controller, from: clock::now(), to: None };
            self.hindered.lock().unwrap_or_else(PoisonError::into_inner).push(one);
        }
        match trouble {
            Trouble::Killed { controller } => self.lapse.controllers[*controller].process.kill(),
            Trouble::Stopped { controller } => self.lapse.controllers[*controller].process.pause(),
            Trouble::Network { controllers, what } => {
                self.networks(|now| now.push((controllers.clone(), *what)));
                if renews_connections(*what) {
                    self.cut_off(controllers);
                }
            }
            Trouble::WebhookKilled => self.lapse.webhooks[0].process.kill(),
            Trouble::WebhookSilent => self.lapse.proxy.set_behaviour(Behaviour::Hold),
            Trouble::ApiServerKilled => self.lapse.plane().apiserver().kill(),
        }
    }

    /// Ends, and waits until whom it hindered can do their part.
    ///
    /// # Errors
    /// If a program does not start again.
    pub(super) async fn end(&self, trouble: &Trouble) -> Result<()> {
        match trouble {
            Trouble::Killed { controller } => {
                self.lapse.controllers[*controller].process.start()?;
                // It may have been killed again meanwhile. One that dies by itself is noticed at the end of the round.
                let _ = self.lapse.controllers[*controller].ready().await;
            }
            Trouble::Stopped { controller } => self.lapse.controllers[*controller].process.resume(),
            Trouble::Network { controllers, what } => {
                self.networks(|now| {
                    if let Some(at) =
                        now.iter().position(|one| *one == (controllers.clone(), *what))
                    {
                        now.remove(at);
                    }
                });
                if renews_connections(*what) {
                    self.cut_off(controllers);
                }
                if let Network::Slow(time) = what {
                    tokio::time::sleep(*time).await;
                }
            }
            Trouble::WebhookKilled => {
                self.lapse.webhooks[0].process.start()?;
                let _ = self.lapse.webhooks[0].ready().await;
            }
            Trouble::WebhookSilent => self.lapse.proxy.set_behaviour(Behaviour::Forward),
            Trouble::ApiServerKilled => {
                self.lapse.plane().apiserver().start()?;
                let _ = self.lapse.plane().ready().await;
            }
        }
        let now = clock::now();
        let mut hindered = self.hindered.lock().unwrap_or_else(PoisonError::into_inner);
        for whom in whom(trouble) {
            let open = hindered.iter_mut().rev();
            let mut open = open.filter(|one| one.controller == whom && one.to.is_none());
            if let Some(one) = open.next() {
                one.to = Some(now);
            }
        }
        Ok(())
    }

    fn cut_off(&self, controllers: &[usize]) {
        for controller in controllers {
            self.api.cut_off(*controller);
        }
    }

    /// Changes what goes wrong on the way to the API server.
    fn networks(&self, change: impl FnOnce(&mut Vec<(Vec<usize>, Network)>)) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut now);
        self.api.heal();
        for (controllers, what) in now.iter() {
            let (controllers, mut random) = (controllers.clone(), Random::new(self.seed));
            let (what, percent) = (*what, percent(*what));
            self.api.fault(fault(what), move |call| {
                let is_its = controllers.contains(&call.caller) && concerns(what, call);
                is_its && random.is(percent)
            });
        }
    }
}

/// The controllers that cannot be expected to do their part.
fn whom(trouble: &Trouble) -> Vec<usize> {
    match trouble {
        Trouble::Killed { controller } | Trouble::Stopped { controller } => vec![*controller],
        Trouble::Network { what: Network::Echo, .. }
        | Trouble::WebhookKilled
        | Trouble::WebhookSilent => Vec::new(),
        Trouble::Network { controllers, .. } => controllers.clone(),
        Trouble::ApiServerKilled => (0..CONTROLLERS).collect(),
    }
}

/// Whether it takes connections that begin while it lasts.
fn renews_connections(what: Network) -> bool {
    match what {
        Network::Slow(_) | Network::AnswersLost | Network::Refused { .. } => false,
        Network::Silent
        | Network::Cut
        | Network::Deaf
        | Network::Echo
        | Network::WatchesGone
        | Network::WatchesExpire => true,
    }
}

fn percent(what: Network) -> u64 {
    match what {
        Network::Refused { percent, .. } => percent,
        _ => 100,
    }
}

fn concerns(what: Network, call: &Call) -> bool {
    match what {
        Network::Slow(_) => !call.is_watch,
        Network::AnswersLost => call.method != Method::GET,
        Network::Deaf | Network::Echo | Network::WatchesGone | Network::WatchesExpire => {
            call.is_watch
        }
        Network::Silent | Network::Cut | Network::Refused { .. } => true,
    }
}

fn fault(what: Network) -> Fault {
    match what {
        Network::Slow(time) => Fault::Delay(time),
        Network::Silent => Fault::Hold,
        Network::Cut => Fault::Cut,
        Network::AnswersLost => Fault::CutAnswer,
        Network::Refused { code, .. } => {
            Fault::Status(StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
        }
        Network::Deaf => Fault::Swallow(|_| true),
        Network::Echo => Fault::Repeat,
        Network::WatchesGone => Fault::Status(StatusCode::GONE),
        Network::WatchesExpire => Fault::Expire,
    }
}
