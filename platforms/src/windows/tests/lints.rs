//! The one crate with unsafe code keeps to all else that the workspace asks for.

use std::fs;
use std::path::Path;

fn lints<'a>(text: &'a str, table: &str) -> Vec<&'a str> {
    let (_, rest) = text.split_once(&format!("[{table}]\n")).unwrap();
    let lines = rest.lines().take_while(|line| !line.starts_with('['));
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

#[test]
fn unsafe_code_is_all_that_is_allowed_beyond_the_lints_of_the_workspace() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(folder.join(path)).unwrap();
    let (workspace, own) = (read("../Cargo.toml"), read("windows/Cargo.toml"));
    for table in ["rust", "clippy"] {
        let asked = lints(&workspace, &format!("workspace.lints.{table}"));
        assert!(asked.len() > 2, "{asked:?}");
        let kept = lints(&own, &format!("lints.{table}"));
        for lint in asked {
            assert_eq!(kept.contains(&lint), lint != "unsafe_code = \"forbid\"", "{lint}");
        }
    }
}
