//! What a newer program wrote is refused in words, with exit code 7, and not a byte of it changes.
//!
//! Each file gets a higher version as that program would write it, checksums included.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::site::Site;

/// The class of what cannot be opened.
const STORE: Option<i32> = Some(7);
const ADVICE: &str = "a newer fieldmesh wrote it, and nothing was changed; update this program and \
                      try again";
const SEGMENT: &str = "store/log/0000000000000001.log";

/// CRC32 as it stands behind most parts of the formats.
fn crc32(bytes: &[u8]) -> [u8; 4] {
    let step = |crc: u32, _| (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
    let add = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), step);
    (!bytes.iter().fold(u32::MAX, add)).to_be_bytes()
}

/// Raises the version at `at`, and mends the checksum behind `end`.
fn raise(bytes: &mut [u8], at: usize, version: u8, end: usize) {
    bytes[at] = version;
    let checksum = crc32(&bytes[..end]);
    bytes[end..end + 4].copy_from_slice(&checksum);
}

/// Every file of a folder but the lock, which says who held it.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut contents, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().unwrap() != "lock" {
                contents.insert(path.clone(), fs::read(&path).unwrap());
            }
        }
    }
    contents
}

#[test]
fn a_home_of_a_newer_program_is_refused_and_left_alone() {
    let site = Site::new();
    let [lead] = site.crew(["lead"]);
    let id = lead.well("Alder 1");
    let profile = |bytes: &mut Vec<u8>| {
        *bytes = b"fmh3 and whatever that one has to say".to_vec();
        let sum = blake3::hash(bytes);
        bytes.extend(&sum.as_bytes()[..8]);
    };
    let key = |bytes: &mut Vec<u8>| {
        let mut wrapped = bytes.split_off(20);
        let end = wrapped.len() - 4;
        raise(&mut wrapped, 0, 2, end);
        bytes.extend(wrapped);
    };
    let mark = |bytes: &mut Vec<u8>| raise(bytes, 9, 8, 34);
    let segment = |bytes: &mut Vec<u8>| {
        raise(&mut bytes[..80], 9, 5, 76);
        raise(&mut bytes[4096..4176], 9, 5, 76);
    };
    type Change<'a> = &'a dyn Fn(&mut Vec<u8>);
    let cases: [(&str, Change<'_>, u8, u8); 4] = [
        ("profile", &profile, 3, 2),
        ("profile", &key, 2, 1),
        ("store/store", &mark, 8, 7),
        (SEGMENT, &segment, 5, 4),
    ];
    for (name, change, version, reads) in cases {
        let path = lead.home.join(name);
        let good = fs::read(&path).unwrap();
        let mut newer = good.clone();
        change(&mut newer);
        fs::write(&path, &newer).unwrap();
        let before = contents(&lead.home);
        let backup = site.path("never.backup");
        let commands: [&[&str]; 6] = [
            &["list", "well"],
            &["run", "--listen", "127.0.0.1:0", "--no-mdns"],
            &["verify"],
            &["backup", backup.to_str().unwrap()],
            &["rekey"],
            &["record", "well", "name=Birch 2", "apiNumber=42-227-30002", "status=ACTIVE"],
        ];
        let shown = path.display();
        let told =
            format!("{shown} has version {version}, this program reads up to {reads}: {ADVICE}");
        for command in commands {
            let refused = lead.run(command);
            assert_eq!(refused.code, STORE, "{name}: {command:?}: {}", refused.stderr);
            assert_eq!(refused.stderr.trim_end(), format!("error: {told}"), "{command:?}");
            assert!(contents(&lead.home) == before, "{name}: {command:?}");
        }
        let doctor = lead.run(&["doctor"]);
        assert_eq!(doctor.code, STORE, "{name}: {}", doctor.stderr);
        assert!(doctor.stdout.contains(&told), "{name}: {}", doctor.stdout);
        assert!(contents(&lead.home) == before, "{name}: doctor");
        assert!(!backup.exists());
        fs::write(&path, good).unwrap();
        assert_eq!(lead.ids("well"), [id.as_str()]);
    }
    lead.verify();
}

#[test]
fn a_backup_of_a_newer_program_is_refused_and_makes_no_home() {
    let site = Site::new();
    let [lead] = site.crew(["lead"]);
    lead.well("Alder 1");
    let path = site.path("lead.backup");
    let name = path.to_str().unwrap();
    lead.ok(&["backup", name]);
    let mut newer = fs::read(&path).unwrap();
    let end = 14 + u32::from_be_bytes(newer[10..14].try_into().unwrap()) as usize;
    raise(&mut newer, 9, 2, end);
    fs::write(&path, &newer).unwrap();
    let restored = lead.at_home(site.path("restored"));
    let told =
        format!("error: the backup {name} has version 2, this program reads up to 1: {ADVICE}");
    let since = site.path("since.backup");
    for refused in [
        restored.run(&["restore", name]),
        lead.run(&["backup", "--check", name]),
        lead.run(&["backup", since.to_str().unwrap(), "--since", name]),
    ] {
        assert_eq!(refused.code, STORE, "{}", refused.stderr);
        // Some say first what they are checking.
        assert_eq!(refused.stderr.lines().last(), Some(told.as_str()), "{}", refused.title);
    }
    assert!(!restored.home.exists() && !since.exists());
    assert_eq!(fs::read(&path).unwrap(), newer);
}
