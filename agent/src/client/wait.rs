//! What is requested at the moment of use, until it is held.

use std::thread::sleep;
use std::time::{Duration, Instant};

use lapse_crds::{GrantDuration, OrderState, RequestPhase};

use super::ask::{AskError, BRIEF, Standing, request, standing};
use super::status::time;
use crate::local::protocol::Held;
use crate::places::Places;
use crate::requests::book::Requested;
use crate::requests::wish::Wish;

/// How often it is looked.
const PACE: Duration = Duration::from_secs(1);
/// How long the agent may take to say how it stands.
const WITHIN: Duration = Duration::from_secs(10);

/// Why somebody does not hold what they have waited for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum WaitError {
    /// It comes to nothing.
    #[error("{name}: {why}")]
    Over {
        /// The request.
        name: String,
        /// What has become of it.
        why: String,
    },
    /// The time for waiting is over.
    #[error(
        "no access yet: {missing}. The request stays: `lapse status` shows it, `lapse end {name}` withdraws it"
    )]
    TimedOut {
        /// The request.
        name: String,
        /// What it waits for.
        missing: String,
    },
}

/// Requests something and waits until it is held.
///
/// # Errors
/// If it is not requested, comes to nothing, or is not held in time.
pub(super) fn obtain(
    places: &Places,
    wish: &Wish,
    timeout: Option<GrantDuration>,
) -> anyhow::Result<()> {
    let requested = request(places, wish)?;
    eprintln!("{}", asked(&requested));
    Ok(until_held(places, &requested, timeout)?)
}

/// What is said of something that was requested.
pub(super) fn asked(Requested { name, what, .. }: &Requested) -> String {
    format!(
        "Requested: {name} ({what}). `lapse status` shows who must approve it, and `lapse end {name}` withdraws it."
    )
}

/// Waits until something is held, and tells meanwhile what is missing. Whoever interrupts it leaves the request as it is, and
/// so does whoever waits no longer.
///
/// # Errors
/// If it comes to nothing, or is not held in time.
pub(super) fn until_held(
    places: &Places,
    requested: &Requested,
    timeout: Option<GrantDuration>,
) -> Result<(), WaitError> {
    let name = requested.full_name();
    let timeout = timeout.map(|timeout| Duration::from_secs(timeout.seconds().into()));
    wait(&requested.name, timeout, |within| look(standing(places, within), &name))
}

/// Looks until it is held; for the last time when the time for waiting is over.
fn wait(
    name: &str,
    timeout: Option<Duration>,
    mut look: impl FnMut(Duration) -> Stand,
) -> Result<(), WaitError> {
    let began = Instant::now();
    // What is left of the time, if there is an end to it.
    let left = || timeout.map(|timeout| timeout.saturating_sub(began.elapsed()));
    let mut said = String::new();
    loop {
        let left_before = left();
        // An agent that hangs makes nobody wait much longer than they want to.
        let within = left_before.map_or(WITHIN, |left| left.clamp(BRIEF, WITHIN));
        let words = match look(within) {
            Stand::Held => return Ok(()),
            Stand::Over(why) => return Err(WaitError::Over { name: name.to_owned(), why }),
            Stand::Waits(words) => words,
        };
        if left_before.is_some_and(|left| left.is_zero()) {
            return Err(WaitError::TimedOut { name: name.to_owned(), missing: words });
        }
        if words != said {
            eprintln!("Lapse: {words}.");
            said = words;
        }
        sleep(left().map_or(PACE, |left| left.min(PACE)));
    }
}

/// How something stands that was requested.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stand {
    Held,
    Waits(String),
    Over(String),
}

fn look(standing: Result<Standing, AskError>, name: &str) -> Stand {
    let Standing { held, requested, .. } = match standing {
        Ok(standing) => standing,
        // It is being restarted, or updated.
        Err(error) => return Stand::Waits(error.to_string()),
    };
    if let Some(Held { state, starts_at, message, .. }) =
        held.iter().find(|held| held.request.as_deref() == Some(name))
    {
        return match state {
            OrderState::Active => Stand::Held,
            OrderState::Received => {
                Stand::Waits(format!("it is granted, and begins at {}", time(*starts_at)))
            }
            OrderState::Ending | OrderState::Ended | OrderState::Failed => {
                Stand::Over(message.clone().unwrap_or_else(|| "it has ended already".to_owned()))
            }
        };
    }
    match requested.iter().find(|requested| requested.full_name() == name) {
        Some(requested) if requested.is_open() => Stand::Waits(words(requested)),
        Some(requested) => Stand::Over(words(requested)),
        None => Stand::Over("the cluster knows nothing of it any more".to_owned()),
    }
}

