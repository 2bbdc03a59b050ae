//! What each command does.

use std::io::Read as _;
use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use lapse_crds::AgentReport;
use lapse_engine::activity::Batch;
use lapse_engine::order::DriftReport;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::activity::note::leave_session;
use crate::activity::recorder::{Recorder, keep};
use crate::application::inside;
use crate::attach::Link;
use crate::cli;
use crate::clock::{HostClock, MaxSeen};
use crate::copied::{self, copied_from};
use crate::drift;
use crate::enrol::{Invitation, enrol};
use crate::farewell::say_farewell;
use crate::fingerprint::machine;
use crate::hands::Hands;
use crate::identity::Enrolled;
use crate::local::{desk::Desk, server};
use crate::notices;
use crate::outbox::Outbox;
use crate::places::{Id, Places};
use crate::probe::Probe;
use crate::record::{Record, Stage};
use crate::requests;
use crate::session::open_session;
use crate::standing::{self, Running};
use crate::system::HostSystem;
use crate::worker::{News, Task, Worker};

/// How much longer than its last end a right may seem to last when a timer fires.
const EARLY: Duration = Duration::from_secs(2);

/// How much that the gateway said may wait to be done: it is kept from saying more meanwhile.
const WAITING: usize = 64;

fn hands(places: &Places) -> anyhow::Result<Hands> {
    ensure!(nix::unistd::geteuid().is_root(), "only root can do this: call it with sudo");
    Ok(Hands::new(Box::new(HostSystem), Box::new(HostClock), places.clone())?)
}

/// Becomes the agent of an Endpoint.
///
/// # Errors
/// If it does not.
pub async fn enrol_host(options: cli::Enrol) -> anyhow::Result<()> {
    let places = Places::default();
    let hands = hands(&places)?;
    let is_enrolled = Enrolled::read(&places).is_ok() && copied_from(&places)?.is_none();
    ensure!(
        options.again || !is_enrolled,
        "this host has enrolled already: call it with --again, and restart lapse-agent, to enrol anew"
    );
    let records = hands.journal().all()?.read;
    let in_force = records.values().filter(|record| record.is_open()).count();
    ensure!(
        in_force == 0,
        "{in_force} grants are in force here: end them first (`lapse end GRANT` as root, or `lapse-agent remove` for all of them)"
    );
    let token = read_token(&options)?;
    let cli::Enrol { gateway, endpoint, pin, .. } = options;
    let enrolled = enrol(&places, Invitation { gateway, endpoint, pin, token }).await?;
    crate::durable::remove(&places.notice())?;
    println!("Enrolled as Endpoint {}.", enrolled.identity.endpoint.name);
    Ok(())
}

