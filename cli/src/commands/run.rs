//! A command that is run with access that ends with it.
//!
//! Whenever somebody interrupts it, what was asked for is withdrawn or ended: from before it is asked for, signals end nothing by
//! themselves. Whoever interrupts that, too, is told what remains.

mod ending;

use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitCode, ExitStatus};

use kube::ResourceExt as _;
use lapse_cluster::clock::now;
use lapse_crds::{AccessRequest, GrantDuration};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use self::ending::{LEAVE, LOOKS, end, remains};
use super::ask;
use crate::args::{Ask, DryRun};
use crate::fault::Fault;
use crate::follow::until_active;
use crate::interrupt::{Interrupt, Interrupts};
use crate::name;
use crate::session::Session;
use crate::stderr::tell;

/// Asks, waits, runs, and ends the access. Whatever happens on the way, what was asked for is withdrawn or ended.
pub(super) async fn run(
    session: &Session,
    ask: &Ask,
    timeout: Option<GrantDuration>,
    command: &[String],
) -> Result<ExitCode, Fault> {
    // Who is being asked on the terminal stops that by a key; and nothing is asked for yet.
    let ask = Box::pin(ask::complete(session, ask)).await?;
    let mut interrupts = Interrupts::new()?;
    let made = Box::pin(request(session, &ask, &mut interrupts)).await?;
    session.tell_warnings();
    // It is withdrawn, of which the next says how that went.
    let left = |_: &AccessRequest| String::new();
    let active = match until_active(session, &made, timeout, &mut interrupts, left).await {
        Ok(active) => active,
        // What is over already has nothing to withdraw.
        Err(fault @ Fault::NoAccess(_)) => return Err(fault),
        Err(fault) => {
            let by = interrupt_of(&fault);
            let again = end(session, &made, &mut interrupts, by).await;
            return Err(again.filter(|_| by.is_none()).map_or(fault, interrupted));
        }
    };
    // One that came while access was being given has no command to go to.
    let early = interrupts.pending().await;
    let status = match early {
        Some(_) => None,
        None => Some(execute(command, &mut interrupts).await),
    };
    // What came for the command is none for what follows.
    while interrupts.pending().await.is_some() {}
    let by = end(session, &active, &mut interrupts, early).await;
    match (by, status) {
        (Some(by), _) => Err(interrupted(by)),
        (None, Some(status)) => status.map(code),
        (None, None) => Ok(ExitCode::SUCCESS),
    }
}

fn interrupted(by: Interrupt) -> Fault {
    Fault::Interrupted { by, told: "interrupted".to_owned() }
}

fn interrupt_of(fault: &Fault) -> Option<Interrupt> {
    match fault {
        Fault::Interrupted { by, .. } => Some(*by),
        _ => None,
    }
}

/// Makes the request. Its name is chosen here, so that it can be withdrawn whatever becomes of the answer.
async fn request(
    session: &Session,
    ask: &Ask,
    interrupts: &mut Interrupts,
) -> Result<AccessRequest, Fault> {
    let nothing = |by| {
        let told = "interrupted; nothing was requested".to_owned();
        Fault::Interrupted { by, told }
    };
    let mut draft = tokio::select! {
        draft = Box::pin(ask::draft(session, ask, None)) => draft?,
        by = interrupts.next() => return Err(nothing(by)),
    };
    name::settle(&mut draft, now())?;
    if let Some(by) = interrupts.pending().await {
        return Err(nothing(by));
    }
    let mut making = Box::pin(made(session, &draft, ask.from_host));
    let by = tokio::select! {
        made = &mut making => return made,
        by = interrupts.next() => by,
    };
    tell(&soon(&draft));
    let made = tokio::select! {
        made = &mut making => made,
        by = interrupts.next() => {
            tell(&maybe(&draft));
            return Err(interrupted(by));
        }
    };
    match made {
        Ok(made) => {
            end(session, &made, interrupts, Some(by)).await;
            Err(interrupted(by))
        }
        Err(fault) => Err(Fault::Interrupted { by, told: format!("interrupted; {fault}") }),
    }
}

/// Makes it; and if no answer says whether it was made, looks for it, for a while if it may be stored later.
async fn made(
    session: &Session,
    draft: &AccessRequest,
    from_host: bool,
) -> Result<AccessRequest, Fault> {
    let fault = match ask::create(session, draft, from_host, DryRun::None).await {
        Err(fault) if fault.is_in_doubt() => fault,
        made => return made,
    };
    let (api, name) = (session.requests(), draft.name_any());
    for look in 1..=LOOKS.0 {
        match session.call(format!("reading request {name}"), api.get_opt(&name)).await {
            Ok(Some(request)) => return Ok(request),
            Ok(None) if !fault.may_be_stored_yet() => return Err(fault),
            Ok(None) if look < LOOKS.0 => tokio::time::sleep(LOOKS.1).await,
            Ok(None) | Err(_) => break,
        }
    }
    Err(Fault::Other(format!("{fault}; {}", maybe(draft))))
}

