//! A random run: people do what people do, and everything fails that can. Whenever it is quiet, an independent checker
//! says whether anybody had what they should not.

mod checker;
mod history;
mod people;
mod plan;
mod random;
mod recorder;
mod settled;
mod step;
mod troubles;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use chrono::TimeDelta;
use clap::Parser;
use futures::future::join_all;
use lapse_cluster::clock;

use self::checker::{Judgement, Terms, judge};
use self::people::People;
use self::plan::{Measure, Plan};
use self::recorder::Recorder;
use self::step::{CONTROLLERS, Round, What};
use self::troubles::Troubles;
use crate::audit::{self, Asked};
use crate::plane::{InstallOptions, Lapse, PlaneOptions};

/// How long a round is.
const ROUND: Duration = Duration::from_secs(12);
/// How long it may take until all has come to rest: the longest short right, the sweep, and a watch that is replaced.
const REST: Duration = Duration::from_secs(100);
/// How often whether all has come to rest is looked at, and how often in turn it must have.
const LOOKS: (Duration, usize) = (Duration::from_millis(500), 3);

/// People ask, approve, end, switch and delete at random while programs are killed and stopped, and calls and watches
/// fail. Whenever that rests, who held what is checked by the audit log.
#[derive(Clone, Debug, Parser)]
#[command(name = "chaos")]
pub struct Options {
    /// How long to go on beginning rounds, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub seconds: u64,
    /// What is drawn follows from it; of a run that found something it is printed
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
    /// How late a right may end when nothing is in the way, in milliseconds
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 1000)]
    pub margin: i64,
    /// Kill the API server, too
    #[arg(long)]
    pub api_server: bool,
    /// A folder with lapse-controller and lapse-webhook of another build, to run instead of our own
    #[arg(long, value_name = "DIR")]
    pub programs: Option<PathBuf>,
    /// Where the files of the control plane go, and stay
    #[arg(long, value_name = "DIR")]
    pub folder: Option<PathBuf>,
}

/// Runs, and prints the seed, the steps and what was found.
///
/// # Errors
/// If something was found, or a program could not be started.
pub async fn run(options: Options) -> Result<()> {
    let seed = match options.seed {
        Some(seed) => seed,
        None => u64::from(getrandom::u32().context("drawing a seed")?),
    };
    println!("seed {seed}, {} s", options.seconds);
    let plane = PlaneOptions { folder: options.folder.clone(), ..PlaneOptions::default() };
    let install = InstallOptions {
        controllers: CONTROLLERS,
        behind_proxy: true,
        programs: options.programs.clone(),
        ..InstallOptions::default()
    };
    let lapse = Arc::new(Lapse::start(plane, install).await?);
    let people = People::settle(lapse.plane()).await?;
    let recorder = Recorder::start(&people.watcher());
    let troubles = Troubles::new(lapse.clone(), seed)?;
    let mut stage = Stage {
        lapse,
        people,
        recorder,
        troubles,
        acts: 0,
        log: (Vec::new(), 0),
        begun: Instant::now(),
    };
    let mut plan = Plan::new(seed);
    let measure = Measure { length: ROUND, kills_api_server: options.api_server };
    let (mut rounds, mut last) = (0, Judgement::default());
    while stage.begun.elapsed() < Duration::from_secs(options.seconds) {
        rounds += 1;
        println!("round {rounds}");
        let round = plan.round(measure);
        let outcome = async {
            stage.play(&round).await?;
            stage.rest().await?;
            stage.judge(options.margin)
        };
        last = outcome.await.with_context(|| format!("round {rounds} of seed {seed}"))?;
    }
    println!("{}", summary(seed, rounds, &stage, last));
    Ok(())
}

