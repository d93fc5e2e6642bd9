//! libFuzzer over one decoder, which `FIELDMESH_DECODER` names; `../fuzz` starts it.

#![no_main]
#![allow(dead_code, reason = "the seeds of the ordinary test use the rest")]

#[path = "../../conversation.rs"]
mod conversation;
#[path = "../../decoders.rs"]
mod decoders;
#[path = "../../disk.rs"]
mod disk;
#[path = "../../replica.rs"]
mod replica;

use std::sync::LazyLock;

static RUN: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    // The document gate catches panics of Automerge: only those that get away count.
    drop(std::panic::take_hook());
    let name = std::env::var("FIELDMESH_DECODER").unwrap_or_default();
    let decoder = decoders::DECODERS.into_iter().find(|decoder| decoder.name == name);
    decoder.unwrap_or_else(|| panic!("no decoder is called {name:?}")).run
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (*RUN)(bytes));