/// That a request is withdrawn once it is known to be made.
fn soon(request: &AccessRequest) -> String {
    format!("{}: withdrawn as soon as the API server has answered; {LEAVE}", request.name_any())
}

/// That a request may have been made.
fn maybe(request: &AccessRequest) -> String {
    format!(
        "request {} may have been made all the same: {}",
        request.name_any(),
        remains(request, now())
    )
}

/// Runs the command to its end, as the access has to be ended after it. Ctrl-C and Ctrl-\ go to it by themselves, as it is in the
/// same process group; what was sent to us alone is passed on.
async fn execute(command: &[String], interrupts: &mut Interrupts) -> Result<ExitStatus, Fault> {
    let [program, args @ ..] = command else {
        return Err(Fault::Usage("give a command after --".to_owned()));
    };
    let failed = |error: std::io::Error| Fault::Other(format!("starting {program}: {error}"));
    let mut child = tokio::process::Command::new(program).args(args).spawn().map_err(failed)?;
    // One that came while it was being started may have missed it.
    if let Some(interrupt) = interrupts.pending().await {
        send(child.id(), interrupt.signal());
    }
    loop {
        tokio::select! {
            status = child.wait() => return status.map_err(failed),
            interrupt = interrupts.next() => match interrupt {
                Interrupt::Keyboard | Interrupt::Quit => {}
                Interrupt::Hangup | Interrupt::Terminate => send(child.id(), interrupt.signal()),
            },
        }
    }
}

fn send(child: Option<u32>, signal: Signal) {
    if let Some(pid) = child.and_then(|pid| i32::try_from(pid).ok()) {
        // One that has just ended needs no signal.
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// As a shell says it: a command that a signal ended has 128 and its number.
fn code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{refusal, session};

    /// What the API server answers to the request, and at which look it has stored it.
    #[rstest]
    #[case::stored_at_once(None, 0, Ok("edit-0a1b2c3d"))]
    #[case::stored_a_little_later(None, 4, Ok("edit-0a1b2c3d"))]
    #[case::not_stored_yet(
        None,
        usize::MAX,
        Err(
            "requesting access: no answer within 30 s; request edit-0a1b2c3d may have been made all the same: `kubectl jit end -n shop edit-0a1b2c3d` withdraws it"
        )
    )]
    #[case::it_gave_up_itself(
        Some(refusal(504, "Timeout", "did not complete")),
        usize::MAX,
        Err(
            "requesting access: did not complete; request edit-0a1b2c3d may have been made all the same: `kubectl jit end -n shop edit-0a1b2c3d` withdraws it"
        )
    )]
    #[case::stored_before_it_failed(
        Some(refusal(500, "InternalError", "etcd is away")),
        0,
        Ok("edit-0a1b2c3d")
    )]
    #[case::failed(
        Some(refusal(500, "InternalError", "etcd is away")),
        1,
        Err("requesting access: etcd is away")
    )]
    #[tokio::test(start_paused = true)]
    async fn a_request_whose_answer_is_lost_is_looked_for(
        #[case] answer: Option<Value>,
        #[case] stored_at: usize,
        #[case] expected: Result<&str, &str>,
    ) {
        let draft = crate::testing::request("edit-0a1b2c3d", &json!({}));
        let (stored, looks) = (draft.clone(), AtomicUsize::new(0));
        let session = session(30, move |call| match call.last() {
            "accessrequests" => {
                assert_eq!(call.parameter("timeout").as_deref(), Some("30s"));
                answer.clone()
            }
            _ if looks.fetch_add(1, Ordering::Relaxed) >= stored_at => Some(stored.clone()),
            _ => Some(refusal(404, "NotFound", "there is none")),
        });
        let draft = serde_json::from_value(draft).unwrap();
        let made = made(&session, &draft, false).await;
        let made = made.map(|made| made.name_any()).map_err(|fault| fault.to_string());
        assert_eq!(made, expected.map(ToOwned::to_owned).map_err(ToOwned::to_owned));
    }

    #[test]
    fn what_may_have_been_made_is_told_with_how_to_withdraw_it() {
        let request = crate::testing::request("edit-0a1b2c3d", &json!({}));
        let request = serde_json::from_value(request).unwrap();
        insta::assert_snapshot!([soon(&request), maybe(&request)].join("\n"), @r"
        edit-0a1b2c3d: withdrawn as soon as the API server has answered; interrupt once more to leave it to itself
        request edit-0a1b2c3d may have been made all the same: `kubectl jit end -n shop edit-0a1b2c3d` withdraws it
        ");
    }
}
