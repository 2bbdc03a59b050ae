//! Whether what is missing of a control plane is downloaded or built.

/// Chooses for everything that starts a control plane: `off`, or the address of a mirror.
const CHOICE: &str = "LAPSE_ENVTEST";

/// Where the Kubernetes project publishes the archives that operators are tested with.
const PUBLISHED: &str = "https://github.com/kubernetes-sigs/controller-tools/releases/download";

/// Where programs come from that are not there yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// All are built from source: what a test runs on must not depend on what the network answers.
    #[default]
    Source,
    /// Those that are published are downloaded, if they can be: whoever tries something out does not want to wait.
    Published,
}

impl Origin {
    /// The address below which the archives lie, if any is to be downloaded.
    pub(crate) fn address(self) -> Option<String> {
        self.address_by(std::env::var(CHOICE).ok().as_deref())
    }

    fn address_by(self, choice: Option<&str>) -> Option<String> {
        match choice.map(str::trim).filter(|choice| !choice.is_empty()) {
            None => (self == Self::Published).then(|| PUBLISHED.to_owned()),
            Some("off") => None,
            Some(mirror) => Some(mirror.trim_end_matches('/').to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_build_and_people_download_unless_they_choose() {
        assert_eq!(Origin::Source.address_by(None), None);
        assert_eq!(Origin::Published.address_by(None).as_deref(), Some(PUBLISHED));
        assert_eq!(Origin::Published.address_by(Some("")).as_deref(), Some(PUBLISHED));
        for origin in [Origin::Source, Origin::Published] {
            assert_eq!(origin.address_by(Some("off")), None);
            let mirror = origin.address_by(Some("https://mirror.example/envtest/"));
            assert_eq!(mirror.as_deref(), Some("https://mirror.example/envtest"));
        }
    }
}
