//! Merging: what a remote edit costs, in memory and on records that lie on the disk (S4).
//!
//! The floor is Automerge loading the two changes of a record at once, in memory and on one core.

mod crew;

use std::cell::Cell;
use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::Criterion;
use fieldmesh_document::Document;
use fieldmesh_document::gate::{Origin, judge};

use crew::documents::{self, Pair};
use crew::entries;
use crew::homes::{self, Crew};
use crew::meter::{Meter, per};
use crew::{Size, table};

const IN_MEMORY: usize = 1_000;

fn main() -> Result<(), Box<dyn Error>> {
    if crew::is_test() {
        return Ok(());
    }
    let size = Size::asked();
    let floor = in_memory()?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(on_disk(size.pick(10_000, 1_000), floor))
}

/// Benches the steps in memory; gives the microseconds of the floor.
fn in_memory() -> Result<f64, Box<dyn Error>> {
    let pairs = documents::pairs(&entries::entries(IN_MEMORY, 1))?;
    let mut criterion = Criterion::default().configure_from_args();
    let origin = |pair: &Pair, author| Origin {
        document: pair.id,
        author,
        epoch: documents::epoch(),
        scope: documents::scope(),
        user: documents::user(),
        is_gateway: false,
    };
    let floor = bench(&mut criterion, "merge/floor: load both changes", &pairs, |pair| {
        black_box(documents::load_both(pair)).is_ok()
    });
    let first = bench(&mut criterion, "merge/judge a first change", &pairs, |pair| {
        black_box(judge(&pair.first, &[], &origin(pair, documents::author()))).is_ok()
    });
    let edit = bench(&mut criterion, "merge/judge an edit", &pairs, |pair| {
        black_box(judge(&pair.edit, &[&pair.first], &origin(pair, documents::editor()))).is_ok()
    });
    let view = bench(&mut criterion, "merge/load and read a first change", &pairs, |pair| {
        let document = Document::load(pair.id, [pair.first.as_slice()]);
        document.is_ok_and(|document| black_box(document.view(documents::collection())).is_ok())
    });
    table::head("merge: in memory", &["us", "ratio"])?;
    for (label, micros) in [
        ("floor: load(change 1, change 2)", floor),
        ("judge an edit", edit),
        ("judge a first change", first),
        ("load and read a first change", view),
    ] {
        table::row(label, &[&table::one(micros), &table::ratio(micros, floor)])?;
    }
    Ok(floor)
}

/// Benches `work`, one pair after the other; gives the mean in microseconds.
fn bench(
    criterion: &mut Criterion,
    name: &str,
    pairs: &[Pair],
    work: impl Fn(&Pair) -> bool,
) -> f64 {
    let (time, count) = (Cell::new(Duration::ZERO), Cell::new(0));
    criterion.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| {
            let start = Instant::now();
            for pair in pairs.iter().cycle().take(usize::try_from(iterations).unwrap_or(0)) {
                assert!(work(pair), "a good change is taken");
            }
            let elapsed = start.elapsed();
            time.set(time.get() + elapsed);
            count.set(count.get() + usize::try_from(iterations).unwrap_or(0));
            elapsed
        });
    });
    per(time.get(), count.get())
}

/// S4: both sides hold `count` records on the disk, one edits all of them, the other takes that.
async fn on_disk(count: usize, floor: f64) -> Result<(), Box<dyn Error>> {
    let crew = Crew::found().await?;
    crew.record(&entries::entries(count, 1)).await?;
    let hand = crew.join("hand").await?;
    crew.sync(&hand).await?;
    let (crew, created) = crew.rebuild().await?;
    homes::edit(&hand, &homes::ids(&hand).await?, 1_000.5).await?;
    let meter = Meter::start();
    let peer = crew.sync(&hand).await?;
    crew.settle().await?;
    let synced = meter.cost();
    let (crew, edited) = crew.rebuild().await?;
    let merged = edited.processor.saturating_sub(created.processor);
    let title = format!("merge: S4, {count} edits of records on the disk");
    table::head(&title, &["us cpu/change", "floor us", "ratio"])?;
    for (label, micros) in [
        ("merging alone, from the log", per(merged, count)),
        ("with sending and receiving", synced.micros_per(count)),
        ("on the wall", per(synced.wall, count)),
    ] {
        let ratio = table::ratio(micros, floor);
        table::row(label, &[&table::one(micros), &table::one(floor), &ratio])?;
    }
    let bytes = (peer.bytes_in + peer.bytes_out) as f64 / count as f64;
    let rates = [created.rate(count), edited.rate(2 * count)];
    table::note(&format!(
        "{bytes:.1} bytes a change; the view made anew from the log: {:.0} changes/s without the \
         edits, {:.0} with them",
        rates[0], rates[1]
    ))?;
    hand.shutdown().await?;
    crew.end().await
}
