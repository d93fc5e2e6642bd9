//! Whole conversations: two ends without a network, and what version 1 left on record.

mod changed;
mod cuts;
mod edges;
mod ends;
mod floods;
mod greeting;
mod lanes;
mod once;
mod skew;
mod transcript;
mod version_one;
