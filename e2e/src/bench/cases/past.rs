//! A great many rights that were held once.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;

use super::super::figure::{Figure, Part, Reach};
use super::super::process::{peak_of, resting_memory, within_reason};
use super::super::seed::Seed;
use super::super::seen::Moment;
use super::super::setting::Setting;
use super::super::town::{AT_ONCE, LIMIT, Town, names, policy};
use crate::plane::{Process, Spec, eventually};

/// How many rights are stored that are over.
const OVER: usize = 100_000;
/// How many that are held.
const HELD: usize = 1000;
/// How many whose time was up while no controller ran.
const DUE: usize = 100;
/// How long those were held.
const DUE_AFTER: &str = "20s";
const POLICIES: usize = 1000;
/// How many approvals are measured.
const ROUNDS: usize = 60;
/// How many of them while what is over is being read.
const ROUNDS_MEANWHILE: usize = 20;
/// How long that may take.
const READ_WITHIN: Duration = Duration::from_mins(10);

/// Start, memory, approvals and the sweep beside all of that.
pub(super) async fn run(setting: &Setting, figures: &mut Vec<Figure>) -> Result<()> {
    let mut town = Town::found_for_much(setting).await?;
    let rounds = setting.size.of(ROUNDS);
    let without = approvals(&town, &names("before", rounds)).await?;
    let due = store(&mut town, setting).await?;
    let started = async {
        figures.push(start(&town, &due).await?);
        beside(&town, setting, without, figures).await
    };
    let started = started.await;
    if started.is_err() {
        // The sweep is for just that.
        town.lapse.controllers[0].process.kill();
    }
    figures.push(sweep(&town).await?);
    started?;
    more_policies(&town, setting.size.of(POLICIES)).await?;
    // Whatever the webhook keeps, it has seen use by then.
    approvals(&town, &names("then", rounds.min(10))).await?;
    let webhook = town.lapse.webhooks[0].process.pid();
    let (count, policies) = (setting.size.of(OVER), setting.size.of(POLICIES));
    let what = format!("the webhook's memory, {count} rights over and {policies} policies");
    figures.push(resting_memory(&what, webhook).await?.reach(Part::Max, Reach::AtMost(100.0)));
    Ok(())
}

/// The controller's memory, and approvals beside what is stored.
async fn beside(
    town: &Town,
    setting: &Setting,
    without: Vec<f64>,
    figures: &mut Vec<Figure>,
) -> Result<()> {
    let rounds = setting.size.of(ROUNDS_MEANWHILE);
    let meanwhile = approvals(town, &names("meanwhile", rounds)).await?;
    let what = "approver's call sent → Active, while what is over is read";
    figures.push(
        Figure::new(what, "ms", meanwhile)
            .beside("the same before there was a past", without.clone())
            .note(all_is_read(town).await?),
    );
    let controller = &town.lapse.controllers[0].process;
    let count = setting.size.of(OVER);
    let what = format!("the controller's memory, {count} rights over");
    let memory = resting_memory(&what, controller.pid()).await?;
    figures.push(memory.reach(Part::Max, Reach::AtMost(200.0)));
    let beside = approvals(town, &names("after", setting.size.of(ROUNDS))).await?;
    figures.push(
        Figure::new("approver's call sent → Active", "ms", beside)
            .beside("the same before there was a past", without)
            .reach(Part::P50, Reach::Times(1.2)),
    );
    Ok(())
}

/// Waits until the controller has read what is over, and says how long that took from then on.
async fn all_is_read(town: &Town) -> Result<String> {
    let controller = &town.lapse.controllers[0];
    let begun = Moment::now();
    // Programs of earlier releases read it before they are ready.
    eventually("what is over to be read", READ_WITHIN, async || {
        let text = controller.metrics_text().await?;
        Ok((!text.lines().any(|line| line == "lapse_past_read 0")).then_some(()))
    })
    .await?;
    let rest = Moment::now().ms_after(begun) / 1000.0;
    Ok(format!("all of it had been read {rest:.0} s after that, by a gauge that is set every 20 s"))
}

