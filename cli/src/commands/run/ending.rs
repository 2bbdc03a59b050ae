//! The end of what was asked for, whoever interrupts it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use kube::ResourceExt as _;
use lapse_cluster::clock::now;
use lapse_crds::{AccessRequest, RequestPhase, Verdict};

use crate::args::DryRun;
use crate::countdown::moment;
use crate::decide::{Saying, send};
use crate::fault::Fault;
use crate::interrupt::{Interrupt, Interrupts};
use crate::output::phase_of;
use crate::session::Session;
use crate::stderr::tell;
use crate::story;

/// How often an end that gets no answer is asked for.
const TRIES: u32 = 3;
/// How long it takes until it is asked for again.
const PAUSE: Duration = Duration::from_secs(1);
/// How often, and after which pauses, it is looked for what may come late: the end of what is refused to be ended, or a request
/// whose making was not answered.
pub(super) const LOOKS: (u32, Duration) = (10, Duration::from_millis(500));

/// Withdraws a request or ends its access, and tells how that went. Whoever interrupts it is told that it goes on, and whoever does
/// so again, that it is left, and what remains. `by` is what has interrupted before; returned is that, or what has since.
pub(super) async fn end(
    session: &Session,
    request: &AccessRequest,
    interrupts: &mut Interrupts,
    mut by: Option<Interrupt>,
) -> Option<Interrupt> {
    let mut ending = Box::pin(ended(session, request));
    loop {
        tokio::select! {
            ended = &mut ending => {
                match ended {
                    Ok(told) => tell(&told),
                    Err(fault) => tell(&not(request, &fault, now())),
                }
                return by;
            }
            interrupt = interrupts.next() => {
                if by.is_some() {
                    tell(&left(request, now()));
                    return by;
                }
                by = Some(interrupt);
                tell(&goes_on(request));
            }
        }
    }
}

/// What leaves something half done, for whoever does not want to wait.
pub(super) const LEAVE: &str = "interrupt once more to leave it to itself";

/// That its end is still waited for.
fn goes_on(request: &AccessRequest) -> String {
    format!("{} is not {} yet; {LEAVE}", request.name_any(), done(request))
}

/// What ends it later.
pub(super) fn remains(request: &AccessRequest, now: DateTime<Utc>) -> String {
    let (namespace, name) = (request.namespace().unwrap_or_default(), request.name_any());
    let command = format!("`kubectl jit end -n {namespace} {name}`");
    let end = request.status.as_ref().and_then(|status| status.expires_at);
    match end.filter(|_| is_held(request)) {
        Some(end) => {
            let end = moment(end.time(), now);
            format!("its access ends by itself at {end}; {command} ends it at once")
        }
        None => format!("{command} withdraws it"),
    }
}

/// That nobody waits for its end any more.
fn left(request: &AccessRequest, now: DateTime<Utc>) -> String {
    format!("{}: left to itself: {}", request.name_any(), remains(request, now))
}

/// That it could not be ended.
fn not(request: &AccessRequest, fault: &Fault, now: DateTime<Utc>) -> String {
    let (name, done) = (request.name_any(), done(request));
    format!("{name} was not {done} ({fault}): {}", remains(request, now))
}

/// Whether there is access to end, and not a request to withdraw.
fn is_held(request: &AccessRequest) -> bool {
    phase_of(request) == RequestPhase::Active
}

fn done(request: &AccessRequest) -> &'static str {
    if is_held(request) { "ended" } else { "withdrawn" }
}

/// Ends it; what became of it, in words.
async fn ended(session: &Session, request: &AccessRequest) -> Result<String, Fault> {
    let decision = Saying::only(Verdict::End).about(request);
    let mut tries = 1;
    let fault = loop {
        let sent = send(session, &decision, DryRun::None).await;
        session.warnings();
        match sent {
            Ok(_) => return Ok(format!("{}: {}", request.name_any(), done(request))),
            Err(fault) if fault.is_refusal() || tries == TRIES => break fault,
            Err(_) => {
                tries += 1;
                tokio::time::sleep(PAUSE).await;
            }
        }
    };
    // It may be over: by its time, by somebody else, or by what was asked for before and got no answer.
    let looks = if fault.is_refusal() { LOOKS.0 } else { 1 };
    for look in 1..=looks {
        if let Some(told) = over(session, request).await {
            return Ok(told);
        }
        if look < looks {
            tokio::time::sleep(LOOKS.1).await;
        }
    }
    Err(fault)
}

