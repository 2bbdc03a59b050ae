//! Whether the file of a program is the one that was approved. That nobody but root may change it is looked at in
//! [`crate::right`]; so what could differ between this look and the start of the program is what root does in between.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use lapse_crds::Program;
use lapse_platforms::digest::{check_size, sha256_of};

use crate::places::Places;
use crate::system::System;

/// Looks at the file of a program: that it has the digest, or is as its package installed it, whichever was approved.
///
/// # Errors
/// If it is another, in words that are shown on the request and to who runs it.
pub fn verify(system: &dyn System, places: &Places, program: &Program) -> Result<(), String> {
    let Program { path, sha256, package, args: _, env: _ } = program;
    if let Some(expected) = sha256 {
        check_digest(places, path, expected)?;
    }
    match package {
        Some(package) => check_package(system, places, path, package),
        None => Ok(()),
    }
}

fn check_digest(places: &Places, path: &str, expected: &str) -> Result<(), String> {
    // By one descriptor from its beginning to its end.
    let found = File::open(places.at(path)).and_then(|mut file| sha256_of(&mut file));
    let found = found.map_err(|error| format!("reading {path}: {error}"))?;
    if found == expected {
        return Ok(());
    }
    Err(format!(
        "{path} has the digest {found}, and the one that was approved has {expected}: install that file, or have the policy \
         name this one"
    ))
}

/// Looks whether a file is as its package installed it, by the MD5 that the package manager keeps of each file. Who could
/// make another file with the same one could as well write to where it is kept: root.
fn check_package(
    system: &dyn System,
    places: &Places,
    path: &str,
    package: &str,
) -> Result<(), String> {
    let listed = listed(system, places, package)?;
    let reading = |error: io::Error| format!("reading {path}: {error}");
    let names = names_of(places, path).map_err(reading)?;
    let sums = listed.lines().filter_map(|line| line.split_once("  "));
    let expected: Vec<&str> = sums
        .filter(|(_, file)| names.iter().any(|name| name.trim_start_matches('/') == *file))
        .map(|(sum, _)| sum)
        .collect();
    if expected.is_empty() {
        return Err(format!(
            "the package {package} has not installed {path}: have the policy name the package that it is of (dpkg --search \
             {path})"
        ));
    }
    let file = places.at(path);
    fs::metadata(&file).and_then(|found| check_size(found.len())).map_err(reading)?;
    let ran = system.run("md5sum", &["--", &file.display().to_string()]);
    let ran = ran.map_err(|error| format!("there is no md5sum ({error})"))?;
    let found = ran.stdout.split_whitespace().next().filter(|_| ran.is_ok());
    let found = found.ok_or_else(|| format!("reading {path}: {}", ran.said()))?;
    if expected.contains(&found) {
        return Ok(());
    }
    Err(format!(
        "{path} is not as the package {package} installed it: install the package again (apt-get install --reinstall \
         {package})"
    ))
}

/// What the package manager keeps of the files of a package: the MD5 of each, and its name.
fn listed(system: &dyn System, places: &Places, package: &str) -> Result<String, String> {
    let ran = system.run("dpkg-query", &["--control-path", package, "md5sums"]);
    let ran = ran.map_err(|error| {
        format!(
            "nobody can tell what the package {package} has installed, as this host has no dpkg ({error}): have the policy \
             name sha256 in place of package"
        )
    })?;
    if !ran.is_ok() {
        return Err(format!("the package {package} is not installed on this host: {}", ran.said()));
    }
    let list = ran.stdout.lines().next().unwrap_or_default();
    fs::read_to_string(places.at(list)).map_err(|error| format!("reading {list}: {error}"))
}

