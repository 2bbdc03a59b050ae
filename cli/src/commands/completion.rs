//! Completion of the command line, with the names that there are in the cluster.
//!
//! Who completes asks in one of two ways: kubectl runs `kubectl_complete-jit` for a plugin and takes what Cobra prints, and a
//! shell asks for `kubectl-jit` by itself. What may stand where, the engine of clap tells both. Errors are silent, as they
//! would stand in the middle of what somebody types.

mod cobra;
mod fitting;
mod names;
mod typed;

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::sync::Arc;

use clap::{Arg, CommandFactory as _, ValueHint};
use clap_complete::env::Shells;
use clap_complete::{ArgValueCompleter, CompleteEnv, Shell};

use self::names::Names;
use self::typed::Typed;
use crate::args::Cli;
use crate::fault::Fault;
use crate::session::PROGRAM;

/// The variable by which the scripts of the shells ask.
const VARIABLE: &str = "KUBECTL_JIT_COMPLETE";
/// The word by which `kubectl_complete-jit` asks.
const ASKED: &str = "__complete";
/// How bash asks: with words as people mean them, which clap's own script leaves as bash splits them.
const BASH: &str = include_str!("completion/kubectl-jit.bash");

/// Answers whoever completes; whether it was one who calls.
pub(crate) fn answered() -> bool {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some((first, words)) = words.split_first()
        && first == ASKED
    {
        let told = cobra::answer(&mut command(words), words);
        // Who asked may be gone by now.
        let _ = std::io::stdout().write_all(told.as_bytes());
        return true;
    }
    // The program's name follows the dashes.
    let words = words.iter().skip_while(|word| *word != "--").skip(2).cloned();
    let words: Vec<OsString> = words.collect();
    let folder = std::env::current_dir().ok();
    CompleteEnv::with_factory(|| command(&words))
        .var(VARIABLE)
        .bin(PROGRAM)
        .completer(PROGRAM)
        .try_complete(std::env::args_os(), folder.as_deref())
        .unwrap_or(true)
}

/// Prints what a shell needs to ask.
pub(super) fn script(shell: Shell) -> Result<(), Fault> {
    let mut script = Vec::new();
    if shell == Shell::Bash {
        script.extend(BASH.as_bytes());
    } else if let Some(asking) = Shells::builtins().completer(&shell.to_string()) {
        asking.write_registration(VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut script)?;
    }
    Ok(std::io::stdout().write_all(&script)?)
}

