//! The gateway with many agents: simulated ones, which connect, hear and answer as the real one does, and do nothing on
//! a host.

mod agent;
mod board;
mod grants;
mod hosts;
mod limit;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::task::JoinSet;

use self::board::Board;
use self::grants::Grants;
use self::hosts::Hosts;
use super::figure::{Figure, Part, Reach};
use super::process::{bounded_memory, cpu_seconds, memory_mib};
use super::seen::Moment;
use super::setting::{Setting, Size};
use super::town::AT_ONCE;
use crate::plane::Progress;
use crate::plane::component::Component;

/// How many agents there are in full.
const AGENTS: usize = 10_000;
/// How many orders there are at the most, each for another agent.
const ORDERS: usize = 1000;
/// How long after one agent the next one connects for the first time: hosts are not all started in one instant.
const APART: Duration = Duration::from_millis(10);
/// How long nothing goes on while that is measured, and how long the gateway must have written nothing to be at rest:
/// what failed is tried again within 10 s.
const MEASURED: Pace = Pace { rest: Duration::from_mins(1), quiet: Duration::from_secs(12) };
/// The same where it is only to be seen that it works.
const TRIED: Pace = Pace { rest: Duration::from_secs(5), quiet: Duration::from_secs(3) };
/// How few agents are there for that.
const FEW: usize = 500;
/// How long nothing may get better before what is missing counts as never.
const PATIENCE: Duration = Duration::from_mins(3);

/// How long things take.
struct Pace {
    rest: Duration,
    quiet: Duration,
}

/// Memory and share of a core with all agents connected, orders, and a restart.
pub(super) async fn run(setting: &Setting, figures: &mut Vec<Figure>) -> Result<()> {
    let count = setting.agents.unwrap_or_else(|| setting.size.of(AGENTS));
    let is_tried = setting.size == Size::Small && count <= FEW;
    let pace = if is_tried { TRIED } else { MEASURED };
    limit::raise_open_files(count)?;
    let hosts = Hosts::found(setting, count).await?;
    let gateway = hosts.lapse.gateways.first().context("there is no gateway")?;
    let alone = bounded_memory(gateway.process.pid())?;

    let board = Arc::new(Board::new(count));
    let (mut agents, begun) = (JoinSet::new(), Moment::now());
    let mut first = Duration::ZERO;
    for agent in hosts.agents()? {
        agents.spawn(agent.stay(Arc::clone(&board), first));
        first += APART;
    }
    Progress::Steps.step(&format!("{count} agents connect"));
    let connected = board.all_connected(begun, PATIENCE).await?;
    let last = seconds(connected.iter().copied(), begun);
    let settled = settle(gateway, &pace).await?;
    let words = format!(
        "all connected after {last:.1} s, one every {} ms; all written {settled:.0} s later; {}",
        APART.as_millis(),
        hosts.enrolled_words(),
    );
    figures.extend(rest(gateway, pace.rest, count, alone, &words).await?);
    figures.extend(orders(&hosts, &board, count.min(ORDERS)).await?);
    settle(gateway, &pace).await?;
    figures.push(restart(gateway, &board, &pace).await?);
    Ok(())
}

/// What the gateway uses while nothing goes on.
async fn rest(
    gateway: &Component,
    long: Duration,
    count: usize,
    alone: f64,
    words: &str,
) -> Result<Vec<Figure>> {
    Progress::Steps.step("nothing goes on");
    let pid = gateway.process.pid();
    let (begun, before) = (Instant::now(), cpu_seconds(pid)?);
    let mut memory = Vec::new();
    while begun.elapsed() < long {
        tokio::time::sleep(Duration::from_secs(1)).await;
        memory.push(bounded_memory(pid)?);
    }
    let share = (cpu_seconds(pid)? - before) / begun.elapsed().as_secs_f64() * 100.0;
    let (own, peak) = (memory_mib(pid, "RssAnon")?, memory_mib(pid, "VmHWM")?);
    let of_each = |mib: &f64| (mib - alone) * 1024.0 / number(count);
    let each = memory.iter().map(of_each).collect();
    Ok(vec![
        Figure::new(&format!("memory, {count} agents connected"), "MiB", memory)
            .reach(Part::Max, Reach::AtMost(400.0))
            .note(format!(
                "VmRSS over {} s; RssAnon {own:.1}, peak so far {peak:.1}, without agents {alone:.1}; {words}",
                long.as_secs()
            )),
        Figure::new("the same for each agent", "KiB", each),
        Figure::new(&format!("share of a core in {} s", long.as_secs()), "%", vec![share])
            .reach(Part::Max, Reach::AtMost(5.0)),
    ])
}

