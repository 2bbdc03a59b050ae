//! The commands of the tutorial, and of the first request in the README, do what they say: bash runs them in their order, on a
//! playground as a reader starts it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use lapse_e2e::plane::workspace;
use nix::sys::signal::Signal;
use regex::Regex;

use crate::documents::Block;
use crate::shell::{Ended, Script, write_program};

/// For all of it: the playground may have to build the programs first.
const DEADLINE: Duration = Duration::from_mins(15);

/// Ends the playground whatever happens, and stops at the first command that fails.
const BEFORE: &str = "\
set -euo pipefail
trap '[ -z \"${playground-}\" ] || { kill \"$playground\" && wait \"$playground\"; } 2>/dev/null || true' EXIT
";

/// As the README says to start one, but in the background.
const PLAYGROUND: &str = "\
mkdir -p target/tutorial
cargo playground --dir target/tutorial > target/tutorial/playground.log 2>&1 &
playground=$!
until test -e target/tutorial/playground.json || ! kill -0 \"$playground\"; do sleep 1; done
export PATH=\"$PWD/target/tutorial/bin:$PATH\" KUBECONFIG=\"$PWD/target/tutorial/kubeconfig\"
";

/// What follows a fence of this kind, block by block.
fn blocks(text: &str, kind: &str) -> Vec<String> {
    let blocks = Block::read("", text).into_iter().filter(|block| block.kind == kind);
    blocks.map(|block| block.text).collect()
}

/// The commands as one script.
fn script(commands: &[String]) -> String {
    let mut script = BEFORE.to_owned();
    for commands in commands {
        script.push_str(commands);
        script.push('\n');
    }
    script
}

/// Stands in for cargo, which would build what is built already.
fn cargo(folder: &Path) {
    let bin = folder.join("cargo-bin");
    fs::create_dir_all(&bin).unwrap();
    let playground = env!("CARGO_BIN_EXE_playground");
    let text = format!(
        "#!/bin/sh\ncase \"$1\" in\nplayground) shift; exec '{playground}' \"$@\" ;;\n\
         *) echo \"the documents call cargo $1\" >&2; exit 1 ;;\nesac\n"
    );
    write_program(&bin.join("cargo"), &text);
}

/// Runs them as a reader does who is at the root of the repository; what they wrote.
async fn run(script: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    cargo(here);
    symlink(workspace::root().join("examples"), here.join("examples")).unwrap();
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}/cargo-bin:{path}", here.display());
    // After the deadline the playground ends, too.
    let script = Script { text: script, limit: DEADLINE, signal: Signal::SIGTERM };
    let Ended { status, said } = script
        .run(here, |bash| {
            // Tests run on what is built.
            bash.env("PATH", path)
                .env("KUBECACHEDIR", here.join("cache"))
                .env("LAPSE_ENVTEST", "off");
        })
        .await;
    let log = here.join("target/tutorial/playground.log");
    let log = fs::read_to_string(log).unwrap_or_default();
    let succeeded = status.is_some_and(|status| status.success());
    assert!(succeeded, "{status:?} within {DEADLINE:?}:\n{said}\nThe playground:\n{log}");
    said
}

/// What a document shows comes, in this order: a short word alone on its line, anything else as whole words.
fn assert_shown(said: &str, expected: &[String]) {
    let mut at = 0;
    for line in expected.iter().flat_map(|block| block.lines()) {
        let words = regex::escape(line);
        let pattern = if line.len() <= 3 {
            format!("(?m)^{words}$")
        } else {
            format!(r"(?m)(?:^|\W){words}(?:\W|$)")
        };
        let found = Regex::new(&pattern).unwrap().find_at(said, at);
        at = found.unwrap_or_else(|| panic!("no {line:?} from {at} on:\n{said}")).end();
    }
}

#[tokio::test]
async fn the_tutorial_does_what_it_says() {
    let text = fs::read_to_string(workspace::root().join("docs/tutorial.md")).unwrap();
    let said = run(&script(&blocks(&text, "sh"))).await;
    assert_shown(&said, &blocks(&text, "text"));
}

#[tokio::test]
async fn the_first_request_of_the_readme_is_granted_and_ends() {
    let text = fs::read_to_string(workspace::root().join("README.md")).unwrap();
    let (_, text) = text.split_once("## Your first request\n").unwrap();
    let (text, _) = text.split_once("\n## ").unwrap();
    let mut commands = vec![PLAYGROUND.to_owned()];
    commands.extend(blocks(text, "sh"));
    let said = run(&script(&commands)).await;
    assert_shown(&said, &["no\nyes\nno\nEndedByRequester".to_owned()]);
}

#[test]
fn commands_and_what_they_write_are_found() {
    let text = "a\n```sh\none\ntwo\n```\nb\n```text\nyes\n```\n```sh\nthree\n```\n";
    assert_eq!(blocks(text, "sh"), ["one\ntwo\n", "three\n"]);
    assert_eq!(blocks(text, "text"), ["yes\n"]);
    assert!(script(&blocks(text, "sh")).ends_with("one\ntwo\n\nthree\n\n"));
    assert_shown("yes\nno\nyes, it Ended\nyes\n", &["yes\nEnded\n".to_owned(), "yes\n".to_owned()]);
}