/// From the approver's call until the request is seen to be active, each in milliseconds.
async fn approvals(town: &Town, names: &[String]) -> Result<Vec<f64>> {
    let mut took = Vec::new();
    for name in names {
        town.pending(name, "1h").await?;
        town.pause().await;
        let (sent, _) = town.approve(name).await?;
        took.push(town.requests.in_state(name, "Active", LIMIT).await?.ms_after(sent));
        town.decide(name, &json!({"verdict": "Deny"})).await?;
        town.requests.in_state(name, "Ended", LIMIT).await?;
    }
    Ok(took)
}

/// Stops the programs and stores the past; returns the names of the rights that are overdue.
async fn store(town: &mut Town, setting: &Setting) -> Result<Vec<String>> {
    let over = Seed::over(town, "past").await?;
    let held = Seed::live(town, "held", "8h").await?;
    let due = Seed::live(town, "due", DUE_AFTER).await?;
    town.lapse.components().for_each(|component| component.process.kill());
    // To be shown each object as it comes would keep the API server from storing.
    town.look_away();
    over.sow(setting.size.of(OVER)).await?;
    held.sow(setting.size.of(HELD)).await?;
    let due = due.sow(setting.size.of(DUE)).await?;
    town.look_anew().await?;
    let last = due.last().context("nothing is overdue")?;
    town.bindings.there(last, LIMIT).await?;
    let left = town.expires_at(last).await? - lapse_cluster::clock::now();
    tokio::time::sleep(left.to_std().unwrap_or_default()).await;
    Ok(due)
}

/// Starts the programs: how long it takes until the controller is ready and what was overdue is gone.
async fn start(town: &Town, due: &[String]) -> Result<Figure> {
    for webhook in &town.lapse.webhooks {
        webhook.process.start()?;
        webhook.ready().await?;
    }
    let controller = &town.lapse.controllers[0];
    let begun = Moment::now();
    controller.process.start()?;
    let pid = controller.process.pid();
    let (ready, gone) = within_reason(pid, async {
        let ready = async {
            controller.ready().await?;
            anyhow::Ok(Moment::now())
        };
        let patience = Duration::from_mins(2);
        let (ready, gone) = tokio::join!(ready, town.bindings.all_gone(due, patience));
        Ok((ready?, gone))
    })
    .await?;
    let gone: Vec<f64> = gone.into_iter().flatten().map(|gone| gone.ms_after(begun)).collect();
    ensure!(gone.len() == due.len(), "of {} overdue rights {} ended", due.len(), gone.len());
    let last = gone.into_iter().fold(f64::NAN, f64::max);
    let both = last.max(ready.ms_after(begun));
    let note = format!(
        "ready after {:.0} ms, the last of {} overdue ones gone after {last:.0} ms; all of the past are \
         copies of a real one, put into the store: a request and a Grant each, without decision and managed \
         fields",
        ready.ms_after(begun),
        due.len(),
    );
    let figure =
        Figure::new("controller started → ready, and what was overdue gone", "ms", vec![both]);
    Ok(figure.reach(Part::Max, Reach::AtMost(5000.0)).note(note))
}

/// Runs the job that the chart runs beside the controller.
async fn sweep(town: &Town) -> Result<Figure> {
    let controller = town.lapse.controllers[0].process.spec();
    let settings = controller.args.iter().filter(|arg| arg.starts_with("--settings")).cloned();
    let spec = Spec {
        name: "sweep".to_owned(),
        args: std::iter::once("sweep".to_owned()).chain(settings).collect(),
        log: controller.log.with_file_name("sweep.log"),
        ..controller.clone()
    };
    let begun = Moment::now();
    let job = Process::spawn(spec)?;
    let peak = peak_of(&job).await?;
    let took = Moment::now().ms_after(begun);
    let status = job.wait().await?;
    ensure!(status.success(), "the sweep failed ({status}){}", job.tail());
    Ok(Figure::new("the sweep job's memory", "MiB", vec![peak])
        .reach(Part::Max, Reach::AtMost(40.0))
        .note(format!("VmHWM; it took {took:.0} ms")))
}

async fn more_policies(town: &Town, count: usize) -> Result<()> {
    let names = names("policy", count.saturating_sub(1));
    let making = names.iter().map(|name| policy(&town.admin.client, name));
    stream::iter(making).buffer_unordered(AT_ONCE).try_collect().await
}
