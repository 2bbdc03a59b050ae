//! What hosts of all platforms have in common: [`driver`], the trait of their drivers, and [`clock`], when a right is over.

pub mod clock;
pub mod driver;
