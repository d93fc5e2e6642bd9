//! A deterministic world: virtual clock, lossy network, generated crews, reference model, checkers.
//!
//! A [`Plan`] says what kind of day a crew has, a seed says which one. [`run`] lives through it with
//! real replicas, real signatures and an imitated network and disk, compares the end with plain
//! sets, and names the property that does not hold. The same plan and seed give the same trace.

mod author;
mod cable;
mod check;
mod disk;
mod node;
mod office;
mod plan;
mod random;
mod trace;
mod violation;
mod world;

pub use plan::Plan;
pub use trace::TraceHash;
pub use violation::{Failure, Violation};
pub use world::{Outcome, run};

#[cfg(test)]
mod tests {
    //! A few days of each plan; `cargo sim` lives through more.

    use super::*;

    fn live(plan: &Plan, seeds: std::ops::Range<u64>) {
        for seed in seeds {
            if let Err(failure) = run(plan, seed) {
                panic!("{failure}");
            }
        }
    }

    #[test]
    fn two_devices_whose_link_is_cut_again_and_again_end_equal() {
        live(&Plan::pair(), 0..6);
    }

    #[test]
    fn more_than_fits_a_window_arrives_in_spite_of_cuts() {
        live(&Plan::bulk(), 0..3);
    }

    #[test]
    fn recent_differences_cost_what_the_design_says() {
        live(&Plan::recent(), 0..4);
    }

    #[test]
    fn a_crew_in_which_everything_goes_wrong_ends_equal() {
        live(&Plan::crew(), 0..4);
    }

    #[test]
    fn devices_that_meet_only_at_a_relay_end_equal() {
        live(&Plan::relay(), 0..4);
    }

    #[test]
    fn a_line_whose_middle_is_away_at_times_ends_equal() {
        live(&Plan::line(), 0..4);
    }

    #[test]
    fn devices_that_join_during_the_day_end_equal() {
        live(&Plan::newcomers(), 0..4);
    }

    #[test]
    fn replayed_messages_change_nothing() {
        live(&Plan::replay(), 0..4);
    }

    #[test]
    fn one_seed_gives_one_trace_and_another_seed_another() {
        let day = |seed| run(&Plan::crew(), seed).expect("a good day");
        assert_eq!(day(7), day(7));
        assert_ne!(day(7).trace, day(8).trace);
    }
}