/// How it ended, if it is over.
async fn over(session: &Session, request: &AccessRequest) -> Option<String> {
    let (api, name) = (session.requests(), request.name_any());
    let found = session.call(format!("reading request {name}"), api.get_opt(&name)).await.ok()?;
    match found.filter(|found| found.uid() == request.uid()) {
        Some(found) => phase_of(&found).is_terminal().then(|| story::line(&found, now())),
        None => Some(format!("{name}: deleted")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{self, refusal, session};

    fn request(status: &Value) -> AccessRequest {
        let mut request = testing::request("fix", &json!({}));
        request["status"] = status.clone();
        serde_json::from_value(request).unwrap()
    }

    fn active() -> Value {
        json!({"phase": "Active", "expiresAt": "1970-01-01T02:00:00.000000Z"})
    }

    #[test]
    fn what_remains_is_told_with_what_ends_it() {
        let now = DateTime::UNIX_EPOCH;
        let fault = Fault::Unanswered { what: "deciding about it".to_owned(), seconds: 30 };
        let of = [request(&active()), request(&json!({"phase": "Pending"}))];
        let told = of
            .iter()
            .flat_map(|request| [goes_on(request), not(request, &fault, now), left(request, now)]);
        insta::assert_snapshot!(told.collect::<Vec<_>>().join("\n"), @r"
        fix is not ended yet; interrupt once more to leave it to itself
        fix was not ended (deciding about it: no answer within 30 s): its access ends by itself at 1970-01-01T02:00:00Z (in 2h); `kubectl jit end -n shop fix` ends it at once
        fix: left to itself: its access ends by itself at 1970-01-01T02:00:00Z (in 2h); `kubectl jit end -n shop fix` ends it at once
        fix is not withdrawn yet; interrupt once more to leave it to itself
        fix was not withdrawn (deciding about it: no answer within 30 s): `kubectl jit end -n shop fix` withdraws it
        fix: left to itself: `kubectl jit end -n shop fix` withdraws it
        ");
    }

    fn decision() -> Value {
        json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessDecision", "metadata": {"name": "fix-x"},
            "spec": {"request": {"name": "fix"}, "verdict": "End"},
        })
    }

    fn no_answer() -> Value {
        refusal(500, "InternalError", "etcd is away")
    }

    fn refused() -> Value {
        refusal(403, "NotAllowed", "request fix is already Ended; nothing is left to decide")
    }

    fn stored(status: &Value) -> Value {
        serde_json::to_value(request(status)).unwrap()
    }

    fn expired() -> Value {
        stored(&json!({"phase": "Ended", "endReason": "Expired"}))
    }

    fn another() -> Value {
        let mut another = stored(&active());
        another["metadata"]["uid"] = json!("of-another");
        another
    }

    /// What the API server answers to the first decisions, and from then on; and what it says of the request.
    #[rstest]
    #[case::at_once(vec![decision()], stored(&active()), Ok("fix: ended"))]
    #[case::at_last(vec![no_answer(), no_answer(), decision()], stored(&active()), Ok("fix: ended"))]
    #[case::by_its_time(vec![refused()], expired(), Ok("fix: Ended (Expired)"))]
    #[case::by_what_got_no_answer(vec![no_answer()], expired(), Ok("fix: Ended (Expired)"))]
    #[case::by_its_deletion(vec![refused()], refusal(404, "NotFound", "gone"), Ok("fix: deleted"))]
    #[case::made_anew(vec![refused()], another(), Ok("fix: deleted"))]
    #[case::not_at_all(vec![refused()], stored(&active()), Err("deciding about request shop/fix: request fix is already Ended; nothing is left to decide"))]
    #[case::nobody_answers(vec![no_answer()], stored(&active()), Err("deciding about request shop/fix: etcd is away"))]
    #[tokio::test(start_paused = true)]
    async fn what_is_over_however_it_came_about_is_ended(
        #[case] decisions: Vec<Value>,
        #[case] request_as_stored: Value,
        #[case] expected: Result<&str, &str>,
    ) {
        let asked = AtomicUsize::new(0);
        let session = session(30, move |call| {
            Some(if call.last() == "accessdecisions" {
                let place = asked.fetch_add(1, Ordering::Relaxed);
                decisions[place.min(decisions.len() - 1)].clone()
            } else {
                request_as_stored.clone()
            })
        });
        let told = ended(&session, &request(&active())).await.map_err(|fault| fault.to_string());
        assert_eq!(told, expected.map(ToOwned::to_owned).map_err(ToOwned::to_owned));
    }
}
