//! The manifests of `examples/playground/`: namespace, policies and roles that people try things on.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::plane::{Plane, workspace};

/// Applies the examples in the order of their names.
pub(crate) async fn apply(plane: &Plane) -> Result<()> {
    let admin = plane.admin().await?;
    let files = manifests(&workspace::root().join("examples/playground"))?;
    plane.progress().step("applying the examples");
    for file in files {
        let name = file.to_str().with_context(|| format!("{} is not UTF-8", file.display()))?;
        plane.kubectl(&admin, &["apply", "-f", name]).await?.ok()?;
    }
    Ok(())
}

/// The YAML files of a folder, by name.
fn manifests(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let paths = entries.map(|entry| Ok(entry?.path()));
    let mut paths = paths
        .collect::<Result<Vec<_>>>()
        .with_context(|| format!("reading {}", folder.display()))?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_come_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["20-policy.yaml", "10-namespace.yaml", "README.md"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let found = manifests(folder.path()).unwrap();
        let names: Vec<_> = found.iter().filter_map(|path| path.file_name()).collect();
        assert_eq!(names, ["10-namespace.yaml", "20-policy.yaml"]);
    }
}
