//! The image as others read it: what is in the archive, and that the same programs give the same bytes.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use chrono::DateTime;
use flate2::read::GzDecoder;
use lapse_images::archive::Image;
use lapse_images::build::{Arch, PROGRAMS, linked};
use lapse_images::{image_of, workspace};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The files of a tar file, with the headers that say what they are.
type Files = BTreeMap<String, (tar::Header, Vec<u8>)>;

fn files(tar: impl Read) -> Files {
    let mut found = Files::new();
    for entry in tar::Archive::new(tar).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        assert!(
            found.insert(path.clone(), (entry.header().clone(), content)).is_none(),
            "{path} twice"
        );
    }
    found
}

/// What a descriptor points at, and that it is what the descriptor says.
fn blob(archive: &Files, descriptor: &Value) -> Vec<u8> {
    let digest = descriptor["digest"].as_str().unwrap();
    let (_, content) = &archive[&format!("blobs/{}", digest.replace(':', "/"))];
    assert_eq!(sha256(content), digest);
    assert_eq!(descriptor["size"], content.len());
    content.clone()
}

fn json_blob(archive: &Files, descriptor: &Value) -> Value {
    serde_json::from_slice(&blob(archive, descriptor)).unwrap()
}

fn sha256(content: &[u8]) -> String {
    let hex = |byte: &u8| format!("{byte:02x}");
    let digits: Vec<String> = Sha256::digest(content).iter().map(hex).collect();
    format!("sha256:{}", digits.concat())
}

fn image(programs: &[(Arch, &Path)]) -> Image {
    let created = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    image_of("docker.io/library/lapse:0.1.0", created, &programs.iter().copied().collect())
}

fn written(image: &Image, folder: &Path) -> (String, PathBuf) {
    let path = folder.join("image.tar");
    (image.write(&path).unwrap(), path)
}

/// Programs that are none, but have the names.
fn stand_ins(folder: &Path) {
    for program in PROGRAMS {
        fs::write(folder.join(program), program).unwrap();
    }
}

#[test]
fn the_image_has_the_static_programs_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let programs = linked(workspace(), false, &PROGRAMS).unwrap();
    let (digest, path) = written(&image(&[(Arch::native(), &programs)]), folder.path());
    let archive = files(fs::File::open(path).unwrap());
    let index: Value = serde_json::from_slice(&archive["index.json"].1).unwrap();
    let top = &index["manifests"][0];
    assert_eq!(top["digest"], digest.as_str());
    assert_eq!(top["annotations"]["io.containerd.image.name"], "docker.io/library/lapse:0.1.0");
    assert_eq!(top["annotations"]["org.opencontainers.image.ref.name"], "0.1.0");
    assert_eq!(top["platform"], json!({"architecture": Arch::native().name(), "os": "linux"}));
    let manifest = json_blob(&archive, top);
    let config = json_blob(&archive, &manifest["config"]);
    // By number, so that a node can tell that it is not root, and on the PATH that the chart starts them by.
    assert_eq!(config["config"]["User"], "65532:65532");
    assert_eq!(config["config"]["Env"], json!(["PATH=/usr/local/bin:/bin"]));
    assert_eq!(config["config"]["Entrypoint"], json!(["lapse-controller"]));
    let [layer] = &manifest["layers"].as_array().unwrap()[..] else { panic!("one layer") };
    let mut tar = Vec::new();
    GzDecoder::new(&blob(&archive, layer)[..]).read_to_end(&mut tar).unwrap();
    assert_eq!(config["rootfs"]["diff_ids"], json!([sha256(&tar)]));
    let root = files(&tar[..]);
    let paths: Vec<&str> = root.keys().map(String::as_str).collect();
    let expected = [
        "usr/",
        "usr/local/",
        "usr/local/bin/",
        "usr/local/bin/lapse-controller",
        "usr/local/bin/lapse-gateway",
        "usr/local/bin/lapse-webhook",
    ];
    assert_eq!(paths, expected);
    for (path, (header, content)) in &root {
        assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0), "{path}");
        assert_eq!(header.mode().unwrap() & 0o022, 0, "{path} can be written by others");
        if header.entry_type().is_file() {
            assert_eq!(header.mode().unwrap(), 0o555, "{path}");
            assert_eq!(interpreter(content), None, "{path} wants a loader, which is not there");
        }
    }
    // Nothing is missing in it either: they run where there is nothing else.
    for program in PROGRAMS {
        let mut command = Command::new(programs.join(program));
        let said = command.env_clear().arg("--help").output().unwrap();
        assert!(said.status.success(), "{program}: {said:?}");
    }
}

