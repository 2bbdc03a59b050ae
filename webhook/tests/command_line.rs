//! What the program says to whoever starts it wrongly.

use std::fmt::Write as _;
use std::process::Command;

/// Each way of starting it, and what it says before it ends.
#[test]
fn messages() {
    let absent = "--settings=/nonexistent/settings.yaml";
    let given: [&[&str]; 7] = [
        &["--help"],
        &["run", "--help"],
        &[],
        &["serve"],
        &["run", absent],
        &["run", absent, "--san=127.0.0.1", "--listen=9443"],
        &["run", absent, "--san=127.0.0.1"],
    ];
    let mut text = String::new();
    for arguments in given {
        let mut program = Command::new(env!("CARGO_BIN_EXE_lapse-webhook"));
        let answer = program.args(arguments).env_clear().output().unwrap();
        let said = [answer.stdout, answer.stderr].map(|said| String::from_utf8(said).unwrap());
        // Lines of the log begin with the time.
        let said = said.concat();
        let said = said.split_once(" ERROR ").map_or(&*said, |(_, said)| said);
        writeln!(text, "$ lapse-webhook {}\n{said}", arguments.join(" ")).unwrap();
    }
    insta::assert_snapshot!(text);
}
