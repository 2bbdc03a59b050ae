//! Fuzz targets on stable Rust.
//!
//! A target is a function of bytes that asserts what must hold of whatever comes in, and a test that gives it
//! to [`fuzz!`]. The test replays the target's corpus, tries random bytes, and tries variations of the
//! corpus, which get further than random bytes do. Under `cargo bolero` the same test is driven by libFuzzer,
//! which is guided by coverage; CONTRIBUTING.md says how.
//!
//! The corpus of a target lies beside its file, in `__fuzz__/TARGET/corpus`: one file for each input, named
//! after what it shows. What a fuzzer found goes there, too, once it is mended.

mod vary;

use std::fs;
use std::path::Path;

#[doc(hidden)]
pub use bolero;

/// How many variations of the corpus a test tries, unless this environment variable says another number.
pub const ROUNDS: &str = "LAPSE_FUZZ_ROUNDS";

/// Where the variations begin, unless this environment variable says so: the same in every run, so that a
/// test run says the same twice.
pub const SEED: &str = "LAPSE_FUZZ_SEED";

const DEFAULT_ROUNDS: u64 = 500;

/// Runs a target: on its corpus, on random bytes, on variations of the corpus; or under the fuzzer.
///
/// The name is that of the target's folder, and the check a function of `&[u8]`. The expansion returns from the
/// test if a fuzzer wants another target.
#[macro_export]
macro_rules! fuzz {
    ($name:literal, $check:expr) => {{
        use $crate::bolero;
        bolero::check!(name = $name)
            .with_iterations(64)
            .with_max_len(4096)
            .for_each(|bytes: &[u8]| $check(bytes));
        $crate::vary_corpus(env!("CARGO_MANIFEST_DIR"), file!(), $name, $check);
    }};
}

/// Tries variations of a corpus, which must not be empty. Called by [`fuzz!`].
///
/// # Panics
/// If there is no corpus, and if the check does; then the input is printed, for a file in the corpus.
pub fn vary_corpus(package: &str, file: &str, target: &str, check: impl Fn(&[u8])) {
    let seeds = corpus(package, file, target);
    assert!(!seeds.is_empty(), "the target {target} has no corpus");
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let mut vary = vary::Vary::new(&seeds, number(SEED).unwrap_or(0));
    for _ in 0..number(ROUNDS).unwrap_or(DEFAULT_ROUNDS) {
        let input = vary.next_input();
        let shown = Shown(&input);
        check(&input);
        drop(shown);
    }
}

/// Prints an input if the check panics on it.
struct Shown<'a>(&'a [u8]);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the check failed on: {}", self.0.escape_ascii());
        }
    }
}

/// The inputs of a corpus, in the order of their names.
fn corpus(package: &str, file: &str, target: &str) -> Vec<Vec<u8>> {
    // The compiler names the file from the workspace, or from the package.
    let file = Path::new(file);
    let package = Path::new(package);
    let folder = package.ancestors().map(|root| root.join(file)).find(|path| path.is_file());
    let folder = folder.unwrap_or_default().with_file_name("__fuzz__").join(target).join("corpus");
    let mut paths: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .collect();
    paths.sort();
    paths.iter().filter_map(|path| fs::read(path).ok()).collect()
}
