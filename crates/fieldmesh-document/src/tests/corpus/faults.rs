//! Where Automerge itself is at fault: changes kept in `tests/fuzz/corpus/automerge`, which the
//! gate refuses whatever becomes of Automerge.
//!
//! `FIELDMESH_FAULTS=FOLDER` with the ignored test looks for more of them.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Mutex;

use automerge::{Automerge, Change, ReadDoc};

use super::*;

/// The changes that a fault needs before the one that shows it.
type Base = Vec<Vec<u8>>;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus/automerge")
}

/// Whole changes, one behind the other.
fn split(mut bytes: &[u8]) -> Base {
    let mut changes = Vec::new();
    while !bytes.is_empty() {
        let end = (1..=bytes.len()).find(|end| peek(&bytes[..*end]).is_ok()).unwrap();
        changes.push(bytes[..end].to_vec());
        bytes = &bytes[end..];
    }
    changes
}

#[test]
fn what_makes_automerge_fail_is_refused_by_the_gate() {
    let mut files: Vec<_> =
        folder().read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "change"));
    assert!(!files.is_empty());
    for file in files {
        let change = std::fs::read(&file).unwrap();
        let base = split(&std::fs::read(file.with_extension("base")).unwrap());
        let closure: Vec<_> = base.iter().map(Vec::as_slice).collect();
        for author in [1, 2] {
            for number in 0..4 {
                let origin = Origin {
                    author: device(author),
                    user: user(author),
                    is_gateway: false,
                    ..make::document(number, 0)[0].origin
                };
                let verdict = judge(&change, &closure, &origin);
                assert!(verdict.is_err(), "{} passes the gate", file.display());
            }
        }
    }
}

static PANIC: Mutex<String> = Mutex::new(String::new());

/// What happens if the change is applied by Automerge alone.
fn fault(base: &[Vec<u8>], change: &[u8]) -> Option<String> {
    let step = |name: &str, call: &mut dyn FnMut() -> bool| -> Option<String> {
        match catch_unwind(AssertUnwindSafe(call)) {
            Ok(true) => None,
            Ok(false) => Some(format!("{name} fails")),
            Err(_) => Some(format!("{name} panics at {}", PANIC.lock().unwrap())),
        }
    };
    let mut document = Automerge::new();
    document
        .apply_changes(base.iter().map(|one| Change::try_from(one.as_slice()).unwrap()))
        .ok()?;
    let mut decoded = None;
    let found = step("Change::try_from", &mut || {
        decoded = Change::try_from(change).ok();
        true
    });
    let decoded = match (found, decoded) {
        (Some(found), _) => return Some(found),
        (None, None) => return None,
        (None, Some(decoded)) => decoded,
    };
    let mut is_applied = false;
    let found = step("apply_changes", &mut || {
        is_applied = document.apply_changes([decoded.clone()]).is_ok();
        true
    });
    if found.is_some() || !is_applied || !document.get_missing_deps(&[]).is_empty() {
        return found;
    }
    step("reading the document", &mut || {
        drop(document.hydrate(None));
        true
    })
    .or_else(|| {
        step("load of what save wrote", &mut || {
            Automerge::load(&document.save_nocompress())
                .is_ok_and(|again| again.get_heads() == document.get_heads())
        })
    })
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a person says where to put what is found")]
#[ignore = "looks for further faults; FIELDMESH_FAULTS says where to put them"]
fn look_for_faults_of_automerge() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(|at| {
            let file = at.file().rsplit_once("/src/").map_or(at.file(), |(_, file)| file);
            format!("{file}:{}", at.line())
        });
        *PANIC.lock().unwrap() = place.unwrap_or_default();
    }));
    let mut found: BTreeMap<String, (usize, Base, Vec<u8>)> = BTreeMap::new();
    for number in 0..size().div_ceil(SHARE) {
        let made = make::document(number, SHARE);
        let honest: Base = made
            .iter()
            .filter(|filed| filed.kind == Kind::Honest)
            .map(|filed| filed.change.clone())
            .collect();
        for filed in &made {
            // Endless runs take Automerge for ever, which is a fault, and a bomb takes memory.
            if matches!(filed.kind, Kind::Endless | Kind::Bomb | Kind::Oversized) {
                continue;
            }
            let Some(fault) = fault(&honest, &filed.change) else { continue };
            let known = found.entry(fault).or_insert((0, Vec::new(), Vec::new()));
            known.0 += 1;
            if known.2.is_empty() || filed.change.len() < known.2.len() {
                (known.1, known.2) = (honest.clone(), filed.change.clone());
            }
        }
    }
    let folder = std::env::var_os("FIELDMESH_FAULTS").map(PathBuf::from);
    for (number, (fault, (count, mut base, change))) in found.into_iter().enumerate() {
        println!("{count:>6} {fault}");
        let Some(folder) = &folder else { continue };
        // As few changes before it as still show the fault.
        for index in (0..base.len()).rev() {
            let mut less = base.clone();
            less.remove(index);
            if self::fault(&less, &change).as_ref() == Some(&fault) {
                base = less;
            }
        }
        let name = format!("{number:02}");
        std::fs::write(folder.join(format!("{name}.base")), base.concat()).unwrap();
        std::fs::write(folder.join(format!("{name}.change")), change).unwrap();
        std::fs::write(folder.join(format!("{name}.txt")), format!("{fault}\n")).unwrap();
    }
}
