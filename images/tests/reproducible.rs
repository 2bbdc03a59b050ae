//! That the programs are the same wherever they are built: by the very function that builds the image's, on a package
//! that is small, for the image's own programs take minutes. `cargo image --twice` builds those.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::fs;
use std::path::Path;
use std::process::Command;

use lapse_images::build::{Arch, release};

const MANIFEST: &str = "\
[package]
name = \"small\"
version = \"0.1.0\"
edition = \"2024\"
build = \"build.rs\"
[workspace]
[profile.release]
strip = \"symbols\"
";
const LOCK: &str = "version = 4\n\n[[package]]\nname = \"small\"\nversion = \"0.1.0\"\n";
/// Code that is generated is built from a folder whose path is in what it may print.
const SCRIPT: &str = r#"
fn main() {
    let folder = std::env::var("OUT_DIR").unwrap();
    std::fs::write(format!("{folder}/made.rs"), "pub fn made(n: usize) { assert!(n > 1) }").unwrap();
}
"#;
const PROGRAM: &str = r#"
include!(concat!(env!("OUT_DIR"), "/made.rs"));
fn main() {
    made(std::env::args().len());
    println!("{} {}", file!(), std::env::args().nth(1).unwrap());
}
"#;

fn package(folder: &Path) {
    fs::create_dir_all(folder.join("src")).unwrap();
    fs::write(folder.join("Cargo.toml"), MANIFEST).unwrap();
    fs::write(folder.join("Cargo.lock"), LOCK).unwrap();
    fs::write(folder.join("build.rs"), SCRIPT).unwrap();
    fs::write(folder.join("src/main.rs"), PROGRAM).unwrap();
}

fn contains(program: &[u8], words: &Path) -> bool {
    let words = words.to_str().unwrap().as_bytes();
    program.windows(words.len()).any(|window| window == words)
}

#[test]
fn a_program_is_the_same_in_whatever_folder_it_is_built() {
    let folder = tempfile::tempdir().unwrap();
    let build = |name: &str| {
        let place = folder.path().join(name);
        package(&place);
        let built = release(&place, &place.join("target"), Arch::native(), &["small"]).unwrap();
        fs::read(built.join("small")).unwrap()
    };
    let (one, two) = (build("one"), build("elsewhere/and/deeper"));
    assert!(!contains(&one, folder.path()), "a path of this machine is in the program");
    assert!(one == two, "the programs differ");

    // Without what the function does, they do differ: the comparison can fail.
    let plain = folder.path().join("plain");
    package(&plain);
    let build = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--release", "--target-dir", "target"])
        .current_dir(&plain)
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .status();
    assert!(build.unwrap().success());
    let program = fs::read(plain.join("target/release/small")).unwrap();
    assert!(contains(&program, folder.path()), "plain builds say where they were made");
}
