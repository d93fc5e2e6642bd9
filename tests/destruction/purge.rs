//! A kill, a power cut or a failing disk at any call while records are purged and the home is made
//! small: what was said to be erased is in no file and never comes back, and all else is there.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::account::{Account, held, open, some_of, sound, told, well};
use crate::damage::paths_below;
use crate::day::{Day, Living};
use crate::device::{Device, minute_of_march};
use crate::disk::Cut;
use crate::failing::Failing;
use crate::numbers::Numbers;
use crate::process::skipped;
use crate::round::{Fault, Theme};
use crate::stage::{Stage, WELL, rows};
use crate::tally::{Ending, Tally};

/// Moments that a round tries.
const CUTS: usize = 18;
/// Tries with a disk that fails.
const FAILURES: usize = 8;
/// After so many tries a peer comes that has not heard of the purge.
const PEER_EVERY: usize = 6;
/// Words of a purged record, which are many so that they are found again among the ciphertext.
const WORDS: usize = 160;
/// Bytes of the log by which a piece of it is known again.
const PIECE: usize = 16;
/// The numbers of the records that are purged.
const DOOMED: [usize; 2] = [900, 901];

pub(crate) const THEME: Theme = Theme {
    name: "purge",
    fault: "kill, power cut or failing disk at any call of a purge and of making a home small",
    prepare: |seed| {
        if !Stage::new().has_shim() {
            skipped("recording what is written to a disk needs a C compiler");
            return None;
        }
        Some(Box::new(Purges::new(seed)))
    },
};

struct Purges {
    stage: Stage,
    day: Day,
    /// The ids of the records that are purged.
    doomed: Vec<String>,
    /// All but those.
    kept: Account,
    /// Pieces of the log that they lay in.
    pieces: HashSet<[u8; PIECE]>,
    /// How many events there were when they were said to be erased.
    erased: usize,
}

impl Purges {
    fn new(seed: u64) -> Self {
        let stage = Stage::new();
        let [lead, hand] = stage.crew(8);
        let before = pieces_of(&log_of(&lead.home));
        let file = stage.file("doomed", doomed_rows(&mut Numbers::of(seed, "words", 0)));
        let doomed = lead.ok(&["record", "field_entry", "--from", &file]).words();
        let mut pieces: HashSet<_> =
            pieces_of(&log_of(&lead.home)).difference(&before).copied().collect();
        lead.ok(&["record", "field_entry", "--from", &stage.file("rows", rows(40..46))]);
        lead.meet(&hand);
        let (mut kept, _) = held(&lead).unwrap();
        kept.entries.retain(|id, _| !doomed.contains(id));
        let mut day = Living::begin(&stage, "purge", [(lead.name.clone(), kept.clone())].into());
        let watched = day.watched(&lead);
        assert_eq!(found_in(&lead.home, &pieces).0, pieces);
        let said = watched.ok(&purge(&doomed)).stdout;
        assert!(is_erased(&said), "{said}");
        let erased = day.so_far();
        let written = pieces.len();
        let (left, _) = found_in(&lead.home, &pieces);
        pieces.retain(|piece| !left.contains(piece));
        assert!(written > 20 && pieces.len() * 5 > written * 4, "{} of {written}", pieces.len());
        day.record(&watched, 1);
        watched.ok(&["compact"]);
        day.record(&watched, 1);
        let day = day.end();
        Self { stage, day, doomed, kept, pieces, erased }
    }
}

/// Rows whose notes nobody can compress to nothing.
fn doomed_rows(numbers: &mut Numbers) -> String {
    let mut row = |number: usize| {
        let words: Vec<String> = (0..WORDS).map(|_| format!("{:016x}", numbers.draw())).collect();
        let row = serde_json::json!({
            "wellId": WELL, "entryType": "PRODUCTION", "recordedAt": minute_of_march(number),
            "data": {"oilVolume": number}, "notes": words.join(" "),
        });
        format!("{row}\n")
    };
    DOOMED.map(&mut row).concat()
}

/// The command that purges records.
fn purge(ids: &[String]) -> Vec<&str> {
    let ids = ids.iter().map(String::as_str);
    ["--json", "purge", "--yes"].into_iter().chain(ids).collect()
}

/// Whether a purge said that it has erased everything.
fn is_erased(said: &str) -> bool {
    said.contains("\"erased\":true") && !said.contains("\"erased\":false")
}

fn log_of(home: &Path) -> Vec<PathBuf> {
    let folder = home.join("store/log");
    paths_below(&folder).into_iter().map(|path| folder.join(path)).collect()
}

/// The pieces that some files consist of, but for empty room.
fn pieces_of(files: &[PathBuf]) -> HashSet<[u8; PIECE]> {
    let mut pieces = HashSet::new();
    for file in files {
        pieces.extend(fs::read(file).unwrap().as_chunks().0);
    }
    pieces.remove(&[0; PIECE]);
    pieces
}