fn summary(seed: u64, rounds: usize, stage: &Stage, judgement: Judgement) -> String {
    let Judgement { mut late, bindings, .. } = judgement;
    late.sort_unstable();
    let at = |percent: usize| {
        let rank = (late.len() * percent).div_ceil(100).max(1);
        late.get(rank - 1).map_or(0, TimeDelta::num_milliseconds)
    };
    format!(
        "seed {seed}: {rounds} rounds, {} s, {} acts, {bindings} bindings, nothing found; ends that nothing was in the \
         way of: {}, late p50 {} ms, p99 {} ms, max {} ms",
        stage.begun.elapsed().as_secs(),
        stage.acts,
        late.len(),
        at(50),
        at(99),
        at(100),
    )
}

struct Stage {
    lapse: Arc<Lapse>,
    people: People,
    recorder: Recorder,
    troubles: Troubles,
    acts: usize,
    /// What was asked of the API server, up to this byte of its log.
    log: (Vec<Asked>, u64),
    begun: Instant,
}

impl Stage {
    /// Everything of a round happens, at its time.
    async fn play(&mut self, round: &Round) -> Result<()> {
        let begun = Instant::now();
        let first = self.acts;
        let stage = &*self;
        let steps = round.steps.iter().enumerate().map(async |(index, (at, what))| {
            tokio::time::sleep(at.saturating_sub(begun.elapsed())).await;
            let (words, said) = match what {
                What::Act(act) => {
                    let done = stage.people.does(*act, first + index).await;
                    (
                        act.to_string(),
                        done.map_or_else(|error| short(&error), |()| "done".to_owned()),
                    )
                }
                What::Begin { trouble } => {
                    let trouble = &round.troubles[*trouble];
                    stage.troubles.begin(trouble);
                    (trouble.to_string(), "begins".to_owned())
                }
                What::End { trouble } => {
                    let trouble = &round.troubles[*trouble];
                    stage.troubles.end(trouble).await.with_context(|| trouble.to_string())?;
                    (trouble.to_string(), "is over".to_owned())
                }
            };
            println!("{} ({} ms) {words}: {said}", clock::now().format("%T%.3f"), at.as_millis());
            anyhow::Ok(())
        });
        join_all(steps).await.into_iter().collect::<Result<()>>()?;
        self.acts += round.steps.len();
        Ok(())
    }

    /// Waits until all has come to rest.
    async fn rest(&self) -> Result<()> {
        let begun = Instant::now();
        let mut in_turn = 0;
        loop {
            let left = match self.people.standing().await {
                Ok(standing) => standing.unsettled(clock::now()),
                Err(error) => vec![short(&error)],
            };
            in_turn = if left.is_empty() { in_turn + 1 } else { 0 };
            if in_turn == LOOKS.1 {
                println!("at rest after {:.1} s", begun.elapsed().as_secs_f64());
                return Ok(());
            }
            if begun.elapsed() > REST {
                bail!("nothing is in the way for {REST:?}, and still:\n{}", left.join("\n"));
            }
            tokio::time::sleep(LOOKS.0).await;
        }
    }

    fn judge(&mut self, margin: i64) -> Result<Judgement> {
        for component in self.lapse.components() {
            component.process.ensure_running()?;
        }
        let (log, from) = &mut self.log;
        let asked = audit::read_on(&self.lapse.plane().audit_log(), from)?;
        let is_write = |asked: &Asked| audit::WRITES.contains(&asked.access.verb.as_str());
        log.extend(asked.into_iter().filter(is_write));
        let terms = Terms {
            controllers: CONTROLLERS,
            margin: TimeDelta::milliseconds(margin),
            now: clock::now(),
        };
        let judgement = judge(&self.recorder.known().rights(log), &self.troubles.hindered(), terms);
        ensure!(judgement.wrongs.is_empty(), "{}", judgement.wrongs.join("\n"));
        Ok(judgement)
    }
}

/// The first line of an error.
fn short(error: &anyhow::Error) -> String {
    let text = match error.downcast_ref() {
        Some(kube::Error::Api(status)) => status.message.clone(),
        _ => format!("{error:#}"),
    };
    text.lines().next().unwrap_or_default().chars().take(160).collect()
}
