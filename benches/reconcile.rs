//! Finding the difference of two sets: bytes, turns and processor time against their size.
//!
//! The sets are keys of a year of batches of one collection, in one partition and in four. Each
//! case is run both ways round, because the side that answers says more. The floor is 8 bytes for
//! every batch that is missing on some side: its short id, said once.

mod crew;
#[allow(dead_code, reason = "the tests of the trie use more of it")]
#[path = "../crates/fieldmesh-trie/tests/trie/crew.rs"]
mod year;

use std::error::Error;

use fieldmesh_trie::{Budget, Form, Key, Trie, WireKey, exchange};

use crew::meter::Meter;
use crew::{Size, plot, table};
use year::{Seeded, Year, trie};

/// Bytes of a short id.
const SHORT_ID: usize = 8;
/// Differences spread over the whole set.
const SCATTERED: usize = 1_000;

/// What two sides differ in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pattern {
    Nothing,
    Recent(usize),
    BusyDay,
    Month,
    Scattered,
}

impl Pattern {
    const ALL: [Self; 7] = [
        Self::Nothing,
        Self::Recent(1),
        Self::Recent(100),
        Self::Recent(10_000),
        Self::BusyDay,
        Self::Month,
        Self::Scattered,
    ];

    fn name(self) -> String {
        match self {
            Self::Nothing => "nothing".to_owned(),
            Self::Recent(count) => format!("{count} recent"),
            Self::BusyDay => "100 new, 50 edits each".to_owned(),
            Self::Month => "the last 30 days".to_owned(),
            Self::Scattered => format!("{SCATTERED} scattered"),
        }
    }
}

/// What it took to bring two sides together.
#[derive(Debug, Default)]
struct Taken {
    missing: usize,
    bytes: usize,
    half_trips: usize,
    exchanges: u8,
    micros: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    if crew::is_test() {
        return Ok(());
    }
    let size = Size::asked();
    let counts = size.pick(&[10_000, 100_000, 1_000_000][..], &[10_000, 100_000][..]);
    let mut lines = Vec::new();
    for pattern in Pattern::ALL {
        let columns = ["bytes", "round trips", "exchanges", "cpu us", "floor B", "ratio"];
        table::head(&pattern.name(), &columns)?;
        let [mut values, mut second] = [Vec::new(), Vec::new()];
        for count in counts {
            values.push((*count as f64, measure(*count, 1, pattern)?));
            second.push((*count as f64, measure(*count, 4, pattern)?));
        }
        lines.push(plot::Line { name: pattern.name(), values, second });
    }
    if size == Size::Full {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/reconcile.svg");
        plot::write(path, "Finding a difference (thin: the keys lie in four partitions)", &lines)?;
    }
    Ok(())
}

/// Runs one case both ways round; gives the bytes of the dearer one.
fn measure(count: usize, partitions: usize, pattern: Pattern) -> Result<f64, Box<dyn Error>> {
    let (mut one, mut other) = sides(count, partitions, pattern);
    let (mut one_again, mut other_again) = (one.clone(), other.clone());
    // Nothing is dropped in between: the allocator would tidy up at the cost of the second.
    let taken = [converge(&mut one, &mut other), converge(&mut other_again, &mut one_again)];
    let pair = |of: &dyn Fn(&Taken) -> String| format!("{}/{}", of(&taken[0]), of(&taken[1]));
    let dearer = taken.iter().map(|taken| taken.bytes).max().unwrap_or_default() as f64;
    let floor = SHORT_ID * taken[0].missing;
    table::row(
        &format!("{count} batches, partitions: {partitions}"),
        &[
            &pair(&|taken| taken.bytes.to_string()),
            &pair(&|taken| (taken.half_trips as f64 / 2.0).to_string()),
            &pair(&|taken| taken.exchanges.to_string()),
            &pair(&|taken| format!("{:.0}", taken.micros)),
            &floor,
            &table::ratio(dearer, floor as f64),
        ],
    )?;
    Ok(dearer)
}

/// Two sides that share `count` keys and differ in `pattern`.
fn sides(count: usize, partitions: usize, pattern: Pattern) -> (Trie, Trie) {
    let mut year = Year::new(5, partitions);
    let base = year.work(count);
    let shared = trie(&base, &[]);
    match pattern {
        Pattern::Nothing => (shared.clone(), shared),
        Pattern::Recent(new) => {
            let newer = with(&shared, year.new_entries(new));
            (shared, newer)
        }
        Pattern::BusyDay => {
            let mut day = |seed| {
                year.seeded = Seeded(seed);
                let mut keys = year.new_entries(100);
                keys.extend(year.edits(50));
                with(&shared, keys)
            };
            (day(1), day(2))
        }
        Pattern::Month => (trie(&base[..count - count / 12], &[]), shared),
        Pattern::Scattered => {
            let mut seeded = Seeded(4);
            let mut holes = shared.clone();
            for _ in 0..SCATTERED {
                holes.remove(&base[seeded.below(count)]);
            }
            holes.rehash();
            (holes, shared)
        }
    }
}

fn with(shared: &Trie, keys: Vec<Key>) -> Trie {
    let mut trie = shared.clone();
    trie.extend(keys);
    trie.rehash();
    trie
}

/// Repeats exchanges until both hold the same.
fn converge(one: &mut Trie, other: &mut Trie) -> Taken {
    let mut taken = Taken::default();
    loop {
        taken.exchanges += 1;
        let key = WireKey::new([taken.exchanges; 32], Form::Summed);
        let meter = Meter::start();
        let found = exchange(one, other, &key, Budget::default());
        taken.micros += meter.cost().micros_per(1);
        taken.bytes += found.bytes();
        taken.half_trips += found.half_trips;
        taken.missing += found.first_lacks.len() + found.second_lacks.len();
        one.extend(found.first_lacks);
        other.extend(found.second_lacks);
        if one.root() == other.root() {
            return taken;
        }
    }
}
