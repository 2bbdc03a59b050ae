//! What the programs are made of, as `CycloneDX` 1.5: what is linked in, and nothing that only builds or tests it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use crate::archive::sha256;
use crate::build::{Arch, PROGRAMS};
use crate::cargo;

/// The bill of materials of an image, by the programs that are in it for each architecture.
pub(crate) fn of_image(
    workspace: &Path,
    version: &str,
    created: DateTime<Utc>,
    programs: &BTreeMap<Arch, &Path>,
) -> Result<Value> {
    let mut components = Vec::new();
    for (arch, folder) in programs {
        for program in PROGRAMS {
            components.push(application(program, version, *arch, &folder.join(program))?);
        }
    }
    let mut crates = BTreeMap::new();
    for arch in programs.keys() {
        crates.extend(linked(workspace, *arch)?);
    }
    components.extend(crates.into_values());
    components.push(rust()?);
    components.push(c_library());
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": created.to_rfc3339_opts(SecondsFormat::Secs, true),
            "component": {"type": "container", "name": "lapse", "version": version},
        },
        "components": components,
    }))
}

fn application(name: &str, version: &str, arch: Arch, file: &Path) -> Result<Value> {
    let content = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    Ok(json!({
        "type": "application",
        "name": name,
        "version": version,
        "bom-ref": format!("{name}-{}", arch.name()),
        "licenses": [{"expression": "Apache-2.0"}],
        "hashes": [{"alg": "SHA-256", "content": sha256(&content).trim_start_matches("sha256:")}],
        "properties": [{"name": "lapse:architecture", "value": arch.name()}],
    }))
}

/// The crates that are linked into the programs, by package URL.
pub(crate) fn linked(workspace: &Path, arch: Arch) -> Result<BTreeMap<String, Value>> {
    let mut tree = cargo::command(workspace);
    tree.args(["tree", "--locked", "--edges", "normal,no-proc-macro", "--prefix", "none"]);
    tree.args(["--target", arch.target(), "--no-dedupe", "--format", "{p}\t{l}\t{r}"]);
    for program in PROGRAMS {
        tree.args(["--package", program]);
    }
    let lock = fs::read_to_string(workspace.join("Cargo.lock")).context("reading Cargo.lock")?;
    let checksums = checksums(&lock);
    let mut found = BTreeMap::new();
    for line in cargo::output(&mut tree)?.lines().filter(|line| !line.is_empty()) {
        let mut parts = line.split('\t');
        let mut next = || parts.next().unwrap_or_default();
        let (package, license, repository) = (next(), next(), next());
        let mut words = package.split(' ');
        let (name, version) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let version = version.trim_start_matches('v');
        if PROGRAMS.contains(&name) {
            continue;
        }
        let purl = format!("pkg:cargo/{name}@{version}");
        let mut component = json!({
            "type": "library", "name": name, "version": version, "bom-ref": purl, "purl": purl,
            "licenses": [{"expression": license.replace('/', " OR ")}],
        });
        // Our own crates come from no registry.
        if let Some(checksum) = checksums.get(&(name, version)) {
            component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
        }
        if !repository.is_empty() {
            component["externalReferences"] = json!([{"type": "vcs", "url": repository}]);
        }
        found.insert(purl, component);
    }
    Ok(found)
}

/// The checksums of Cargo.lock, by name and version.
fn checksums(lock: &str) -> BTreeMap<(&str, &str), &str> {
    let of_package = |package| {
        let (name, version) = (field(package, "name")?, field(package, "version")?);
        Some(((name, version), field(package, "checksum")?))
    };
    lock.split("[[package]]").filter_map(of_package).collect()
}

/// The value of a line `key = "value"`.
fn field<'a>(package: &'a str, key: &str) -> Option<&'a str> {
    let mut lines = package.lines().filter_map(|line| line.split_once(" = "));
    lines.find(|(found, _)| *found == key).map(|(_, value)| value.trim_matches('"'))
}

fn rust() -> Result<Value> {
    let version = cargo::output(Command::new("rustc").arg("--version"))?;
    let version = version.split(' ').nth(1).context("rustc does not say its version")?;
    Ok(json!({
        "type": "library", "name": "rust-std", "version": version, "bom-ref": "rust-std",
        "licenses": [{"expression": "MIT OR Apache-2.0"}],
    }))
}

/// The C library of this machine; of another architecture's it is not known which version it is.
fn c_library() -> Value {
    let mut component = json!({
        "type": "library", "name": "glibc", "bom-ref": "glibc",
        "licenses": [{"expression": "LGPL-2.1-or-later"}],
    });
    let version = cargo::output(Command::new("getconf").arg("GNU_LIBC_VERSION"));
    if let Some(version) =
        version.ok().as_deref().and_then(|said| said.trim().strip_prefix("glibc "))
    {
        component["version"] = json!(version);
    }
    component
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_linked_is_in_the_bill_and_what_builds_or_tests_is_not() {
        let crates = linked(crate::workspace(), Arch::native()).unwrap();
        let named = |name: &str| crates.values().find(|component| component["name"] == name);
        for name in ["kube", "rustls", "ring", "lapse-engine"] {
            assert!(named(name).is_some(), "{name} is linked");
        }
        // Macros run in the compiler; the others test, or are of the control plane of the tests.
        for name in
            ["serde_derive", "clap_derive", "proptest", "rstest", "lapse-e2e", "windows-sys"]
        {
            assert_eq!(named(name), None, "{name} is not linked");
        }
        let checksum = &named("ring").unwrap()["hashes"][0]["content"];
        assert_eq!(checksum.as_str().unwrap().len(), 64);
        for component in crates.values() {
            let license = component["licenses"][0]["expression"].as_str().unwrap();
            assert!(!license.is_empty() && !license.contains('/'), "{component}");
        }
    }

    #[test]
    fn checksums_are_found_by_name_and_version() {
        let lock = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n\
            source = \"registry\"\nchecksum = \"aa\"\n\n[[package]]\nname = \"a\"\nversion = \"2.0.0\"\n";
        assert_eq!(checksums(lock), BTreeMap::from([(("a", "1.0.0"), "aa")]));
    }
}
