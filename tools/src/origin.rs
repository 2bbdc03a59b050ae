//! Whether what is missing of a control plane is downloaded or built.

use anyhow::{Context as _, Result};

use crate::address::Address;

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
    ///
    /// # Errors
    /// If the environment names one that cannot be read.
    pub(crate) fn address(self) -> Result<Option<Address>> {
        self.address_by(std::env::var(CHOICE).ok().as_deref())
    }

    fn address_by(self, choice: Option<&str>) -> Result<Option<Address>> {
        let address = match choice.map(str::trim).filter(|choice| !choice.is_empty()) {
            None if self == Self::Published => PUBLISHED,
            None | Some("off") => return Ok(None),
            Some(mirror) => mirror,
        };
        Address::read(address).map(Some).with_context(|| format!("reading {CHOICE}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_build_and_people_download_unless_they_choose() {
        let chosen = |origin: Origin, choice: Option<&str>| {
            origin.address_by(choice).unwrap().map(|address| address.to_string())
        };
        assert_eq!(chosen(Origin::Source, None), None);
        assert_eq!(chosen(Origin::Published, None).as_deref(), Some(PUBLISHED));
        assert_eq!(chosen(Origin::Published, Some("")).as_deref(), Some(PUBLISHED));
        for origin in [Origin::Source, Origin::Published] {
            assert_eq!(chosen(origin, Some("off")), None);
            let mirror = chosen(origin, Some("https://al:s3cret@mirror.example/envtest"));
            assert_eq!(mirror.as_deref(), Some("https://mirror.example/envtest"));
            let error = origin.address_by(Some("al:s3cret@mirror.example")).unwrap_err();
            let error = format!("{error:#}");
            assert!(error.starts_with("reading LAPSE_ENVTEST: it is no address"), "{error}");
        }
    }
}
