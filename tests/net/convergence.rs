//! Whatever a crew does in whatever order: once everyone has met everyone, all show the same.
//!
//! Method: three devices do what a seeded dice says, meeting by twos in between, and are compared
//! to the byte at the end. A failure names its seed.

use crate::device::{Device, assert_in_step};
use crate::site::Site;

/// What people do between two meetings.
const ACTS_PER_TURN: u64 = 9;
const TURNS: u64 = 5;

#[test]
fn a_crew_that_worked_apart_in_any_order_shows_the_same_everywhere() {
    let site = Site::new();
    for seed in [1, 2, 3] {
        let names = [1, 2, 3].map(|number| format!("device{seed}{number}"));
        let crew = site.crew([&names[0], &names[1], &names[2]]);
        println!("seed {seed}");
        play(&crew, &mut Dice(seed));
    }
}

fn play(crew: &[Device; 3], dice: &mut Dice) {
    crew[0].well("Alder 1");
    crew[1].meet(&crew[0]);
    crew[2].meet(&crew[0]);
    for _ in 0..TURNS {
        for _ in 0..ACTS_PER_TURN {
            act(&crew[dice.roll(3)], dice);
        }
        let (one, other) = [(0, 1), (1, 2), (2, 0)][dice.roll(3)];
        crew[one].meet(&crew[other]);
    }
    for (one, other) in [(1, 0), (2, 1), (2, 0), (1, 0)] {
        crew[one].meet(&crew[other]);
    }
    assert_in_step(&[&crew[0], &crew[1], &crew[2]]);
    assert!(crew[0].ids("field_entry").len() > 3);
    for collection in ["well", "field_entry"] {
        let full = |device: &Device| device.ok(&["export", collection, "--history"]).stdout;
        let history = full(&crew[0]);
        assert!(crew[1..].iter().all(|device| full(device) == history), "{collection}");
    }
    let deleted = |device: &Device| {
        let mut lines = device.ok(&["--json", "list", "field_entry", "--deleted"]).lines();
        // On how many devices a record is, each device knows for itself.
        for line in &mut lines {
            let safe = line.as_object_mut().and_then(|record| record.remove("safe"));
            assert!(safe.is_some(), "{line}");
        }
        lines
    };
    let expected = deleted(&crew[0]);
    assert!(crew[1..].iter().all(|device| deleted(device) == expected));
}

/// One thing that a person does on a device.
fn act(device: &Device, dice: &mut Dice) {
    let entries = device.ok(&["--json", "list", "field_entry", "--limit", "6"]).lines();
    let at_hand: Vec<&str> = entries.iter().filter_map(|entry| entry["id"].as_str()).collect();
    let number = dice.roll(1_000);
    match (dice.roll(8), at_hand.as_slice()) {
        (0..=2, _) | (_, []) => {
            // The same minute twice is taken; then nothing is recorded.
            let at = crate::device::minute_of_march(number);
            let oil = format!("oilVolume={number}");
            let new = ["field_entry", "wellId=Alder 1", "entryType=PRODUCTION", &oil, "--at", &at];
            let outcome = device.run(&[&["record"], &new[..]].concat());
            assert!(matches!(outcome.code, Some(0 | 6)), "{outcome:#?}");
        }
        (3 | 4, ids) => {
            let field = ["oilVolume", "gasVolume", "runtime"][dice.roll(3)];
            let value = format!("{field}={}", number % 24);
            device.ok(&["edit", ids[dice.roll(ids.len())], &value]);
        }
        (5, ids) => {
            let notes = format!("notes=seen {number} times by {}", device.name);
            device.ok(&["edit", ids[dice.roll(ids.len())], &notes]);
        }
        (6, ids) => {
            let id = ids[dice.roll(ids.len())];
            device.ok(&["delete", id]);
            if dice.roll(2) == 0 {
                device.ok(&["restore-record", id]);
            }
        }
        (_, _) => {
            let latest = ["conflicts", "resolve", "--all", "--take", "latest", "--yes", "--kind"];
            for kind in ["field", "deleted-and-edited"] {
                device.ok(&[&latest[..], &[kind]].concat());
            }
        }
    }
}

/// The same numbers for the same seed.
struct Dice(u64);

impl Dice {
    /// A number below `sides`.
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}
