//! How the story looks on the terminal: in colour there, plain when piped.

use anstream::println;
use anstyle::{AnsiColor, Style};
use anyhow::{Result, ensure};

use crate::host::Host;
use crate::plane::{Answer, Plane, User};

const CHAPTER: Style = AnsiColor::Cyan.on_default().bold();
const PERSON: Style = AnsiColor::Yellow.on_default().bold();
const DONE: Style = AnsiColor::Green.on_default();
const REFUSED: Style = AnsiColor::Red.on_default();
const QUIET: Style = Style::new().dimmed();

/// What the API server must answer for the story to be true.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expect<'a> {
    /// It does what was asked; its answer contains this.
    Done(&'a str),
    /// It refuses, saying this.
    Refused(&'a str),
}

/// Tells what people do, and what the API server answers.
pub(super) struct Teller<'a> {
    pub(super) plane: &'a Plane,
}

impl Teller<'_> {
    /// Begins a chapter.
    #[expect(clippy::unused_self, reason = "the teller tells")]
    pub(super) fn chapter(&self, text: &str) {
        println!("\n{CHAPTER}{text}{CHAPTER:#}");
    }

    /// Has a person run kubectl, shows command and answer, and fails if it is not as expected.
    pub(super) async fn kubectl(
        &self,
        user: &User,
        args: &[&str],
        input: Option<&str>,
        expected: Expect<'_>,
    ) -> Result<String> {
        let shown = args.iter().map(|arg| quoted(arg)).collect::<Vec<_>>().join(" ");
        println!("{PERSON}{:>6}{PERSON:#} $ kubectl {shown}", user.name);
        for line in input.into_iter().flat_map(str::lines) {
            println!("       {QUIET}| {line}{QUIET:#}");
        }
        let answer = self.plane.kubectl_with_input(user, args, input).await?;
        answered(&user.name, &answer, expected)?;
        Ok(answer.stdout)
    }

    /// Has a person do something on a host, shows it, and fails if it is not as expected.
    pub(super) async fn on_host(
        &self,
        host: &Host,
        user: &str,
        script: &str,
        expected: Expect<'_>,
    ) -> Result<()> {
        println!("{PERSON}{user:>6}{PERSON:#}@{} $ {script}", host.name());
        let answer = host.as_user(user, script).await?;
        answered(user, &answer, expected)
    }
}

/// Shows an answer, and fails if it is not as expected.
fn answered(user: &str, answer: &Answer, expected: Expect<'_>) -> Result<()> {
    let (success, contains) = match expected {
        Expect::Done(text) => (true, text),
        Expect::Refused(text) => (false, text),
    };
    let style = if answer.success() { DONE } else { REFUSED };
    let text = text(answer);
    for line in text.lines() {
        println!("         {style}{line}{style:#}");
    }
    ensure!(
        answer.success() == success && text.contains(contains),
        "the story says that `{}` by {} {} and answers {contains:?}; it answered ({}): {text}",
        answer.command,
        user,
        if success { "succeeds" } else { "is refused" },
        answer.status,
    );
    Ok(())
}

fn text(answer: &Answer) -> String {
    // Warnings and errors first, as on a terminal.
    let parts = [answer.stderr.trim(), answer.stdout.trim()];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

/// An argument as one would type it in a shell.
fn quoted(arg: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,@".contains(c);
    if !arg.is_empty() && arg.chars().all(plain) { arg.to_owned() } else { format!("'{arg}'") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_quoted_when_a_shell_needs_it() {
        assert_eq!(quoted("--namespace=shop"), "--namespace=shop");
        assert_eq!(quoted("jsonpath={.status}"), "'jsonpath={.status}'");
        assert_eq!(quoted(""), "''");
    }
}