/// By which names a package may have installed a file: that of the path and that where its links lead to, each also by the
/// folder that has become a link into `/usr`.
fn names_of(places: &Places, path: &str) -> io::Result<Vec<String>> {
    let root = fs::canonicalize(places.at("/"))?;
    let file = fs::canonicalize(places.at(path))?;
    let inside = file.strip_prefix(&root).unwrap_or(&file).display().to_string();
    let mut names = vec![path.to_owned(), format!("/{}", inside.trim_start_matches('/'))];
    let others: Vec<String> = names
        .iter()
        .map(|name| name.strip_prefix("/usr").map_or_else(|| format!("/usr{name}"), str::to_owned))
        .collect();
    let is_same = |other: &PathBuf| fs::canonicalize(other).is_ok_and(|found| found == file);
    names.extend(others.into_iter().filter(|other| is_same(&places.at(other))));
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rstest::rstest;

    use super::*;
    use crate::system::Ran;

    /// A package manager that knows of one package, or none at all.
    struct Dpkg(bool);

    impl System for Dpkg {
        fn run(&self, program: &str, arguments: &[&str]) -> io::Result<Ran> {
            let said = |code, stdout: &str, stderr: &str| {
                Ok(Ran { code: Some(code), stdout: stdout.to_owned(), stderr: stderr.to_owned() })
            };
            match (program, arguments) {
                ("dpkg-query", _) if !self.0 => {
                    Err(io::Error::new(io::ErrorKind::NotFound, "dpkg-query: No such file"))
                }
                ("dpkg-query", ["--control-path", "tools", "md5sums"]) => {
                    said(0, "/var/lib/dpkg/info/tools.md5sums\n", "")
                }
                ("dpkg-query", _) => said(1, "", "dpkg-query: error: not installed\n"),
                ("md5sum", ["--", path]) => {
                    // One letter stands for it.
                    let text = fs::read_to_string(path)?;
                    said(0, &format!("{}  {path}\n", &text[..1]), "")
                }
                _ => said(127, "", "unexpected"),
            }
        }
    }

    fn host() -> (tempfile::TempDir, Places) {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::under(folder.path());
        for path in ["usr/bin", "usr/local/bin", "var/lib/dpkg/info"] {
            fs::create_dir_all(places.at(path)).unwrap();
        }
        symlink("usr/bin", places.at("/bin")).unwrap();
        for (path, text) in
            [("/usr/bin/dump", "abc"), ("/usr/bin/old", "old"), ("/usr/local/bin/own", "x")]
        {
            fs::write(places.at(path), text).unwrap();
        }
        symlink("dump", places.at("/usr/bin/link")).unwrap();
        let list = "a  usr/bin/dump\no  bin/old\na  usr/bin/changed\n";
        fs::write(places.at("/var/lib/dpkg/info/tools.md5sums"), list).unwrap();
        fs::write(places.at("/usr/bin/changed"), "changed").unwrap();
        (folder, places)
    }

    fn program(path: &str, sha256: Option<&str>, package: Option<&str>) -> Program {
        let text = |text: Option<&str>| text.map(str::to_owned);
        let (sha256, package) = (text(sha256), text(package));
        Program { path: path.into(), sha256, package, args: vec![], env: vec![] }
    }

    const ABC: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_file_has_the_digest_that_was_approved() {
        let (_folder, places) = host();
        let said = |digest: &str| {
            verify(&Dpkg(true), &places, &program("/usr/bin/dump", Some(digest), None))
        };
        assert_eq!(said(ABC), Ok(()));
        let other = ABC.replace("ba78", "0000");
        let expected = format!(
            "/usr/bin/dump has the digest {ABC}, and the one that was approved has {other}: install that file, or have the \
             policy name this one"
        );
        assert_eq!(said(&other), Err(expected));
        let gone = program("/usr/bin/gone", Some(ABC), None);
        let error = verify(&Dpkg(true), &places, &gone).unwrap_err();
        assert!(error.starts_with("reading /usr/bin/gone: "), "{error}");
    }

    #[rstest]
    #[case::as_it_was_installed("/usr/bin/dump", "tools", Ok(()))]
    #[case::by_a_folder_that_is_a_link("/bin/dump", "tools", Ok(()))]
    #[case::installed_before_the_folder_became_a_link("/usr/bin/old", "tools", Ok(()))]
    #[case::by_a_link("/usr/bin/link", "tools", Ok(()))]
    #[case::changed(
        "/usr/bin/changed",
        "tools",
        Err(
            "/usr/bin/changed is not as the package tools installed it: install the package again (apt-get install --reinstall tools)"
        )
    )]
    #[case::of_no_package(
        "/usr/local/bin/own",
        "tools",
        Err(
            "the package tools has not installed /usr/local/bin/own: have the policy name the package that it is of (dpkg --search /usr/local/bin/own)"
        )
    )]
    #[case::not_installed(
        "/usr/bin/dump",
        "others",
        Err("the package others is not installed on this host: dpkg-query: error: not installed")
    )]
    fn a_file_is_as_its_package_installed_it(
        #[case] path: &str,
        #[case] package: &str,
        #[case] expected: Result<(), &str>,
    ) {
        let (_folder, places) = host();
        let found = verify(&Dpkg(true), &places, &program(path, None, Some(package)));
        assert_eq!(found, expected.map_err(str::to_owned));
    }

    #[test]
    fn without_a_package_manager_that_is_said() {
        let (_folder, places) = host();
        let program = program("/usr/bin/dump", None, Some("tools"));
        let expected = "nobody can tell what the package tools has installed, as this host has no dpkg (dpkg-query: No such file): \
                        have the policy name sha256 in place of package";
        assert_eq!(verify(&Dpkg(false), &places, &program), Err(expected.to_owned()));
    }

    #[test]
    fn a_file_without_end_is_not_read_to_it() {
        let (_folder, places) = host();
        symlink("/dev/zero", places.at("/usr/bin/endless")).unwrap();
        let error = verify(&Dpkg(true), &places, &program("/usr/bin/endless", Some(ABC), None));
        let said = "reading /usr/bin/endless: it is larger than 256 MiB, which is too much to look at each time";
        assert_eq!(error, Err(said.to_owned()));
    }
}