fn read_token(options: &cli::Enrol) -> anyhow::Result<String> {
    let mut token = String::new();
    if options.token_file.as_os_str() == "-" {
        std::io::stdin().take(4096).read_to_string(&mut token).context("reading the token")?;
    } else {
        let path = &options.token_file;
        token =
            std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    }
    let token = token.trim().to_owned();
    ensure!(
        !token.is_empty(),
        "the token is empty: write it to standard input, or name a file with it"
    );
    Ok(token)
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

/// Shows what is in force.
///
/// # Errors
/// If it cannot be read.
pub fn status() -> anyhow::Result<()> {
    let places = Places::default();
    let hands = hands(&places)?;
    match Enrolled::read(&places) {
        Ok(enrolled) => println!(
            "This host is Endpoint {} of the gateway {}.",
            enrolled.identity.endpoint.name, enrolled.identity.gateway
        ),
        Err(error) => println!("{}", copied::notice(&places).unwrap_or(error.to_string())),
    }
    println!("{}", standing::describe(&places));
    if let Some(found) = drift::summary(&places) {
        println!("{found}");
    }
    let records = hands.journal().all()?;
    for error in records.broken.values() {
        println!("{error}");
    }
    let open: Vec<&Record> = records.read.values().filter(|record| record.is_open()).collect();
    if open.is_empty() {
        println!("No grant is in force.");
        return Ok(());
    }
    println!("{:<10} {:<16} {:<24} {:<20} GRANT", "STATE", "USER", "ACCESS", "UNTIL");
    for record in open {
        let Some(right) = &record.right else { continue };
        let until = right.expires_at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        let state = record.receipt().state.to_string();
        println!(
            "{state:<10} {:<16} {:<24} {until} {}",
            right.user,
            right.elevation.to_string(),
            record.grant
        );
        if let Some(message) = &record.message {
            println!("           {message}");
        }
    }
    Ok(())
}

/// Shows what the host can do.
///
/// # Errors
/// If it is not called by root.
pub fn show_probe() -> anyhow::Result<()> {
    let places = Places::default();
    let Probe { dialect: _, capabilities, lacks, system } = hands(&places)?.probe();
    println!("{}", system.unwrap_or_else(|| "a Linux host".to_owned()));
    for capability in capabilities {
        println!("  can:   {capability}");
    }
    for lack in lacks {
        println!("  lacks: {lack}");
    }
    Ok(())
}

/// Believes the clock.
///
/// # Errors
/// If that cannot be written.
pub fn accept_clock() -> anyhow::Result<()> {
    let hands = hands(&Places::default())?;
    let _lock = hands.lock()?;
    let wall = hands.now()?.wall;
    hands.journal().accept_clock(hands.system(), MaxSeen { wall })?;
    println!("The clock is believed from {} on.", wall.to_rfc3339());
    Ok(())
}

/// Shows what would outlast access.
///
/// # Errors
/// If it is not called by root.
pub fn show_drift() -> anyhow::Result<()> {
    print!("{}", drift::show(hands(&Places::default())?.places()));
    Ok(())
}

/// Accepts what would outlast access.
///
/// # Errors
/// If that cannot be written.
pub fn accept_drift() -> anyhow::Result<()> {
    let hands = hands(&Places::default())?;
    let accepted = drift::accept(hands.system(), hands.places())?;
    println!("{accepted} changes are accepted. The host stays as it is.");
    Ok(())
}

/// Ends everything, tells the cluster so if it can be reached, and forgets who this host is.
///
/// # Errors
/// If a right is not gone: then nothing is forgotten.
pub async fn remove() -> anyhow::Result<()> {
    let places = Places::default();
    let hands = hands(&places)?;
    let left = hands.end_all("the agent was removed from the host")?;
    ensure!(
        left == 0,
        "the access of {left} grants is not gone yet: `lapse-agent status` says why"
    );
    if let Err(error) = tell_ends(&hands).await {
        println!(
            "The cluster was not told: {error:#}. Grants that ended here stay Ending there; ask an owner to delete the \
             Endpoint, and to remove its finalizer."
        );
    }
    copied::forget(&places)?;
    println!(
        "Nothing is in force, and this host is no Endpoint any more. To use it again, enrol it with a new token."
    );
    if standing::is_running(&places) {
        println!(
            "The agent still runs as that Endpoint, and could be given new orders: `systemctl stop lapse-agent`."
        );
    }
    Ok(())
}

/// What of the record the cluster does not have.
fn last_of_record(places: &Places) -> anyhow::Result<Vec<Batch>> {
    let mut recorder = Recorder::new(places.clone(), Box::new(HostClock))?;
    recorder.take_all()?;
    Ok(recorder.spool().all()?)
}

/// Tells the cluster what has ended and it does not know, as nobody will later.
async fn tell_ends(hands: &Hands) -> anyhow::Result<()> {
    let places = hands.places();
    // Nobody has enrolled, or on another machine: then there is nobody to tell.
    if Enrolled::read(places).is_err() || copied_from(places)?.is_some() {
        return Ok(());
    }
    let (enrolled, now) = (Enrolled::read(places)?, hands.now()?);
    let records = hands.journal().all()?.read;
    let unsaid: Vec<_> = records.into_values().filter(|record| record.is_news(&now)).collect();
    let receipts: Vec<_> = unsaid.iter().map(Record::receipt).collect();
    let record = last_of_record(places).unwrap_or_else(|error| {
        warn!("the last of the record cannot be sent: {error:#}");
        Vec::new()
    });
    let untold = say_farewell(&enrolled, machine(places)?, &receipts, record).await?;
    if untold > 0 {
        println!("The cluster was not told all of what was done with sudo here.");
    }
    for mut record in unsaid {
        // Who enrols here later has nothing to say of it.
        record.recorded = record.sequence;
        hands.remember(&record)?;
    }
    Ok(())
}
