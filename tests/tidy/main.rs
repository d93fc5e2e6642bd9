//! Rules that hold for the whole workspace: layers, purity, the map, pages, packages, files.
//!
//! Goal: what the architecture promises is checked, not remembered. Method: `cargo metadata` and
//! the files themselves; each rule is one test, whose failure says what to do.

mod files;
mod layers;
mod map;
mod packaging;
mod pages;
mod purity;
mod requirements;
mod vendors;
mod workspace;
