//! What the program says to whoever starts it wrongly.

use std::fmt::Write as _;
use std::process::Command;

/// Each way of starting it, and what it says before it ends.
#[test]
fn messages() {
    let absent = "--settings=/nonexistent/settings.yaml";
    let given: [&[&str]; 8] = [
        &["--help"],
        &["run", "--help"],
        &["sweep", "--help"],
        &["drain", "--help"],
        &[],
        &["serve"],
        &["run", absent],
        &["sweep", absent],
    ];
    let mut text = String::new();
    for arguments in given {
        let mut program = Command::new(env!("CARGO_BIN_EXE_lapse-controller"));
        let answer = program.args(arguments).env_clear().output().unwrap();
        let said = [answer.stdout, answer.stderr].map(|said| String::from_utf8(said).unwrap());
        // Lines of the log begin with the time.
        let said = said.concat();
        let said = said.split_once(" ERROR ").map_or(&*said, |(_, said)| said);
        writeln!(text, "$ lapse-controller {}\n{said}", arguments.join(" ")).unwrap();
    }
    insta::assert_snapshot!(text);
}
