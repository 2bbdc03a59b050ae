//! What each command does.

use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use lapse_crds::AgentReport;
use lapse_engine::order::DriftReport;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::activity::note::leave_session;
use crate::activity::recorder::keep;
use crate::application::inside;
use crate::attach::Link;
use crate::cli;
use crate::clock::HostClock;
use crate::copied::{self, copied_from};
use crate::drift;
use crate::fingerprint::machine;
use crate::hands::Hands;
use crate::identity::Enrolled;
use crate::local::{desk::Desk, server};
use crate::notices;
use crate::outbox::Outbox;
use crate::places::{Id, Places};
use crate::probe::Probe;
use crate::record::Stage;
use crate::requests;
use crate::session::open_session;
use crate::standing::{self, Running};
use crate::system::HostSystem;
use crate::worker::{News, Task, Worker};

mod membership;
mod show;

pub use membership::{enrol_host, remove};
pub use show::{accept_clock, accept_drift, show_drift, show_probe, status};

/// How much longer than its last end a right may seem to last when a timer fires.
const EARLY: Duration = Duration::from_secs(2);

/// How much that the gateway said may wait to be done: it is kept from saying more meanwhile.
const WAITING: usize = 64;

fn hands(places: &Places) -> anyhow::Result<Hands> {
    ensure!(nix::unistd::geteuid().is_root(), "only root can do this: call it with sudo");
    Ok(Hands::new(Box::new(HostSystem), Box::new(HostClock), places.clone())?)
}

