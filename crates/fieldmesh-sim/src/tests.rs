//! A few days of each plan; `cargo sim` lives through more.

use std::ops::Range;

use super::*;

fn live(name: &str, seeds: Range<u64>) {
    let plan = Plan::named(name).expect("a plan of this name");
    for seed in seeds {
        if let Err(failure) = run(&plan, seed, None) {
            panic!("{failure}");
        }
    }
}

#[test]
fn two_devices_whose_link_is_cut_again_and_again_end_equal() {
    live("pair", 0..6);
}

#[test]
fn more_than_fits_a_window_arrives_in_spite_of_cuts() {
    live("bulk", 0..3);
}

#[test]
fn recent_differences_cost_what_the_design_says() {
    live("recent", 0..4);
}

#[test]
fn a_cut_at_any_byte_loses_nothing() {
    let plan = Plan::named("offsets").expect("a plan of this name");
    for seed in (1..8_000).step_by(131) {
        if let Err(failure) = run(&plan, seed, None) {
            panic!("{failure}");
        }
    }
}

#[test]
fn a_crew_in_which_everything_goes_wrong_ends_equal() {
    live("crew", 0..4);
}

#[test]
fn devices_that_let_old_months_go_lose_nothing_and_get_them_back() {
    live("evicting", 0..2);
    live("evicting", 7..8);
}

#[test]
fn devices_that_meet_only_at_a_relay_end_equal() {
    live("relay", 0..4);
}

#[test]
fn a_line_whose_middle_is_away_at_times_ends_equal() {
    live("line", 0..4);
}

#[test]
fn devices_that_join_during_the_day_end_equal() {
    live("newcomers", 0..4);
    live("latecomers", 0..6);
}

#[test]
fn replayed_messages_change_nothing() {
    live("replay", 0..4);
}

#[test]
fn clocks_that_are_ten_years_off_stop_nothing() {
    live("clocks", 0..4);
}

#[test]
fn what_a_full_disk_refused_arrives_later() {
    live("full-disk", 0..4);
}

#[test]
fn slow_disks_fill_no_memory_and_never_deadlock() {
    live("slow-disk", 0..2);
}

#[test]
fn slow_and_lopsided_links_end_equal() {
    for plan in ["slow-link", "lopsided", "satellite"] {
        live(plan, 0..2);
    }
}

#[test]
fn who_is_not_heard_for_a_while_ends_equal() {
    live("one-way", 0..4);
}

#[test]
fn relays_that_know_different_devices_end_equal() {
    live("relays", 0..3);
}

#[test]
fn nothing_of_one_tenant_reaches_another() {
    live("tenants", 0..3);
}

#[test]
fn honest_replicas_stay_equal_whatever_a_hostile_member_says() {
    live("hostile", 0..6);
}

#[test]
fn records_are_what_plain_sets_say() {
    live("records", 0..4);
}

#[test]
fn devices_and_relays_with_a_part_of_the_data_get_all_of_that_part_and_nothing_else() {
    live("partial", 0..3);
    live("partial-relays", 0..3);
    // Days on which a batch that an exchange had left out stayed away for minutes.
    live("partial-relays", 120..121);
    live("partial-relays", 1_014..1_015);
    live("partial-relays", 1_025..1_026);
}

#[test]
fn devices_of_the_first_version_end_equal() {
    live("old", 0..3);
}

#[test]
fn forks_revocations_and_adoptions_in_any_order_end_in_the_same_state() {
    live("forks", 0..3);
    live("policies", 0..3);
    live("everything", 0..2);
    // A device is revoked while a later batch of it has overtaken an earlier one.
    live("everything", 70_014..70_015);
}

#[test]
fn what_was_purged_is_nowhere_and_all_sets_are_equal_and_verify() {
    let plan = Plan::named("purges").expect("a plan of this name");
    let erased = (0..4).map(|seed| match run(&plan, seed, None) {
        Ok(outcome) => outcome.erased,
        Err(failure) => panic!("{failure}"),
    });
    assert!(erased.sum::<usize>() > 0, "the plan does not try what it is for");
}

#[test]
fn a_relay_with_two_faces_is_reported_and_no_other() {
    live("faces", 0..6);
}

#[test]
fn nothing_is_called_safe_by_the_word_of_a_relay_that_was_put_back_since() {
    live("put-back", 0..6);
    // A device that has not noticed yet that its connection to the relay is gone cannot know.
    live("put-back", 70_017..70_018);
}

#[test]
fn a_critical_batch_overtakes_old_ones_on_a_slow_link() {
    live("urgent", 0..3);
}

#[test]
fn some_changes_lack_their_parents_for_ever_and_block_nothing_else() {
    let plan = Plan::named("records").expect("a plan of this name");
    let orphans = (0..4).map(|seed| run(&plan, seed, None).expect("a good day").orphans);
    assert!(orphans.sum::<usize>() > 0, "the plan does not try what it is for");
}

#[test]
fn a_failing_day_is_shrunk_to_one_that_fails_alike() {
    // Who never meets anybody never knows what others did.
    let mut plan = Plan::named("fifty").expect("a plan of this name");
    for change in ["devices=8", "meetings=0"] {
        plan.set(change).expect("a setting of this name");
    }
    let failure = run(&plan, 1, None).expect_err("a day that fails");
    let smaller = shrink(&failure);
    assert_eq!((smaller.plan.devices, smaller.plan.faults.crashes), ((2, 2), 0));
    assert!(smaller.command().contains("--set devices=2"), "{}", smaller.command());
    let again = run(&smaller.plan, smaller.seed, None).expect_err("a smaller day that fails");
    assert_eq!(again.violation, smaller.violation);
}

#[test]
fn fifty_devices_without_a_relay_end_equal_after_a_day_of_meetings() {
    live("fifty", 0..1);
}

#[test]
fn one_seed_gives_one_trace_and_another_seed_another() {
    for name in ["crew", "hostile", "records"] {
        let plan = Plan::named(name).expect("a plan of this name");
        let day = |seed| run(&plan, seed, None).expect("a good day");
        let (first, again) = (day(7), day(7));
        assert_eq!(first, again);
        assert_eq!(first.next_random, again.next_random);
        assert_ne!(first.trace, day(8).trace);
    }
}

#[test]
fn a_log_does_not_change_the_day() {
    let plan = Plan::named("crew").expect("a plan of this name");
    let mut log = Vec::new();
    let logged = run(&plan, 3, Some(&mut log)).expect("a good day");
    assert_eq!(Ok(logged), run(&plan, 3, None));
    assert!(log.starts_with(b"00:00:0"));
}