/// Which of the pieces stand in the files below `home`, wherever in them, and the last such file.
fn found_in(home: &Path, pieces: &HashSet<[u8; PIECE]>) -> (HashSet<[u8; PIECE]>, PathBuf) {
    // Most places are passed over by their first two bytes.
    let first = |piece: &[u8]| usize::from(piece[0]) << 8 | usize::from(piece[1]);
    let mut may_begin = vec![false; 1 << 16];
    pieces.iter().for_each(|piece| may_begin[first(piece)] = true);
    let (mut found, mut place) = (HashSet::new(), PathBuf::new());
    // The reserve only takes room.
    let is_searched = |path: &PathBuf| home.join(path).is_file() && !path.ends_with("reserve");
    for path in paths_below(home).into_iter().filter(is_searched) {
        let bytes = fs::read(home.join(&path)).unwrap();
        for window in bytes.array_windows::<PIECE>() {
            if may_begin[first(window)] && pieces.contains(window) {
                found.insert(*window);
                place.clone_from(&path);
            }
        }
    }
    (found, place)
}

impl Fault for Purges {
    fn tries(&self) -> usize {
        CUTS + FAILURES
    }

    fn attempt(&self, attempt: usize, numbers: &mut Numbers) -> Result<Tally, String> {
        let world = self.stage.path(&format!("purge-{attempt}"));
        let lead = self.stage.device_in(&world, "lead");
        let (fault, kept, is_said) = if attempt < CUTS {
            let cut = match numbers.below(3) {
                0 => Cut::Everything,
                1 => Cut::NothingUnsynced,
                _ => Cut::SomeUnsynced(*numbers.pick(&[10, 50, 90])),
            };
            let of = self.day.events.len();
            let moment = self.day.moment(numbers);
            self.day.leave(moment, cut, &world, numbers);
            let kept = self.day.acknowledged(moment)["lead"].clone();
            (format!("{cut:?} after {moment} of {of} calls"), kept, moment >= self.erased)
        } else {
            self.day.leave(0, Cut::NothingUnsynced, &world, numbers);
            let failing = Failing::draw(numbers, self.erased);
            let device = failing.on(&self.stage, &lead, &lead.home);
            let command = if numbers.percent(70) { purge(&self.doomed) } else { vec!["compact"] };
            let outcome = sound(device.run(&command))?;
            let fault = format!("`{}` with {failing}", command.join(" "));
            (fault, self.kept.clone(), outcome.code == Some(0) && is_erased(&outcome.stdout))
        };
        let named = |words| format!("{fault}: {words}");
        let ending = self.judge(&lead, &kept, is_said).map_err(named)?;
        if attempt.is_multiple_of(PEER_EVERY) {
            self.meet(&lead, &self.stage.device_in(&world, "hand"), &kept).map_err(named)?;
        }
        let _ = fs::remove_dir_all(&world);
        Ok(Tally::one(ending))
    }
}

impl Purges {
    fn judge(&self, lead: &Device, kept: &Account, is_said: bool) -> Result<Ending, String> {
        if is_said {
            self.must_be_nowhere(lead)?;
        }
        let opened = open(lead)?;
        let ending = opened.ending(kept)?;
        let left: Vec<&String> =
            self.doomed.iter().filter(|id| opened.account.entries.contains_key(*id)).collect();
        if is_said && !left.is_empty() {
            return Err(format!("{left:?} were erased and are back"));
        }
        if left.is_empty() {
            self.must_be_listed(lead)?;
        } else {
            // Each record is purged by an item of its own: what was cut short is done by going on.
            let left: Vec<String> = left.into_iter().cloned().collect();
            let said = well(lead.run(&purge(&left)))?.stdout;
            if !is_erased(&said) {
                return Err(format!("once more, it is not erased: {said}"));
            }
        }
        self.must_be_nowhere(lead)?;
        well(lead.run(&["compact"]))?;
        self.must_be_nowhere(lead)?;
        open(lead)?.ending(kept).map(|later| later.max(ending))
    }

    /// A peer that has the records still brings nothing of them back.
    fn meet(&self, lead: &Device, hand: &Device, kept: &Account) -> Result<(), String> {
        hand.meet(lead);
        for device in [lead, hand] {
            let opened = open(device)?;
            opened.ending(kept)?;
            let has = |id: &&String| opened.account.entries.contains_key(*id);
            let back: Vec<String> = self.doomed.iter().filter(has).cloned().collect();
            if !back.is_empty() {
                return Err(format!("{} has what was purged: {}", device.name, some_of(&back)));
            }
        }
        Ok(())
    }

    fn must_be_nowhere(&self, lead: &Device) -> Result<(), String> {
        let (found, place) = found_in(&lead.home, &self.pieces);
        match found.len() {
            0 => Ok(()),
            count => {
                let of = self.pieces.len();
                Err(format!("{count} of {of} pieces of what was erased: {}", place.display()))
            }
        }
    }

    fn must_be_listed(&self, lead: &Device) -> Result<(), String> {
        let listed = well(lead.run(&["--json", "purge", "--list"]))?;
        match self.doomed.iter().all(|id| listed.stdout.contains(id)) {
            true if is_erased(&listed.stdout) => Ok(()),
            _ => Err(format!("what was purged is not listed as erased: {}", told(&listed))),
        }
    }
}
