//! The Go modules of this workspace that pin programs, and how these are built.

use anyhow::{Context as _, Result, bail};

/// A Go module of this workspace that pins programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Module {
    ControlPlane,
    Promtool,
}

impl Module {
    /// Its folder within the workspace.
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Self::ControlPlane => "e2e/controlplane",
            Self::Promtool => "e2e/promtool",
        }
    }

    /// What the folder of built programs is named by.
    pub(crate) fn sources(self) -> &'static [&'static str] {
        match self {
            Self::ControlPlane => &[
                "etcd/main.go",
                "gitops/argo.go",
                "gitops/flux.go",
                "gitops/main.go",
                "go.mod",
                "go.sum",
                "kstatus/main.go",
                "kubectl/main.go",
                "tools.go",
            ],
            Self::Promtool => &["go.mod", "go.sum"],
        }
    }

    /// What the linker is told.
    pub(crate) fn linker_flags(self, manifest: &str) -> Result<String> {
        match self {
            Self::ControlPlane => of_control_plane(manifest),
            Self::Promtool => Ok("-s -w".to_owned()),
        }
    }

    /// With the clients of all clouds, promtool takes twice as long to build.
    pub(crate) fn build_tags(self) -> &'static str {
        match self {
            Self::ControlPlane => "",
            Self::Promtool => "remove_all_sd",
        }
    }
}

/// The versions that the programs report: without them the API server and kubectl misbehave.
fn of_control_plane(manifest: &str) -> Result<String> {
    let kubernetes = version_of(manifest, "k8s.io/kubernetes")?;
    let helm = version_of(manifest, "helm.sh/helm/v4")?;
    let mut parts = kubernetes.trim_start_matches('v').split('.');
    let (Some(major), Some(minor)) = (parts.next(), parts.next()) else {
        bail!("go.mod pins k8s.io/kubernetes at {kubernetes}, which is no version");
    };
    let values = [
        ("k8s.io/component-base/version.gitVersion", kubernetes),
        ("k8s.io/component-base/version.gitMajor", major),
        ("k8s.io/component-base/version.gitMinor", minor),
        ("k8s.io/client-go/pkg/version.gitVersion", kubernetes),
        ("helm.sh/helm/v4/internal/version.version", helm),
    ];
    let values = values.iter().map(|(name, value)| format!(" -X {name}={value}"));
    Ok(format!("-s -w{}", values.collect::<String>()))
}

fn version_of<'a>(manifest: &'a str, module: &str) -> Result<&'a str> {
    let mut lines = manifest.lines().map(str::split_whitespace);
    let version = lines.find_map(|mut words| {
        words.next().filter(|word| *word == module)?;
        words.next()
    });
    version.with_context(|| format!("go.mod requires no {module}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_from_the_manifest() {
        let manifest = "require (\n\thelm.sh/helm/v4 v4.2.4\n\tk8s.io/kubernetes v1.36.3\n)\n";
        let flags = of_control_plane(manifest).unwrap();
        assert!(flags.contains("base/version.gitMinor=36 "), "{flags}");
        assert!(flags.ends_with("helm/v4/internal/version.version=v4.2.4"), "{flags}");
        assert!(of_control_plane("module x\n").is_err());
    }
}
