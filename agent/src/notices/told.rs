//! What was told, kept in memory over a restart of the agent: in one file, which nothing depends on.

use std::collections::BTreeMap;

use super::schedule::Told;
use crate::journal::{read, write};
use crate::places::{Id, Places};

/// What the holders of rights were told.
#[derive(Debug)]
pub struct Memory {
    places: Places,
    told: BTreeMap<String, Told>,
    is_noted: bool,
}

impl Memory {
    /// What an earlier process has noted. Whatever cannot be read was not told.
    #[must_use]
    pub fn read(places: Places) -> Self {
        let told = read(places.told()).ok().flatten().unwrap_or_default();
        Self { places, told, is_noted: true }
    }

    /// What was told of a right.
    #[must_use]
    pub fn of(&self, id: &Id) -> Told {
        self.told.get(&id.to_string()).copied().unwrap_or_default()
    }

    /// Takes down what was told.
    pub fn note(&mut self, id: &Id, told: Told) {
        if self.of(id) != told {
            self.told.insert(id.to_string(), told);
            self.is_noted = false;
        }
    }

    /// Forgets all but these.
    pub fn keep(&mut self, known: &[Id]) {
        let known: Vec<String> = known.iter().map(ToString::to_string).collect();
        let before = self.told.len();
        self.told.retain(|id, _| known.contains(id));
        self.is_noted &= self.told.len() == before;
    }

    /// Writes it, if it is other than it was. What cannot be written is tried again.
    pub fn write(&mut self) {
        if !self.is_noted {
            self.is_noted = write(self.places.told(), &self.told).is_ok();
        }
    }
}
