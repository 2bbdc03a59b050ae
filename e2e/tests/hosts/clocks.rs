//! Clocks that are set, and machines that sleep. A host shares the clock of this machine, so it takes a machine of its
//! own, in qemu: `cargo test --test hosts -- --ignored clocks::`.

use chrono::{DateTime, TimeDelta, Utc};
use lapse_crds::{ConditionStatus, RequestPhase};
use lapse_e2e::host::GATEWAY;
use lapse_e2e::plane::{SOON, eventually};
use rstest::rstest;
use serde_json::{Value, json};

use crate::corner::{Corner, TOKEN};
use crate::machine::Machine;

/// How late an end may be: an emulated machine is some twenty times slower than a real one, and what else goes on here
/// slows it further. A clock that gave time would give an hour. How late it was is printed.
const LATE: TimeDelta = TimeDelta::seconds(10);

/// Writes down how long the machine was up, its sleep included, when the rule of sudo went.
const WATCH: &str = "rm -f /root/gone; nohup sh -c '\
    while ls /etc/sudoers.d/lapse-* >/dev/null 2>&1; do sleep 0.1; done; \
    cut -d \" \" -f 1 /proc/uptime >/root/gone.new; mv /root/gone.new /root/gone' >/dev/null 2>&1 &";

const WITHOUT_AGENT: &str = "systemctl mask --now lapse-agent";
const WITH_AGENT: &str = "systemctl unmask lapse-agent; systemctl start lapse-agent";

fn admin() -> Value {
    json!({"admin": {}})
}

struct Clocks {
    machine: Machine,
    corner: Corner,
}

impl Clocks {
    async fn new(name: &str) -> Self {
        let corner = Corner::new(name).await;
        let machine = Machine::start().await.unwrap();
        let (port, pin) = (corner.gateway().port(), corner.pin().await);
        let enrol = format!(
            "printf %s {TOKEN} | lapse-agent enrol --gateway https://{GATEWAY}:{port} --endpoint {name} --pin {pin} \
             && systemctl restart lapse-agent"
        );
        machine.sh(&enrol).await.unwrap();
        corner.ready(ConditionStatus::True).await.unwrap();
        Self { machine, corner }
    }

    async fn sh(&self, script: &str) -> String {
        self.machine.sh(script).await.unwrap()
    }

    async fn sudo(&self) -> bool {
        self.machine.as_alice("sudo -n true").await.unwrap().success()
    }

    async fn uptime(&self) -> f64 {
        self.sh("cut -d ' ' -f 1 /proc/uptime").await.trim().parse().unwrap()
    }

    /// alice is root for a time. Returns the Grant, and how long the machine will have been up at the end.
    async fn given(&self, request: &str, duration: &str) -> (String, f64) {
        let (grant, end) = self.corner.given(request, &admin(), duration).await.unwrap();
        assert!(self.sudo().await, "{}", self.journal().await);
        self.sh(WATCH).await;
        let uptime = self.uptime().await;
        #[expect(clippy::cast_precision_loss, reason = "some seconds")]
        let rest = (end - now()).num_milliseconds() as f64 / 1000.0;
        assert!(rest > 3.0, "the machine is too slow: it has {rest} s left");
        (grant, uptime + rest)
    }

    async fn assert_on_time(&self, what: &str, end: f64) {
        let look = async || {
            let gone = self.machine.sh("cat /root/gone 2>/dev/null || true").await?;
            Ok(gone.trim().parse::<f64>().ok())
        };
        let gone = match eventually("the rule to be gone", SOON, look).await {
            Ok(gone) => gone,
            Err(error) => panic!("{error:#}: {}", self.journal().await),
        };
        println!("{what}: gone {:+.2} s after the end", gone - end);
        assert!(gone - end < LATE.as_seconds_f64(), "{}", self.journal().await);
        assert!(!self.sudo().await);
    }

    async fn journal(&self) -> String {
        let units = "journalctl --no-pager --output short-monotonic --unit 'lapse-*'; lapse-agent status; date";
        self.machine.sh(units).await.unwrap_or_else(|error| format!("{error:#}"))
    }
}

fn now() -> DateTime<Utc> {
    lapse_cluster::clock::now()
}