/// Carries out orders.
///
/// # Errors
/// If this host has not enrolled, or its state cannot be used.
pub async fn serve() -> anyhow::Result<()> {
    let places = Places::default();
    let hands = hands(&places)?;
    let running = Running::begin(&places)?;
    let _running = running.context("another lapse-agent runs on this host")?;
    // Before anything else: what another machine was given is given nobody here.
    if let Some(endpoint) = copied_from(&places)? {
        return copied::disown(&hands, &endpoint);
    }
    // And what is over ends, also on a host that is nobody any more.
    let round = hands.settle()?;
    let found = hands.probe();
    info!(known = round.records.len(), "what was in force is looked after");
    for lack in &found.lacks {
        warn!("{lack}");
    }
    let Enrolled { identity, key, trust } = Enrolled::read(&places)?;
    let machine = machine(&places)?;
    let Probe { capabilities, system, lacks, .. } = found;
    let version = env!("CARGO_PKG_VERSION").to_owned();
    // A host that can do nothing says why; one that lacks something says so in its log.
    let lack = capabilities.is_empty().then(|| lacks.join("; "));
    let report =
        AgentReport { version, capabilities, system, warns: true, ..AgentReport::default() };
    let authorities = trust.authorities().to_owned();
    let (sender, news) = watch::channel(News { report, authorities, ..News::default() });
    let (tasks, orders) = mpsc::sync_channel(WAITING);
    let (outbox, recording) = record(&places, tasks.clone())?;
    let host = (identity.endpoint.clone(), identity.enrolled_at);
    let worker = Worker::new(hands, host, trust, lack, sender);
    let known = worker.known();
    let work =
        std::thread::Builder::new().name("orders".to_owned()).spawn(move || worker.work(&orders));
    let work = work.context("starting the thread that carries out orders")?;
    let (found, drift) = watch::channel(DriftReport::default());
    let watching = drift::Watch::new(places.clone(), found)?;
    std::thread::Builder::new()
        .name("drift".to_owned())
        .spawn(move || watching.run())
        .context("starting the thread that looks for what outlasts access")?;
    tokio::spawn(notices::tell(places.clone(), known.clone()));
    let own = (identity.endpoint.clone(), key.clone());
    let (counter, courier) = requests::open(&places, own.0.clone(), own.1.clone());
    let desk = Desk::new(places.clone(), own, known, tasks.clone(), counter);
    match server::open(&places) {
        Ok(listener) => {
            tokio::spawn(server::serve(listener, places.clone(), Arc::new(desk)));
        }
        // Orders are carried out all the same, and ended on time.
        Err(error) => warn!(%error, "people on this host cannot talk to the agent"),
    }
    let told = (news, drift);
    let said = (outbox, courier);
    let link = Link::new(places.clone(), identity, key, machine, tasks.clone(), told, said);
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    // With the link goes who could say that something was noted.
    tokio::select! {
        () = link.stay() => anyhow::bail!("a thread of the agent has ended"),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    let _ = tasks.send(Task::Stop);
    // What they are doing is done to its end.
    let _ = work.join();
    let _ = recording.join();
    let _ = std::fs::remove_file(places.socket());
    info!("stopped; what is in force ends on time without the agent");
    Ok(())
}

/// Starts the thread that keeps the record of what is done with sudo.
fn record(places: &Places, tasks: SyncSender<Task>) -> anyhow::Result<(Outbox, JoinHandle<()>)> {
    let (sender, offered) = watch::channel(None);
    let (noted, heard) = mpsc::sync_channel(1);
    let places = places.clone();
    let tell = move |problem| {
        // Nobody waits for this to be said.
        let _ = tasks.try_send(Task::Unrecorded(problem));
    };
    let recording = std::thread::Builder::new()
        .name("record".to_owned())
        .spawn(move || keep(&places, &heard, &sender, tell))
        .context("starting the thread that keeps the record")?;
    Ok((Outbox::new(offered, noted), recording))
}

/// Ends what is over: called by timers, and at each start of the host.
///
/// # Errors
/// If something is not gone.
pub fn expire(options: &cli::Expire) -> anyhow::Result<()> {
    let places = Places::default();
    let hands = hands(&places)?;
    let Some(text) = &options.id else {
        if copied_from(&places).ok().flatten().is_some() {
            return copied::end_all(&hands);
        }
        let round = hands.settle()?;
        let left = round.records.iter().filter(|record| record.stage == Stage::Ending).count();
        ensure!(left == 0, "{left} grants have ended, and their access is not gone");
        return Ok(());
    };
    let id = Id::read(text).with_context(|| {
        format!("{text:?} is not the ID of a grant, which has 32 hexadecimal digits")
    })?;
    if let Some(record) = hands.journal().read(&id).ok().flatten()
        && let (Ok(now), Ok(seen)) = (hands.now(), hands.journal().max_seen())
        && let Some(rest) = record.rest(&now, &seen).and_then(|rest| rest.to_std().ok())
        && record.stage != Stage::Ending
    {
        if rest > EARLY {
            // A timer fired that was set by another clock. The ends are set anew.
            hands.settle()?;
            return Ok(());
        }
        std::thread::sleep(rest);
    }
    ensure!(hands.end_now(&id, None)?, "the access of grant {id} is not gone yet");
    // The agent does so, if it lives.
    if !standing::is_running(&places) {
        drift::conclude(&places)?;
    }
    Ok(())
}

/// Puts a process of sudo where it ends with the right. The exit code 77 keeps sudo from going on; 42 lets it, as nothing
/// that stands in the agent's place ends with that by chance.
#[must_use]
pub fn session(options: &cli::Session) -> u8 {
    let user = std::env::var("PAM_RUSER").unwrap_or_default();
    let places = Places::default();
    match open_session(&HostSystem, &HostClock, &places, &user, options.process) {
        Ok(grant) => {
            let terminal = std::env::var("PAM_TTY").ok().filter(|name| !name.is_empty());
            // What cannot be written down keeps nobody from what they were given: sudo logs what is called, and by which right
            // it was is then not told.
            let _ = leave_session(&places, &HostClock, (grant, options.process), terminal);
            42
        }
        Err(error) => {
            // PAM shows what is written here to the user.
            println!("{error}");
            77
        }
    }
}

/// Runs the program of an application, and ends as it does.
#[must_use]
pub fn application(options: &cli::Application) -> u8 {
    let Some(id) = Id::read(&options.id) else {
        eprintln!("{:?} is not the ID of a grant, which has 32 hexadecimal digits", options.id);
        return 2;
    };
    inside::run(&HostSystem, &HostClock, &Places::default(), &id)
}
