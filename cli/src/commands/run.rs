//! A command that is run with access that ends with it.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitCode, ExitStatus};

use anstream::eprintln;
use kube::ResourceExt as _;
use lapse_crds::{AccessRequest, GrantDuration, Verdict};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::ask;
use crate::args::{Ask, DryRun};
use crate::decide::{Saying, send};
use crate::fault::Fault;
use crate::follow::until_active;
use crate::interrupt::{Interrupt, Interrupts};
use crate::session::Session;

/// Asks, waits, runs, and ends the access. Whatever happens on the way, what was asked for is withdrawn or ended.
pub(super) async fn run(
    session: &Session,
    ask: &Ask,
    timeout: Option<GrantDuration>,
    command: &[String],
) -> Result<ExitCode, Fault> {
    // Before anything is asked for: what is asked for is to be withdrawn.
    let mut interrupts = Interrupts::new()?;
    let made = ask::request(session, ask, None, DryRun::None).await?;
    session.tell_warnings();
    // It is withdrawn, of which the next says how that went.
    let left = |_: &AccessRequest| String::new();
    if let Err(fault) = until_active(session, &made, timeout, &mut interrupts, left).await {
        // What is over already has nothing to withdraw.
        if !matches!(fault, Fault::NoAccess(_)) {
            end(session, &made, not_withdrawn).await;
        }
        return Err(fault);
    }
    let status = execute(command, &mut interrupts).await;
    end(session, &made, not_ended).await;
    status.map(code)
}

async fn end(session: &Session, request: &AccessRequest, not: fn(&str, &Fault) -> String) {
    let sent = send(session, &Saying::only(Verdict::End).about(request), DryRun::None).await;
    session.warnings();
    let name = request.name_any();
    match sent {
        Ok(_) => eprintln!("{name}: ended"),
        Err(fault) => eprintln!("{}", not(&name, &fault)),
    }
}

/// Access that is held.
fn not_ended(name: &str, fault: &Fault) -> String {
    format!("{name} was not ended, and ends by itself when it expires: {fault}")
}

/// A request that waits: it may still be approved.
fn not_withdrawn(name: &str, fault: &Fault) -> String {
    format!(
        "{name} was not withdrawn, and still waits; withdraw it with `kubectl jit end {name}`: {fault}"
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
    loop {
        tokio::select! {
            status = child.wait() => return status.map_err(failed),
            interrupt = interrupts.next() => pass_on(child.id(), interrupt),
        }
    }
}

fn pass_on(child: Option<u32>, interrupt: Interrupt) {
    let signal = match interrupt {
        Interrupt::Keyboard | Interrupt::Quit => return,
        Interrupt::Hangup => Signal::SIGHUP,
        Interrupt::Terminate => Signal::SIGTERM,
    };
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
    use super::*;

    #[test]
    fn what_could_not_be_ended_is_told() {
        let fault = Fault::Unanswered { what: "deciding about it".to_owned(), seconds: 30 };
        let told = [not_ended, not_withdrawn].map(|not| not("fix", &fault)).join("\n");
        insta::assert_snapshot!(told, @r"
        fix was not ended, and ends by itself when it expires: deciding about it: no answer within 30 s
        fix was not withdrawn, and still waits; withdraw it with `kubectl jit end fix`: deciding about it: no answer within 30 s
        ");
    }
}