/// How it stands, in words.
pub(super) fn words(Requested { phase, waiting_for, why, .. }: &Requested) -> String {
    let state = match (phase, waiting_for) {
        (None, _) => "it waits for the answer of the cluster".to_owned(),
        (Some(_), Some(who)) => format!("it waits for {who}"),
        (Some(RequestPhase::Pending), None) => "it waits for the cluster's decision".to_owned(),
        (Some(RequestPhase::Scheduled), None) => {
            "it is approved, and waits for its start".to_owned()
        }
        (Some(RequestPhase::Active), None) => {
            "it is granted, and on its way to this host".to_owned()
        }
        (Some(RequestPhase::Denied), None) => "it is denied".to_owned(),
        (Some(RequestPhase::Withdrawn), None) => "it is withdrawn".to_owned(),
        (Some(RequestPhase::TimedOut), None) => "nobody has decided it in time".to_owned(),
        (Some(RequestPhase::Failed), None) => "it was approved, and could not be given".to_owned(),
        (Some(RequestPhase::Ended), None) => "it has ended".to_owned(),
    };
    match why {
        Some(why) => format!("{state} ({})", why.trim_end_matches('.')),
        None => state,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use rstest::rstest;

    use super::*;
    use crate::client::status::tests::{at, held, standing_of};

    pub(in crate::client) fn requested(name: &str, phase: Option<RequestPhase>) -> Requested {
        Requested {
            name: name.into(),
            namespace: "ops".into(),
            user: "al".into(),
            what: "sudo".into(),
            since: at(0),
            phase,
            waiting_for: None,
            why: None,
        }
    }

    fn waits(words: &str) -> Stand {
        Stand::Waits(words.to_owned())
    }

    fn over(words: &str) -> Stand {
        Stand::Over(words.to_owned())
    }

    #[test]
    fn what_is_held_is_waited_for_no_more() {
        let of = |state| Held { request: Some("ops/fix".into()), state, ..held("g") };
        let stand = |held: Held| look(Ok(standing_of(vec![held])), "ops/fix");
        assert_eq!(stand(of(OrderState::Active)), Stand::Held);
        let later = waits("it is granted, and begins at 2027-01-15T08:00:00Z");
        assert_eq!(stand(of(OrderState::Received)), later);
        assert_eq!(stand(of(OrderState::Ending)), over("it has ended already"));
        // What somebody holds by another request is not what they wait for.
        let none = over("the cluster knows nothing of it any more");
        assert_eq!(stand(held("g")), none);
    }

    #[rstest]
    #[case(None, None, None, waits("it waits for the answer of the cluster"))]
    #[case(Some(RequestPhase::Pending), None, None, waits("it waits for the cluster's decision"))]
    #[case(Some(RequestPhase::Pending), Some("1 of olga"), None, waits("it waits for 1 of olga"))]
    #[case(
        Some(RequestPhase::Scheduled),
        None,
        None,
        waits("it is approved, and waits for its start")
    )]
    #[case(
        Some(RequestPhase::Active),
        None,
        None,
        waits("it is granted, and on its way to this host")
    )]
    #[case(
        Some(RequestPhase::Denied),
        None,
        Some("Denied by olga: no."),
        over("it is denied (Denied by olga: no)")
    )]
    #[case(Some(RequestPhase::Withdrawn), None, None, over("it is withdrawn"))]
    #[case(Some(RequestPhase::TimedOut), None, None, over("nobody has decided it in time"))]
    #[case(
        Some(RequestPhase::Failed),
        None,
        Some("no group nowhere"),
        over("it was approved, and could not be given (no group nowhere)")
    )]
    #[case(Some(RequestPhase::Ended), None, None, over("it has ended"))]
    fn what_is_missing_is_said(
        #[case] phase: Option<RequestPhase>,
        #[case] waiting_for: Option<&str>,
        #[case] why: Option<&str>,
        #[case] expected: Stand,
    ) {
        let (waiting_for, why) = (waiting_for.map(str::to_owned), why.map(str::to_owned));
        let one = Requested { waiting_for, why, ..requested("fix", phase) };
        let standing = Standing { requested: vec![one], ..standing_of(vec![]) };
        assert_eq!(look(Ok(standing), "ops/fix"), expected);
    }

    #[test]
    fn an_agent_that_is_restarted_is_waited_for() {
        assert!(matches!(look(Err(AskError::Absent), "ops/fix"), Stand::Waits(_)));
    }

    #[test]
    fn what_is_given_at_the_last_moment_is_held() {
        let timeout = Some(Duration::from_millis(20));
        let began = Instant::now();
        let given = |_| {
            let is_late = began.elapsed() >= Duration::from_millis(20);
            if is_late { Stand::Held } else { waits("it waits for 1 of olga") }
        };
        assert_eq!(wait("fix", timeout, given), Ok(()));
    }

    #[test]
    fn who_waits_no_longer_is_told_what_is_missing_and_that_the_request_stays() {
        let timeout = Some(Duration::from_millis(20));
        let mut asked = Vec::new();
        let error = wait("web-1-al-0", timeout, |within| {
            asked.push(within);
            waits("it waits for 1 of olga")
        });
        insta::assert_snapshot!(
            error.unwrap_err(),
            @"no access yet: it waits for 1 of olga. The request stays: `lapse status` shows it, `lapse end web-1-al-0` withdraws it"
        );
        // The agent is given a moment, however little is left.
        assert!(asked.iter().all(|within| *within == BRIEF), "{asked:?}");
        let denied = wait("web-1-al-0", timeout, |_| over("it is denied"));
        assert_eq!(denied.unwrap_err().to_string(), "web-1-al-0: it is denied");
    }

    #[test]
    fn who_asks_is_told_how_to_take_it_back() {
        insta::assert_snapshot!(
            asked(&requested("web-1-al-0", None)),
            @"Requested: web-1-al-0 (sudo). `lapse status` shows who must approve it, and `lapse end web-1-al-0` withdraws it."
        );
    }
}
