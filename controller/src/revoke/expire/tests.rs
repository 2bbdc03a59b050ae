use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64};

use http::Method;
use lapse_cluster::clock;
use prometheus_client::registry::Registry;
use serde_json::Value;
use tokio::time::sleep;

use super::*;
use crate::fake::{api_server, gone, held, reached_at_times, refusal, touched};

const LONG_AGO: &str = "2026-01-02T00:00:00Z";

/// Has the time of these grants be up, in a cluster that answers so to each request for a deletion.
fn expire<F>(
    names: impl IntoIterator<Item = String>,
    deletion: impl Fn(String) -> F + Clone + Send + Sync + 'static,
) -> Touched
where
    F: Future<Output = (u16, Value)> + Send + 'static,
{
    let client = api_server(move |request| {
        let answer = (*request.method() == Method::DELETE)
            .then(|| deletion(request.uri().path().to_owned()));
        async move {
            match answer {
                Some(answer) => answer.await,
                // A Grant that cannot be read keeps no right.
                None => refusal(500, "InternalError"),
            }
        }
    });
    let touched = touched();
    let expiry = expire_in(&touched, client);
    for name in names {
        drop(touched.index.wrote_grant(&held(&name, LONG_AGO)));
        expiry.is_up(&name);
    }
    touched
}

fn expire_in(touched: &Touched, client: Client) -> Expiry {
    let (expiry, expired) = Expiry::new(|| Duration::ZERO);
    let metrics = Arc::new(Metrics::register(&mut Registry::default()));
    tokio::spawn(expired.run(client, touched.clone(), metrics));
    expiry
}

/// When what was asked for was done.
type Times = Arc<Mutex<HashMap<String, Instant>>>;

