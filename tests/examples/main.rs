//! The examples run to their end. What they show is read by people; that they run is checked here.

#![allow(clippy::unwrap_used, reason = "a test that cannot run its example has failed")]

#[path = "../../examples/custom_collection.rs"]
mod custom_collection;
#[path = "../../examples/live_query.rs"]
mod live_query;
#[path = "../../examples/quickstart.rs"]
mod quickstart;
#[path = "../../examples/relay_in_process.rs"]
mod relay_in_process;
#[path = "../../examples/resolve_a_conflict.rs"]
mod resolve_a_conflict;
#[path = "../../examples/two_crews.rs"]
mod two_crews;

#[test]
fn custom_collection_runs() {
    custom_collection::main().unwrap();
}

#[test]
fn live_query_runs() {
    live_query::main().unwrap();
}

#[test]
fn quickstart_runs() {
    quickstart::main().unwrap();
}

#[test]
fn relay_in_process_runs() {
    relay_in_process::main().unwrap();
}

#[test]
fn resolve_a_conflict_runs() {
    resolve_a_conflict::main().unwrap();
}

#[test]
fn two_crews_runs() {
    two_crews::main().unwrap();
}
