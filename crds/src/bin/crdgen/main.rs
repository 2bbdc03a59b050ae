//! Writes the custom resource definitions as YAML, for people to read and for the chart to install, and the reference of
//! the API among the documents.
//!
//! `cargo run --bin crdgen` writes them; with `--check` it compares, and fails when a
//! file on disk differs from what the types say.

mod reference;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use kube::ResourceExt;

const HEADER: &str = "# Generated from the types in crds/src by `cargo run --bin crdgen`.\n";

fn main() -> ExitCode {
    let check = std::env::args().any(|argument| argument == "--check");
    match run(check) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("crdgen: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(check: bool) -> Result<(), String> {
    for (file, yaml) in files()? {
        if check {
            let stored = std::fs::read_to_string(&file).unwrap_or_default();
            if stored != yaml {
                return Err(format!(
                    "{} differs from the types; run `cargo run --bin crdgen`",
                    file.display()
                ));
            }
        } else {
            if let Some(folder) = file.parent() {
                std::fs::create_dir_all(folder)
                    .map_err(|e| format!("{}: {e}", folder.display()))?;
            }
            std::fs::write(&file, yaml).map_err(|e| format!("{}: {e}", file.display()))?;
        }
    }
    Ok(())
}

/// Every file that is generated, with its content. Helm reads only what lies within the chart, hence
/// the second copy.
fn files() -> Result<Vec<(PathBuf, String)>, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [root.join("yaml"), root.join("../charts/lapse/files/crds")];
    let crds = lapse_crds::all();
    let mut files = vec![(root.join("../docs/reference.md"), reference::page(&crds))];
    for crd in crds {
        let yaml = serde_saphyr::to_string(&crd).map_err(|e| format!("{}: {e}", crd.name_any()))?;
        let name = format!("{}.yaml", crd.spec.names.plural);
        files.extend(folders.iter().map(|folder| (folder.join(&name), format!("{HEADER}{yaml}"))));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    #[test]
    fn files_on_disk_are_what_the_types_say() {
        super::run(true).unwrap();
    }
}