async fn until(times: &Times, count: usize) -> Instant {
    loop {
        if times.lock().unwrap().len() == count {
            return times.lock().unwrap().values().max().copied().unwrap();
        }
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_right_goes_within_a_second_of_what_kept_it() {
    for outage in [1, 7, 100].map(Duration::from_secs) {
        let (over, times) = (Instant::now() + outage, Times::default());
        let taken = times.clone();
        let touched = expire(["fix".to_owned()], move |path| {
            let taken = taken.clone();
            async move {
                if Instant::now() < over {
                    return refusal(500, "InternalError");
                }
                taken.lock().unwrap().insert(path, Instant::now());
                gone()
            }
        });
        let late = until(&times, 1).await - over;
        assert!(late <= Duration::from_secs(1), "after {outage:?} it was taken {late:?} late");
        // It has ended by its time, whatever the clocks say when it is looked at again.
        let known = touched.index.grant("fix").unwrap().summary.unwrap();
        let end = known.expires_at.time();
        let before = end - chrono::TimeDelta::seconds(30);
        assert_eq!(touched.deadlines.time_of(&known, before), end);
        // The rest of its end is seen to.
        sleep(Duration::from_secs(1)).await;
        assert_eq!(touched.queue.waiting(), [(Item::Grant("fix".to_owned()), Lane::End)]);
    }
}

/// Somebody's admission webhook hangs, say, where many rights end.
#[tokio::test(start_paused = true)]
async fn what_hangs_keeps_no_other() {
    let (started, times) = (Instant::now(), Times::default());
    let taken = times.clone();
    let hanging = (0..500).map(|number| format!("hangs-{number}"));
    expire(hanging.chain(["fix".to_owned()]), move |path| {
        let taken = taken.clone();
        async move {
            if path.contains("hangs") {
                std::future::pending::<()>().await;
            }
            taken.lock().unwrap().insert(path, Instant::now());
            gone()
        }
    });
    let late = until(&times, 1).await - started;
    println!("behind 500 that hang: {late:?}");
    assert!(late <= Duration::from_secs(2), "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn who_has_too_much_to_do_is_not_asked_more_for_it() {
    const GRANTS: usize = 1_000;
    let (started, times) = (Instant::now(), Times::default());
    let over = started + Duration::from_secs(30);
    let (taken, refused) = (times.clone(), Arc::new(AtomicU64::new(0)));
    let count = refused.clone();
    expire((0..GRANTS).map(|number| format!("g-{number}")), move |path| {
        let (taken, count) = (taken.clone(), count.clone());
        async move {
            sleep(Duration::from_millis(1)).await;
            if Instant::now() < over {
                count.fetch_add(1, Ordering::Relaxed);
                return refusal(429, "TooManyRequests");
            }
            taken.lock().unwrap().insert(path, Instant::now());
            gone()
        }
    });
    let late = until(&times, GRANTS).await - over;
    assert!(late <= Duration::from_secs(1), "{late:?}");
    let refused = refused.load(Ordering::Relaxed);
    assert!(refused <= 30 * 40 + 2 * AT_ONCE as u64, "{refused} in 30 s");
}

/// Two thousand rights in two places each are over, and nobody listens where the API server was: each try fails at once.
#[tokio::test(start_paused = true)]
async fn where_nobody_listens_tries_are_spaced_and_all_go_when_somebody_does() {
    const GRANTS: usize = 2_000;
    let over = Instant::now() + Duration::from_secs(30);
    let (times, refused) = (Times::default(), Arc::new(AtomicU64::new(0)));
    let (taken, count) = (times.clone(), refused.clone());
    let client = reached_at_times(move |request| {
        let (taken, count) = (taken.clone(), count.clone());
        async move {
            if Instant::now() < over {
                count.fetch_add(1, Ordering::Relaxed);
                return None;
            }
            sleep(Duration::from_millis(1)).await;
            taken.lock().unwrap().insert(request.uri().path().to_owned(), Instant::now());
            Some(gone())
        }
    });
    let touched = touched();
    let expiry = expire_in(&touched, client);
    for number in 0..GRANTS {
        let mut grant = held(&format!("g-{number}"), LONG_AGO);
        let bindings = &mut grant.status.as_mut().unwrap().bindings;
        let elsewhere = RbacRef { namespace: Some("bank".to_owned()), ..bindings[0].clone() };
        bindings.push(elsewhere);
        drop(touched.index.wrote_grant(&grant));
        expiry.is_up(&format!("g-{number}"));
    }
    let late = until(&times, 2 * GRANTS).await - over;
    println!("the last of {GRANTS} went {late:?} after");
    assert!(late <= Duration::from_secs(1), "{late:?}");
    let refused = refused.load(Ordering::Relaxed);
    // Those that had begun when the first failed, and forty each second.
    assert!(refused <= 30 * 40 + 4 * AT_ONCE as u64, "{refused} in 30 s");
    assert!(refused >= 30 * 20, "{refused} in 30 s");
}

/// Each new list says once more that its time is up.
#[tokio::test(start_paused = true)]
async fn what_is_named_again_while_it_is_tried_is_tried_no_more_for_that() {
    let tries = Arc::new(AtomicU64::new(0));
    let count = tries.clone();
    let client = api_server(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        async { refusal(500, "InternalError") }
    });
    let touched = touched();
    let expiry = expire_in(&touched, client);
    drop(touched.index.wrote_grant(&held("fix", LONG_AGO)));
    for _ in 0..30 {
        expiry.is_up("fix");
        sleep(Duration::from_secs(1)).await;
    }
    let tries = tries.load(Ordering::Relaxed);
    assert!((25..=70).contains(&tries), "{tries} in 30 s");
    assert!(expiry.left.load(Ordering::Relaxed) <= 1, "it is one");
}

/// The API server answers nothing at all: a thousand more that are asked would take memory, and hang as well.
#[tokio::test(start_paused = true)]
async fn while_all_hangs_not_everything_is_asked_for_at_once() {
    const GRANTS: usize = 1_000;
    let (asked, times) = (Arc::new(Mutex::new(HashMap::new())), Times::default());
    let (noted, taken) = (asked.clone(), times.clone());
    let is_down = Arc::new(AtomicBool::new(true));
    let (touched, down) = (touched(), is_down.clone());
    let says = |clock: &clock::Clock| {
        clock.observe(&clock::now().format("%a, %d %b %Y %H:%M:%S GMT").to_string());
    };
    says(&touched.clock);
    let heard = touched.clock.clone();
    let client = api_server(move |request| {
        let (noted, taken, heard) = (noted.clone(), taken.clone(), heard.clone());
        let (path, down) = (request.uri().path().to_owned(), down.clone());
        async move {
            noted.lock().unwrap().insert(path.clone(), Instant::now());
            while down.load(Ordering::Relaxed) {
                sleep(Duration::from_millis(10)).await;
            }
            says(&heard);
            taken.lock().unwrap().insert(path, Instant::now());
            gone()
        }
    });
    let expiry = expire_in(&touched, client);
    for number in 0..GRANTS {
        drop(touched.index.wrote_grant(&held(&format!("g-{number}"), LONG_AGO)));
        expiry.is_up(&format!("g-{number}"));
    }
    sleep(Duration::from_secs(8)).await;
    let begun = asked.lock().unwrap().len();
    assert!((AT_ONCE..400).contains(&begun), "{begun} at once");
    is_down.store(false, Ordering::Relaxed);
    let over = Instant::now();
    let late = until(&times, GRANTS).await - over;
    println!("the last of {GRANTS} went {late:?} after");
    assert!(late <= Duration::from_secs(1), "{late:?}");
}