/// The loader that an ELF file of 64 bits wants, if it is not static.
fn interpreter(elf: &[u8]) -> Option<String> {
    const INTERPRETER: u32 = 3;
    assert_eq!(&elf[..5], b"\x7fELF\x02");
    let number = |at: usize, size: usize| {
        let bytes = elf[at..at + size].iter().rev();
        bytes.fold(0_usize, |number, byte| number << 8 | usize::from(*byte))
    };
    let (start, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    let segments = (0..count).map(|index| start + index * size);
    let of_loader = |at: &usize| number(*at, 4) == usize::try_from(INTERPRETER).unwrap();
    let at = segments.into_iter().find(of_loader)?;
    let (offset, length) = (number(at + 8, 8), number(at + 32, 8));
    Some(String::from_utf8_lossy(&elf[offset..offset + length]).into_owned())
}

#[test]
fn a_program_that_is_not_static_is_told_from_one_that_is() {
    // This test itself is linked with the C library of the machine.
    let own = fs::read(std::env::current_exe().unwrap()).unwrap();
    assert!(interpreter(&own).is_some_and(|loader| loader.contains("ld-")));
}

#[test]
fn the_same_programs_give_the_same_bytes_wherever_and_whenever() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for folder in [&here, &there] {
        stand_ins(folder.path());
    }
    let earlier = std::time::SystemTime::UNIX_EPOCH;
    fs::File::open(there.path().join(PROGRAMS[0])).unwrap().set_modified(earlier).unwrap();
    let of = |folder: &Path| written(&image(&[(Arch::Amd64, folder)]), folder);
    let ((one, first), (two, second)) = (of(here.path()), of(there.path()));
    assert_eq!(one, two);
    assert_eq!(fs::read(first).unwrap(), fs::read(second).unwrap());
    fs::write(there.path().join(PROGRAMS[1]), "another").unwrap();
    assert_ne!(of(there.path()).0, one);
}

#[test]
fn an_image_for_two_architectures_has_one_name_and_digest() {
    let folder = tempfile::tempdir().unwrap();
    stand_ins(folder.path());
    let both = image(&[(Arch::Arm64, folder.path()), (Arch::Amd64, folder.path())]);
    let (digest, path) = written(&both, folder.path());
    let archive = files(fs::File::open(path).unwrap());
    let index: Value = serde_json::from_slice(&archive["index.json"].1).unwrap();
    let [top] = &index["manifests"].as_array().unwrap()[..] else { panic!("one image") };
    assert_eq!(top["digest"], digest.as_str());
    let list = json_blob(&archive, top);
    let of = |manifest: &Value| {
        let config = json_blob(&archive, &json_blob(&archive, manifest)["config"]);
        assert_eq!(config["architecture"], manifest["platform"]["architecture"]);
        config["architecture"].as_str().unwrap().to_owned()
    };
    let found: Vec<String> = list["manifests"].as_array().unwrap().iter().map(of).collect();
    assert_eq!(found, ["amd64", "arm64"]);
}

#[test]
fn the_chart_asks_for_the_image_that_is_built() {
    let read = |path: &str| -> Value {
        let text = fs::read_to_string(workspace().join("charts/lapse").join(path)).unwrap();
        serde_saphyr::from_str(&text).unwrap()
    };
    let (values, chart) = (read("values.yaml"), read("Chart.yaml"));
    let asked = |key: &str| values["image"][key].as_str().unwrap().to_owned();
    assert_eq!(asked("tag"), "", "empty means the version of the chart");
    let name = format!("{}:{}", asked("repository"), chart["appVersion"].as_str().unwrap());
    assert_eq!(name, format!("lapse:{}", env!("CARGO_PKG_VERSION")));
}
