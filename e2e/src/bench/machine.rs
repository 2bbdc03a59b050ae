//! The machine that is measured on.

use anyhow::{Context, Result};
use serde::Serialize;

/// What figures depend on.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Machine {
    pub(super) cores: usize,
    pub(super) memory_gib: u64,
    pub(super) system: String,
}

impl Machine {
    /// This one.
    pub(super) fn this() -> Result<Self> {
        let cores = std::thread::available_parallelism().context("counting cores")?.get();
        let memory = std::fs::read_to_string("/proc/meminfo").context("reading the memory")?;
        let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
        Ok(Self { cores, memory_gib: memory_gib(&memory), system: system(&release) })
    }

    pub(super) fn words(&self) -> String {
        format!("{} cores, {} GiB, {}", self.cores, self.memory_gib, self.system)
    }
}

fn memory_gib(meminfo: &str) -> u64 {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = total.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    // What the kernel keeps for itself makes it a little less than what is built in.
    kib.unwrap_or_default().div_ceil(1024 * 1024)
}

fn system(release: &str) -> String {
    let value = |key: &str| {
        let line = release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.map(|value| value.trim_matches('"').to_owned())
    };
    match (value("NAME"), value("VERSION_ID")) {
        (Some(name), Some(version)) => format!("{} {version}", name.trim_end_matches(" GNU/Linux")),
        _ => std::env::consts::OS.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_told_in_a_few_words() {
        let release = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\n";
        let machine = Machine {
            cores: 2,
            memory_gib: memory_gib("MemTotal:       24682468 kB\nMemFree: 1 kB\n"),
            system: system(release),
        };
        assert_eq!(machine.words(), "2 cores, 24 GiB, Debian 12");
        assert_eq!(system(""), std::env::consts::OS);
    }
}