/// Many orders, each for another agent, from the call that asks for it on.
async fn orders(hosts: &Hosts, board: &Board, count: usize) -> Result<Vec<Figure>> {
    Progress::Steps.step(&format!("{count} orders"));
    let grants = Grants::follow(hosts.admin.client.clone()).await?;
    let begun = Moment::now();
    let asking = (0..count).map(|index| hosts.ask(index));
    stream::iter(asking).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    let asked = Moment::now();
    let arrived = board.all_orders(count, PATIENCE).await?;
    let last_arrived = seconds(arrived.values().copied(), begun);
    let stored = board.all_stored(2 * count, PATIENCE).await?;
    let made = grants.moments();
    let late = arrived.iter().map(|(grant, at)| {
        let made = made.get(grant).with_context(|| format!("no watch has shown Grant {grant}"))?;
        Ok(at.ms_after(*made))
    });
    let late = late.collect::<Result<Vec<f64>>>()?;
    let of_ours = made.iter().filter(|(grant, _)| arrived.contains_key(*grant)).map(|(_, at)| *at);
    let beside = seconds(of_ours, begun);
    let note = format!(
        "all asked for after {:.1} s; last receipt stored after {:.1} s",
        asked.ms_after(begun) / 1000.0,
        stored.ms_after(begun) / 1000.0,
    );
    Ok(vec![
        Figure::new(
            &format!("first of {count} calls → last order at its agent"),
            "s",
            vec![last_arrived],
        )
        .beside("the same → last Grant seen in a watch", vec![beside])
        .note(note),
        Figure::new("Grant seen in a watch → order at its agent", "ms", late)
            .reach(Part::Max, Reach::AtMost(2000.0)),
    ])
}

/// The gateway is killed and started; the agents come back, each by itself.
async fn restart(gateway: &Component, board: &Board, pace: &Pace) -> Result<Figure> {
    Progress::Steps.step("the gateway is killed and started");
    let failed_before = board.failed();
    let killed = Moment::now();
    gateway.process.kill();
    gateway.process.start()?;
    gateway.ready().await?;
    let ready = Moment::now();
    let again = board.all_connected(killed, PATIENCE).await?;
    let after = again.iter().map(|at| at.ms_after(killed) / 1000.0).collect();
    let settled = settle(gateway, pace).await?;
    let tries = Board::failed_words(&failed_before, &board.failed());
    let peak = memory_mib(gateway.process.pid(), "VmHWM")?;
    Ok(Figure::new("gateway killed and started → agent connected again", "s", after).note(format!(
        "ready after {:.1} s; all written {settled:.0} s after the last; memory peak {peak:.1} MiB; tries that failed: {tries}",
        ready.ms_after(killed) / 1000.0
    )))
}

/// Waits until the gateway writes nothing more; how long after now it last did, in seconds.
async fn settle(gateway: &Component, pace: &Pace) -> Result<f64> {
    let begun = Instant::now();
    let (mut written, mut last) = (f64::NAN, begun);
    while last.elapsed() < pace.quiet {
        let now = gateway.counted("lapse_gateway_endpoint_write_duration_seconds_count", &[]);
        let now = now.await?;
        if now.total_cmp(&written).is_ne() {
            (written, last) = (now, Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok((last - begun).as_secs_f64())
}

/// How long after a moment the last of these came, in seconds.
fn seconds(moments: impl Iterator<Item = Moment>, since: Moment) -> f64 {
    moments.map(|at| at.ms_after(since) / 1000.0).fold(0.0, f64::max)
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
