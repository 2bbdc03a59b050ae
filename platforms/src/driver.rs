//! How a right of one kind is given, looked at and taken back, on whichever platform.

/// A right of one kind. `Bench` is what the drivers of a platform work with, `Undo` what they have to know to restore what was.
/// Each step may be done twice, and after a crash at any moment of it.
pub trait Driver<Bench, Undo> {
    /// What will be there, and what was there before and is to be restored at the end. It changes nothing: what it returns is
    /// written down before [`Driver::apply`] is called.
    ///
    /// # Errors
    /// In words, as all of these: they are shown on the request.
    fn prepare(&self, bench: &Bench) -> Result<Undo, String>;

    /// Gives the right.
    ///
    /// # Errors
    /// If it is not there whole.
    fn apply(&self, bench: &Bench, undo: &Undo) -> Result<(), String>;

    /// Whether the right is there.
    ///
    /// # Errors
    /// If nobody can say.
    fn observe(&self, bench: &Bench, undo: &Undo) -> Result<bool, String>;

    /// Takes it back, restores what was there, and verifies that: from then on nothing new can start under it.
    ///
    /// # Errors
    /// If some of it is still there.
    fn revert(&self, bench: &Bench, undo: Option<&Undo>) -> Result<(), String>;

    /// Ends what was started under it, and removes what can go only after that; verifies both.
    ///
    /// # Errors
    /// If something still runs, or is still there.
    fn stop(&self, bench: &Bench, undo: Option<&Undo>) -> Result<(), String>;
}
