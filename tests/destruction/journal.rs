//! What programs did to their disk, in the order in which they did it; see `shim.c`.

use std::fs;
use std::path::{Path, PathBuf};

/// Bytes before the two texts of an event.
const HEAD_SIZE: usize = 5 * 8;

/// Something that one process did.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) process: u32,
    pub(crate) deed: Deed,
}

/// What was done. Files have the numbers of the file system; paths are as the program named them.
#[derive(Debug, Clone)]
pub(crate) enum Deed {
    /// A file was made, or emptied at its opening.
    Opened {
        file: u64,
        is_new: bool,
        path: PathBuf,
    },
    Written {
        file: u64,
        offset: u64,
        bytes: Vec<u8>,
    },
    Cut {
        file: u64,
        length: u64,
    },
    /// A file was made durable; it had this length.
    Synced {
        file: u64,
        length: u64,
    },
    /// The names in a folder were made durable.
    FolderSynced {
        path: PathBuf,
    },
    Renamed {
        from: PathBuf,
        to: PathBuf,
    },
    /// A file was given another name beside the one that it has.
    Linked {
        from: PathBuf,
        to: PathBuf,
    },
    /// A file or an empty folder was removed.
    Removed {
        path: PathBuf,
    },
    FolderMade {
        path: PathBuf,
    },
    /// Something was printed on the standard output.
    Said {
        text: String,
    },
}

/// Reads a journal whose writers have ended; the paths become relative to `root`.
pub(crate) fn read(file: &Path, root: &Path) -> Vec<Event> {
    let bytes = fs::read(file).unwrap();
    let mut rest = bytes.as_slice();
    let mut events = Vec::new();
    while rest.len() >= HEAD_SIZE {
        let (head, behind) = rest.split_at(HEAD_SIZE);
        let number = |at: usize| {
            u64::from_ne_bytes(*head[at * 8..].first_chunk().expect("a head has five numbers"))
        };
        let length = |at: usize| usize::try_from(number(at)).unwrap();
        let (first, behind) = behind.split_at(length(3));
        let (second, behind) = behind.split_at(length(4));
        let process = u32::try_from(number(0) & u64::from(u32::MAX)).unwrap();
        let deed = deed(number(0) >> 32, [number(1), number(2)], first, second, root);
        events.push(Event { process, deed });
        rest = behind;
    }
    assert!(rest.is_empty(), "the journal ends in the middle of an event");
    events
}

fn deed(kind: u64, [a, b]: [u64; 2], first: &[u8], second: &[u8], root: &Path) -> Deed {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let path = |bytes| {
        let path = PathBuf::from(text(bytes));
        path.strip_prefix(root).unwrap_or_else(|_| panic!("{} is elsewhere", path.display())).into()
    };
    match kind {
        1 => Deed::Opened { file: a, is_new: b == 1, path: path(first) },
        2 => Deed::Written { file: a, offset: b, bytes: first.to_vec() },
        3 => Deed::Cut { file: a, length: b },
        4 => Deed::Synced { file: a, length: b },
        5 => Deed::FolderSynced { path: path(first) },
        6 => Deed::Renamed { from: path(first), to: path(second) },
        7 => Deed::Removed { path: path(first) },
        8 => Deed::FolderMade { path: path(first) },
        10 => Deed::Linked { from: path(first), to: path(second) },
        9 => Deed::Said { text: text(first) },
        _ => panic!("the journal has an event of kind {kind}"),
    }
}
