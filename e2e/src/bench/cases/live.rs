//! Many rights that are held, and nothing going on.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::super::figure::{Figure, Part, Reach};
use super::super::process::{cpu_seconds, resting_memory};
use super::super::seed::Seed;
use super::super::setting::Setting;
use super::super::town::{NAMESPACE, Town};
use crate::audit::{self, Asked};
use crate::plane::{SOON, eventually};
use lapse_cluster::rights::Component;

/// How many sweeps are looked at.
const SWEEPS: usize = 3;
/// How long nothing goes on.
const LONG: Duration = Duration::from_secs(30);
/// How long starting may take, how often that is looked at, and how few calls of the controller meanwhile
/// mean that it is over: its lease, and a sweep.
const PATIENCE: Duration = Duration::from_mins(6);
const LOOK: Duration = Duration::from_secs(10);
const FEW: usize = 40;

/// Memory, and what is done all the same.
pub(super) async fn run(setting: &Setting) -> Result<Vec<Figure>> {
    let town = Town::found(setting).await?;
    let count = setting.size.of(10_000);
    let seed = Seed::live(&town, "live", "8h").await?;
    town.asleep(seed.sow(count)).await?;
    let pid = town.lapse.controllers[0].process.pid();
    let log = town.lapse.plane().audit_log();
    let settled = settle(&log).await?;
    let (begun, before) = (audit::read(&log)?.len(), cpu_seconds(pid)?);
    tokio::time::sleep(LONG).await;
    let share = (cpu_seconds(pid)? - before) / LONG.as_secs_f64() * 100.0;
    let asked = of_controller(audit::read(&log)?.split_off(begun));
    let memory =
        resting_memory(&format!("the controller's memory, {count} rights held"), pid).await?;
    let live = town.live().await?;
    ensure!(live > count, "of {count} copies only {live} rights are held in {NAMESPACE}");
    let sweeps = sweeps(&town, count).await?;
    let number = |is_counted: fn(&str) -> bool| {
        let counted = asked.iter().filter(|(what, _)| is_counted(what)).map(|(_, count)| count);
        f64::from(u32::try_from(counted.sum::<usize>()).unwrap_or(u32::MAX))
    };
    let words: Vec<String> =
        asked.iter().map(|(what, count)| format!("{count} × {what}")).collect();
    Ok([
        memory.reach(Part::Max, Reach::AtMost(60.0)),
        Figure::new(
            "writes in 30 s, leases apart",
            "writes",
            vec![number(|what| {
                audit::WRITES.iter().any(|verb| what.starts_with(verb))
                    && !what.ends_with(" leases")
            })],
        )
        .reach(Part::Max, Reach::AtMost(0.0))
        .note(settled),
        Figure::new("lists in 30 s", "lists", vec![number(|what| what.starts_with("list "))])
            .note(format!("all that the controller asked: {}", words.join(", "))),
        Figure::new("share of a core", "%", vec![share]).reach(Part::Max, Reach::AtMost(2.0)),
    ]
    .into_iter()
    .chain(sweeps)
    .collect())
}

/// What a sweep asks for and takes: what the process does from the end of one to the end of the next, leases apart.
async fn sweeps(town: &Town, count: usize) -> Result<[Figure; 2]> {
    let controller = &town.lapse.controllers[0];
    let (pid, log) = (controller.process.pid(), town.lapse.plane().audit_log());
    let end_of_one = async || {
        let count = async || controller.counted("lapse_sweeps_total", &[]).await;
        let before = count().await?;
        eventually("a sweep to end", SOON, async || Ok((count().await? > before).then_some(())))
            .await
    };
    let (mut asked, mut cpu, mut words) = (Vec::new(), Vec::new(), String::new());
    end_of_one().await?;
    for _ in 0..SWEEPS {
        let (begun, before) = (audit::read(&log)?.len(), cpu_seconds(pid)?);
        end_of_one().await?;
        cpu.push((cpu_seconds(pid)? - before) * 1000.0);
        let mut calls = of_controller(audit::read(&log)?.split_off(begun));
        calls.retain(|what, _| !what.ends_with(" leases"));
        asked.push(f64::from(u32::try_from(calls.values().sum::<usize>()).unwrap_or(u32::MAX)));
        let all: Vec<String> =
            calls.iter().map(|(what, count)| format!("{count} × {what}")).collect();
        words = all.join(", ");
    }
    Ok([
        Figure::new(&format!("calls of a sweep, {count} rights held"), "calls", asked)
            .note(format!("the last: {words}")),
        Figure::new("CPU from one sweep to the next", "ms", cpu),
    ])
}

/// Waits until starting is over: until little is asked for; says how long that took.
async fn settle(log: &Path) -> Result<String> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let before = of_controller(audit::read(log)?).values().sum::<usize>();
        tokio::time::sleep(LOOK).await;
        let asked = of_controller(audit::read(log)?).values().sum::<usize>() - before;
        if asked <= FEW {
            return Ok(format!("quiet {} s after it was ready", begun.elapsed().as_secs()));
        }
    }
    Ok(format!("{} s after it was ready the controller still looks at each", PATIENCE.as_secs()))
}

/// What the controller asked for, by verb and resource.
fn of_controller(asked: Vec<Asked>) -> BTreeMap<String, usize> {
    let controller = audit::user(Component::Controller);
    let mut counts = BTreeMap::new();
    for Asked { access, .. } in asked.into_iter().filter(|asked| asked.user == controller) {
        *counts.entry(format!("{} {}", access.verb, access.resource)).or_insert(0) += 1;
    }
    counts
}
