//! A backup gives back what was put into it, or says that it cannot.

use fieldmesh_model::StoreId;
use fieldmesh_store::backup::{BackupReader, BackupWriter, RestoreError, SealedBackup};
use fieldmesh_store::{DataKey, Entry, Options, Place, Store};

const STORE: StoreId = StoreId::from_bytes([5; 16]);

fn key() -> DataKey {
    DataKey::from_bytes([7; 32])
}

fn entries(count: u64, size: usize) -> Vec<(Place, Entry)> {
    let entry = |at: u64| {
        // What does not repeat, so that blocks do not become small.
        let mut bytes = vec![0; size];
        blake3::Hasher::new().update(&at.to_be_bytes()).finalize_xof().fill(&mut bytes);
        (Place(at * 3), Entry { kind: u8::try_from(at % 5).unwrap(), bytes })
    };
    (0..count).map(entry).collect()
}

fn written(entries: &[(Place, Entry)]) -> Vec<u8> {
    let mut writer = BackupWriter::begin(Vec::new(), &key(), STORE, b"opener", b"words").unwrap();
    for (place, entry) in entries {
        writer.add(*place, entry).unwrap();
    }
    let end = entries.last().map(|(place, _)| *place);
    writer.finish(end, 0).unwrap().0
}

fn unlocked(bytes: &[u8]) -> Result<BackupReader<&[u8]>, RestoreError> {
    SealedBackup::open(bytes)?.unlock(&key())
}

fn read(bytes: &[u8]) -> Result<Vec<(Place, Entry)>, RestoreError> {
    let mut reader = unlocked(bytes)?;
    assert_eq!((reader.words(), reader.store()), (&b"words"[..], STORE));
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        entries.push(entry);
    }
    let summary = reader.summary().unwrap();
    assert_eq!(summary.entries, entries.len() as u64);
    Ok(entries)
}

#[test]
fn what_was_put_in_comes_out() {
    for (count, size) in [(0, 0), (1, 0), (3, 10), (40, 100_000), (2, 3_000_000)] {
        let expected = entries(count, size);
        assert_eq!(read(&written(&expected)).unwrap(), expected, "{count} of {size}");
    }
}

#[test]
fn a_backup_with_one_flipped_bit_is_never_taken_for_whole() {
    let bytes = written(&entries(5, 40));
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        let error = read(&damaged).unwrap_err();
        assert!(!matches!(error, RestoreError::Io(_)), "byte {at}: {error}");
    }
}

#[test]
fn a_backup_that_was_cut_anywhere_says_so() {
    let bytes = written(&entries(25, 100_000));
    let ends = (0..bytes.len()).step_by(9_973).chain(bytes.len() - 200..bytes.len());
    for end in ends.chain(0..200) {
        let error = read(&bytes[..end]).unwrap_err();
        let is_told = matches!(error, RestoreError::NotABackup | RestoreError::CutShort { .. });
        assert!(is_told, "cut at {end}: {error}");
    }
    let longer = [&bytes[..], b"x"].concat();
    assert!(read(&longer).is_err());
}

/// No more is allocated than there are bytes, whatever a length says.
#[test]
fn lengths_that_no_backup_has_are_damage() {
    let bytes = written(&entries(5, 40));
    let header = 14 + u32::from_be_bytes(bytes[10..14].try_into().unwrap()) as usize + 4;
    for (at, length) in [(10, u32::MAX), (10, 70_000), (header, u32::MAX), (header, 18_000_000)] {
        let mut huge = bytes.clone();
        huge[at..at + 4].copy_from_slice(&length.to_be_bytes());
        assert!(matches!(read(&huge), Err(RestoreError::Damaged { .. })), "{length} at {at}");
    }
    let mut longer = bytes.clone();
    longer[header..header + 4].copy_from_slice(&17_000_000_u32.to_be_bytes());
    assert!(matches!(read(&longer), Err(RestoreError::CutShort { .. })));
}

#[test]
fn blocks_cannot_change_places_or_be_taken_from_another_backup() {
    let (one, other) = (written(&entries(25, 100_000)), written(&entries(26, 100_000)));
    let blocks = |bytes: &[u8]| {
        let header = u32::from_be_bytes(bytes[10..14].try_into().unwrap()) as usize;
        let (mut at, mut cuts) = (14 + header + 4, Vec::new());
        while at < bytes.len() {
            let length = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
            cuts.push(at..at + 4 + length);
            at += 4 + length;
        }
        cuts
    };
    let cuts = blocks(&one);
    assert!(cuts.len() > 4);
    let order = |order: &[usize]| {
        let mut bytes = one[..cuts[0].start].to_vec();
        for index in order {
            bytes.extend(&one[cuts[*index].clone()]);
        }
        bytes
    };
    let all: Vec<usize> = (0..cuts.len()).collect();
    assert!(read(&order(&all)).is_ok());
    let mut swapped = all.clone();
    swapped.swap(1, 2);
    assert!(matches!(read(&order(&swapped)), Err(RestoreError::Damaged { .. })));
    let mut without = all.clone();
    without.remove(1);
    assert!(matches!(read(&order(&without)), Err(RestoreError::Damaged { .. })));
    let mut twice = all;
    twice.insert(1, 1);
    assert!(matches!(read(&order(&twice)), Err(RestoreError::Damaged { .. })));
    let foreign = blocks(&other);
    let mut mixed = one[..cuts[1].start].to_vec();
    mixed.extend(&other[foreign[1].clone()]);
    mixed.extend(&one[cuts[1].end..]);
    assert!(matches!(read(&mixed), Err(RestoreError::Damaged { .. })));
}

#[test]
fn another_key_another_file_and_a_newer_version_are_told_apart() {
    let bytes = written(&entries(1, 10));
    let sealed = SealedBackup::open(&bytes[..]).unwrap();
    assert_eq!(sealed.opener(), b"opener");
    let wrong = sealed.unlock(&DataKey::from_bytes([8; 32]));
    assert!(matches!(wrong, Err(RestoreError::WrongKey)));
    let mut newer = bytes.clone();
    newer[9] = 2;
    let flipped = SealedBackup::open(&newer[..]);
    assert!(matches!(flipped, Err(RestoreError::Damaged { offset: 0, .. })));
    let end = 14 + usize::try_from(u32::from_be_bytes(newer[10..14].try_into().unwrap())).unwrap();
    let checksum = crc32fast::hash(&newer[..end]).to_be_bytes();
    newer[end..end + 4].copy_from_slice(&checksum);
    let newer = SealedBackup::open(&newer[..]);
    assert!(matches!(newer, Err(RestoreError::NewerVersion { version: 2 })));
    let other = SealedBackup::open(&b"PK\x03\x04 something else entirely"[..]);
    assert!(matches!(other, Err(RestoreError::NotABackup)));
}

#[test]
fn a_store_made_in_the_place_of_another_keeps_its_id_and_no_store_is_made_twice() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { reserve_bytes: 0, ..Options::default() };
    let store = Store::create_as(folder.path(), &key(), &options, STORE).unwrap();
    assert_eq!(store.id(), STORE);
    assert!(!store.report().past_is_uncertain());
    store.append(vec![Entry { kind: 1, bytes: vec![1] }]).unwrap();
    store.close().unwrap();
    assert!(Store::create_as(folder.path(), &key(), &options, STORE).is_err());
    assert_eq!(Store::open(folder.path(), &key(), &options).unwrap().id(), STORE);
}
