//! The settings of the installation, from the file that the chart mounts.

use std::path::{Path, PathBuf};

use lapse_engine::{Settings, SettingsError};

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsFileError {
    /// The file cannot be read.
    #[error("settings {} cannot be read: {why}; name the file that the chart writes with --settings", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        why: String,
    },
    /// The file is not what the chart writes.
    #[error("settings {}: {why}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and what.
        why: String,
    },
    /// The settings contradict one another.
    #[error("settings {}: {source}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong. Not chained: its text is part of this one's.
        source: Box<SettingsError>,
    },
}

/// Reads and checks the settings.
pub fn read_settings(path: &Path) -> Result<Settings, SettingsFileError> {
    let path = path.to_owned();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            return Err(SettingsFileError::Read { path, why: error.to_string() });
        }
    };
    let settings: Settings = match serde_saphyr::from_str(&text) {
        Ok(settings) => settings,
        Err(error) => {
            return Err(SettingsFileError::Parse { path, why: error.to_string() });
        }
    };
    match settings.validate() {
        Ok(()) => Ok(settings),
        Err(source) => Err(SettingsFileError::Invalid { path, source: Box::new(source) }),
    }
}