/// The command line, with what its places may hold. `words` follow the name of the program; the last is to be completed.
fn command(words: &[OsString]) -> clap::Command {
    let typed = Arc::new(Typed::before_last(words));
    let is_flag = words.last().is_some_and(|word| word.as_encoded_bytes().starts_with(b"-"));
    let place = |command: &str, arg: Arg| {
        // As kubectl does, flags are offered to those who begin one, and where there is nothing else.
        let arg = if is_flag || arg.is_positional() { arg } else { arg.hide(true) };
        if command == "explain" && arg.get_id() == "name" && typed.is_offline {
            return arg.value_hint(ValueHint::AnyPath);
        }
        let Some(names) = Names::at(command, arg.get_id().as_str()) else { return arg };
        let typed = Arc::clone(&typed);
        arg.add(ArgValueCompleter::new(move |begin: &OsStr| names.candidates(&typed, begin)))
    };
    let command = Cli::command().mut_args(|arg| place("", arg)).mut_subcommands(|command| {
        let name = command.get_name().to_owned();
        command.mut_args(|arg| place(&name, arg))
    });
    // These two come of themselves, and cannot be hidden.
    command.disable_help_flag(!is_flag).disable_version_flag(!is_flag)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;
    use rstest::rstest;

    use super::*;

    fn told(line: &str) -> String {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        cobra::answer(&mut command(&words), &words)
    }

    /// Without a cluster; what begins with the names of one is in the end-to-end tests.
    #[rstest]
    #[case::commands("app", &["approve\t"], ":4")]
    #[case::aliases("ls --to", &["--to-approve\t", "--to-review\t"], ":4")]
    #[case::flags("approve fix --co", &["--comment\t", "--context\t"], ":4")]
    #[case::values("request edit --dry-run s", &["server\t"], ":4")]
    #[case::joined("request edit --dry-run=c", &["client\t"], ":4")]
    #[case::outcomes("review fire --outcome j", &["justified"], ":4")]
    #[case::folders("report --audit sr", &["src/"], ":6")]
    #[case::manifests("explain --policy shop.yaml Cargo.t", &["Cargo.toml"], ":4")]
    #[case::of_another("run edit -- ls Carg", &[], ":0")]
    #[case::nothing("nothing x", &[], ":4")]
    fn kubectl_is_told_what_may_stand_there(
        #[case] line: &str,
        #[case] expected: &[&str],
        #[case] directive: &str,
    ) {
        let told = told(line);
        let mut found: Vec<&str> = told.lines().collect();
        assert_eq!(found.pop(), Some(directive), "{told}");
        assert_eq!(found.len(), expected.len(), "{told}");
        for (found, begin) in found.iter().zip(expected) {
            assert!(found.starts_with(begin), "{told}");
        }
    }

    #[test]
    fn flags_are_offered_to_who_begins_one_and_where_there_is_nothing_else() {
        let all = told("");
        assert!(
            all.contains("approve\t") && !all.lines().any(|line| line.starts_with('-')),
            "{all}"
        );
        assert!(told("approve -").contains("\n-h\t"));
        assert!(told("list ").contains("--to-approve\t") && !told("list ").contains("--help"));
    }

    #[test]
    fn every_shell_has_a_script() {
        for shell in Shell::value_variants() {
            assert!(Shells::builtins().completer(&shell.to_string()).is_some(), "{shell}");
        }
        assert!(BASH.contains(&format!("{VARIABLE}=bash")) && BASH.contains(PROGRAM));
    }

    /// What bash has of a line whose last word is completed: its own words, each followed by `|`, and the part of the last
    /// that it replaces.
    #[rstest]
    #[case::a_name("-n shop approve fi", "-n|shop|approve|fi", "fi", &["fix", "fig"])]
    #[case::nothing_yet("approve ", "approve|", "", &["fix", "fig", "arn:aws:one", "arn:aws:two"])]
    #[case::after_an_equals_sign("--namespace=sh", "--namespace|=|sh", "sh", &["shop"])]
    #[case::right_after_it("--namespace=", "--namespace|=", "", &["shop"])]
    #[case::a_name_with_colons("--context arn:aws:o", "--context|arn|:|aws|:|o", "o", &["one"])]
    #[case::right_after_a_colon("--context arn:", "--context|arn|:", "", &["aws:one", "aws:two"])]
    #[case::both("--context=arn:aws:t", "--context|=|arn|:|aws|:|t", "t", &["two"])]
    #[case::not_split("--context arn:aws:t", "--context|arn:aws:t", "arn:aws:t", &["arn:aws:two"])]
    #[case::quoted("-n 'shop' approve \"fi", "-n|'shop'|approve|\"fi", "fi", &["fix", "fig"])]
    #[case::two_flags("--reason 'a = b' -n=shop approve fi", "--reason|'a = b'|-n|=|shop|approve|fi", "fi", &["fix", "fig"])]
    fn bash_puts_together_what_it_has_split(
        #[case] line: &str,
        #[case] split: &str,
        #[case] replaced: &str,
        #[case] expected: &[&str],
    ) {
        let asking = r#"
            kubectl-jit() {
                local last="${@: -1}" name names="fix fig arn:aws:one arn:aws:two"
                case $last in
                --namespace=*) names=--namespace=shop ;;
                --context=*) names="--context=arn:aws:one --context=arn:aws:two" ;;
                esac
                [[ $_CLAP_COMPLETE_INDEX -eq $(($# - 2)) ]] || return
                for name in $names; do [[ $name != "$last"* ]] || echo "$name"; done
            }
            COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDS=("${@:3}") COMP_CWORD=$(($# - 3))
            _kubectl_jit kubectl-jit "$2" "${COMP_WORDS[COMP_CWORD - 1]}"
            printf '%s\n' "${COMPREPLY[@]}"
        "#;
        let line = format!("{PROGRAM} {line}");
        let answer = std::process::Command::new("bash")
            .args(["-c", &format!("{BASH}{asking}"), "bash", &line, replaced, PROGRAM])
            .args(split.split('|'))
            .output()
            .unwrap();
        let found = String::from_utf8_lossy(&answer.stdout);
        assert_eq!(found.lines().collect::<Vec<_>>(), expected, "{answer:?}");
    }
}