#[tokio::test]
#[ignore = "it takes qemu, and minutes: cargo test --test hosts -- --ignored clocks::"]
async fn a_clock_that_is_set_back_ends_everything_until_it_is_right() {
    let clocks = Clocks::new("clock-back").await;
    let (grant, _) = clocks.given("fix", "10m").await;
    let set = clocks.uptime().await;
    clocks.sh("date --set '-1 hour'").await;
    clocks.assert_on_time("set back, with its agent", set).await;
    clocks.corner.ended(&grant).await.unwrap();
    // Nothing is given by a clock that lies.
    clocks.corner.ask("during", &admin(), "10m").await;
    clocks.corner.decide(&clocks.corner.bob, "during", "Approve").await.unwrap();
    let failed = clocks.corner.phase("during", RequestPhase::Failed).await.unwrap();
    let said = serde_json::to_string(&failed).unwrap();
    assert!(said.contains("behind that of the cluster: set it"), "{said}");
    assert!(!clocks.sudo().await);
    clocks.sh("date --set '+1 hour'").await;
    clocks.given("after", "10m").await;
}

#[rstest]
#[case::back("clock-back-dead", "-1 hour")]
#[case::forward("clock-ahead-dead", "+1 hour")]
#[tokio::test]
#[ignore = "it takes qemu, and minutes: cargo test --test hosts -- --ignored clocks::"]
async fn a_clock_that_is_set_gives_no_time_with_the_agent_dead(
    #[case] name: &str,
    #[case] by: &str,
) {
    let clocks = Clocks::new(name).await;
    let (grant, end) = clocks.given("fix", "45s").await;
    clocks.sh(&format!("{WITHOUT_AGENT}; date --set '{by}'")).await;
    clocks.assert_on_time(&format!("set {by}, with its agent dead"), end).await;
    clocks.sh(&format!("date --set '@{}'; {WITH_AGENT}", now().timestamp())).await;
    // What was seen of a clock that was ahead is believed until an administrator says otherwise.
    clocks.sh("lapse-agent clock accept").await;
    clocks.corner.ended(&grant).await.unwrap();
}

/// Another start of the kernel, so nothing that counts goes on, and the battery's clock shows less.
#[tokio::test]
#[ignore = "it takes qemu, and minutes: cargo test --test hosts -- --ignored clocks::"]
async fn a_clock_that_went_back_while_the_power_was_off_gives_no_time() {
    let mut clocks = Clocks::new("clock-power").await;
    let (grant, _) = clocks.given("fix", "5m").await;
    clocks.sh("sync").await;
    clocks.machine.cut_power();
    let earlier = now() - TimeDelta::hours(1);
    clocks.machine.boot(&earlier.format("%Y-%m-%dT%H:%M:%S").to_string()).await.unwrap();
    eventually("sudo to be refused", SOON, async || Ok((!clocks.sudo().await).then_some(())))
        .await
        .unwrap();
    println!("refused after {:.1} s of the second start", clocks.uptime().await);
    // By that clock the gateway's certificate is not good yet, so nobody is told before the clock is right.
    clocks.sh(&format!("date --set '@{}'", now().timestamp())).await;
    clocks.corner.ended(&grant).await.unwrap();
}

#[rstest]
#[case::with_the_agent("sleep-agent", "true")]
#[case::without_the_agent("sleep-dead", WITHOUT_AGENT)]
#[tokio::test]
#[ignore = "it takes qemu, and minutes: cargo test --test hosts -- --ignored clocks::"]
async fn a_machine_that_sleeps_across_the_end_wakes_up_without_the_right(
    #[case] name: &str,
    #[case] first: &str,
) {
    let clocks = Clocks::new(name).await;
    let (grant, end) = clocks.given("fix", "45s").await;
    clocks.sh(first).await;
    let sleep = "nohup sh -c 'rtcwake -m mem -s 60; cut -d \" \" -f 1 /proc/uptime >/root/awake' >/dev/null 2>&1 &";
    clocks.sh(sleep).await;
    let look = async || {
        let awake = clocks.machine.sh("cat /root/awake 2>/dev/null || true").await?;
        Ok(awake.trim().parse::<f64>().ok())
    };
    let awake = eventually("it to wake up", SOON, look).await.unwrap();
    assert!(awake > end, "it did not sleep across the end: {awake}, {end}");
    clocks.assert_on_time("awake again", awake).await;
    clocks.sh(WITH_AGENT).await;
    clocks.corner.ended(&grant).await.unwrap();
}
