//! A disk whose power can be cut: what is durable, what is not so far, and what a cut may leave.
//!
//! Files become durable by their own sync and names by that of their folder, nothing else counts.
//! A rename between two folders is durable as a whole with the first of them that is synced.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::journal::Deed;
use crate::numbers::Numbers;

/// Writes reach the disk in pieces of this size.
const PIECE_SIZE: u64 = 4_096;

/// What a power cut leaves of what nobody has synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// All of it: no power cut, but a kill.
    Everything,
    /// Nothing.
    NothingUnsynced,
    /// Of each write, cut and name, this share of a hundred, wherever it falls.
    SomeUnsynced(usize),
}

impl Cut {
    /// Of a hundred things that nobody has synced, how many are left; nothing where none is.
    fn share(self) -> Option<usize> {
        match self {
            Self::Everything => Some(100),
            Self::NothingUnsynced => None,
            Self::SomeUnsynced(share) => Some(share),
        }
    }
}

/// The disk at one moment.
#[derive(Clone)]
pub(crate) struct Disk {
    nodes: Vec<Node>,
    /// The nodes of the numbers of the file system.
    files: HashMap<u64, usize>,
    /// Changes of names that are not durable, in order.
    names: Vec<Naming>,
}

#[derive(Clone)]
enum Node {
    File(Content),
    Folder { present: BTreeMap<String, usize>, durable: BTreeMap<String, usize> },
}

#[derive(Default, Clone)]
struct Content {
    durable: Bytes,
    unsynced: Vec<Change>,
}

/// Bytes of a file; zeros follow up to the length.
#[derive(Default, Clone)]
struct Bytes {
    written: Vec<u8>,
    length: u64,
}

#[derive(Clone)]
enum Change {
    Write { offset: u64, bytes: Vec<u8> },
    Length(u64),
}

/// A change of names: some are taken away, some are given.
#[derive(Clone)]
struct Naming {
    taken: Option<(usize, String)>,
    given: Option<(usize, String, usize)>,
}

impl Naming {
    fn concerns(&self, folder: usize) -> bool {
        self.taken.as_ref().is_some_and(|(taken, _)| *taken == folder)
            || self.given.as_ref().is_some_and(|(given, ..)| *given == folder)
    }
}

impl Bytes {
    fn read(path: &Path) -> Self {
        let mut written = fs::read(path).unwrap();
        let length = written.len() as u64;
        let used = written.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        written.truncate(used);
        Self { written, length }
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Write { offset, bytes } => {
                let begin = usize::try_from(*offset).unwrap();
                let end = begin + bytes.len();
                self.written.resize(self.written.len().max(end), 0);
                self.written[begin..end].copy_from_slice(bytes);
                self.length = self.length.max(end as u64);
            }
            Change::Length(length) => {
                self.written.truncate(usize::try_from(*length).unwrap());
                self.length = *length;
            }
        }
    }
}

impl Content {
    fn sync(&mut self, length: u64) {
        for change in self.unsynced.drain(..) {
            self.durable.apply(&change);
        }
        // Room that was taken by other means than writing is told by the length alone.
        self.durable.length = self.durable.length.max(length);
    }

    /// What a cut leaves.
    fn left(&self, cut: Cut, numbers: &mut Numbers) -> Bytes {
        let mut left = self.durable.clone();
        let Some(share) = cut.share() else { return left };
        for change in &self.unsynced {
            match change {
                Change::Write { offset, bytes } => {
                    for (begin, piece) in pieces(*offset, bytes) {
                        if numbers.percent(share) {
                            left.apply(&Change::Write { offset: begin, bytes: piece.to_vec() });
                        }
                    }
                    // The length is kept elsewhere than the bytes and may survive without them.
                    if numbers.percent(share / 2) {
                        left.length = left.length.max(offset + bytes.len() as u64);
                    }
                }
                Change::Length(_) if numbers.percent(share) => left.apply(change),
                Change::Length(_) => {}
            }
        }
        left
    }
}

/// A write as the disk does it.
fn pieces(offset: u64, bytes: &[u8]) -> Vec<(u64, &[u8])> {
    let mut pieces = Vec::new();
    let (mut begin, mut rest) = (offset, bytes);
    while !rest.is_empty() {
        let room = usize::try_from(PIECE_SIZE - begin % PIECE_SIZE).unwrap();
        let (piece, behind) = rest.split_at(room.min(rest.len()));
        pieces.push((begin, piece));
        begin += piece.len() as u64;
        rest = behind;
    }
    pieces
}

impl Disk {
    /// A disk on which everything below a folder is durable.
    pub(crate) fn read(folder: &Path) -> Self {
        let mut disk = Self { nodes: Vec::new(), files: HashMap::new(), names: Vec::new() };
        disk.take_in(folder);
        disk
    }

    fn take_in(&mut self, path: &Path) -> usize {
        let found = fs::metadata(path).unwrap();
        let node = self.nodes.len();
        if !found.is_dir() {
            self.files.insert(found.ino(), node);
            let content = Content { durable: Bytes::read(path), unsynced: Vec::new() };
            self.nodes.push(Node::File(content));
            return node;
        }
        self.nodes.push(Node::Folder { present: BTreeMap::new(), durable: BTreeMap::new() });
        let mut names = BTreeMap::new();
        for entry in fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            names.insert(name, self.take_in(&entry.path()));
        }
        self.nodes[node] = Node::Folder { present: names.clone(), durable: names };
        node
    }

    /// Does what a program did.
    pub(crate) fn apply(&mut self, deed: &Deed) {
        match deed {
            Deed::Opened { file, is_new: true, path } => {
                let node = self.make(Node::File(Content::default()), path);
                self.files.insert(*file, node);
            }
            Deed::Opened { file, is_new: false, .. } => self.change(*file, Change::Length(0)),
            Deed::Written { file, offset, bytes } => {
                self.change(*file, Change::Write { offset: *offset, bytes: bytes.clone() });
            }
            Deed::Cut { file, length } => self.change(*file, Change::Length(*length)),
            Deed::Synced { file, length } => self.content(*file).sync(*length),
            Deed::FolderSynced { path } => self.sync_names(path),
            Deed::Renamed { from, to } => {
                let (folder, name) = self.place(from);
                let node = self.present(folder).remove(&name).expect("what is renamed is there");
                let (target, new_name) = self.place(to);
                self.present(target).insert(new_name.clone(), node);
                let taken = Some((folder, name));
                self.names.push(Naming { taken, given: Some((target, new_name, node)) });
            }
            Deed::Linked { from, to } => {
                let (folder, name) = self.place(from);
                let node = self.present(folder)[&name];
                let (target, new_name) = self.place(to);
                self.present(target).insert(new_name.clone(), node);
                self.names.push(Naming { taken: None, given: Some((target, new_name, node)) });
            }
            Deed::Removed { path } => {
                let (folder, name) = self.place(path);
                self.present(folder).remove(&name);
                self.names.push(Naming { taken: Some((folder, name)), given: None });
            }
            Deed::FolderMade { path } => {
                let (present, durable) = (BTreeMap::new(), BTreeMap::new());
                self.make(Node::Folder { present, durable }, path);
            }
            Deed::Said { .. } => {}
        }
    }

    fn make(&mut self, new: Node, path: &Path) -> usize {
        let (folder, name) = self.place(path);
        let node = self.nodes.len();
        self.nodes.push(new);
        self.present(folder).insert(name.clone(), node);
        self.names.push(Naming { taken: None, given: Some((folder, name, node)) });
        node
    }

    fn content(&mut self, file: u64) -> &mut Content {
        match &mut self.nodes[self.files[&file]] {
            Node::File(content) => content,
            Node::Folder { .. } => panic!("a folder was written as a file"),
        }
    }

    fn change(&mut self, file: u64, change: Change) {
        self.content(file).unsynced.push(change);
    }

    fn present(&mut self, folder: usize) -> &mut BTreeMap<String, usize> {
        match &mut self.nodes[folder] {
            Node::Folder { present, .. } => present,
            Node::File(_) => panic!("a file was used as a folder"),
        }
    }

    /// The folder that a path lies in, and its name there.
    fn place(&mut self, path: &Path) -> (usize, String) {
        let name = path.file_name().expect("a path has a name").to_str().unwrap().to_owned();
        let folder = self.folder(path.parent().expect("a path lies in a folder"));
        (folder, name)
    }

    fn folder(&mut self, path: &Path) -> usize {
        path.iter().fold(0, |folder, name| self.present(folder)[name.to_str().unwrap()])
    }

    fn sync_names(&mut self, path: &Path) {
        let folder = self.folder(path);
        let (synced, waiting) =
            std::mem::take(&mut self.names).into_iter().partition(|name| name.concerns(folder));
        self.names = waiting;
        let synced: Vec<Naming> = synced;
        for naming in synced {
            self.make_durable(naming);
        }
    }

    fn make_durable(&mut self, naming: Naming) {
        if let Some((folder, name)) = naming.taken {
            self.durable(folder).remove(&name);
        }
        if let Some((folder, name, node)) = naming.given {
            self.durable(folder).insert(name, node);
        }
    }

    fn durable(&mut self, folder: usize) -> &mut BTreeMap<String, usize> {
        match &mut self.nodes[folder] {
            Node::Folder { durable, .. } => durable,
            Node::File(_) => panic!("a file was used as a folder"),
        }
    }

    /// What is durable of a file.
    pub(crate) fn file(&self, path: &Path) -> Vec<u8> {
        let node = path.iter().fold(0, |folder, name| match &self.nodes[folder] {
            Node::Folder { durable, .. } => durable[name.to_str().unwrap()],
            Node::File(_) => panic!("{} is below a file", path.display()),
        });
        let Node::File(content) = &self.nodes[node] else {
            panic!("{} is a folder", path.display())
        };
        let mut bytes = content.durable.written.clone();
        bytes.resize(usize::try_from(content.durable.length).unwrap(), 0);
        bytes
    }

    /// Writes what a power cut at this moment leaves into an empty folder.
    pub(crate) fn write_what_is_left(&self, folder: &Path, cut: Cut, numbers: &mut Numbers) {
        let mut names: HashMap<usize, BTreeMap<String, usize>> = HashMap::new();
        for (node, folder) in self.nodes.iter().enumerate() {
            if let Node::Folder { durable, .. } = folder {
                names.insert(node, durable.clone());
            }
        }
        if let Some(share) = cut.share() {
            let folder = "names are in folders";
            for naming in self.names.iter().filter(|_| numbers.percent(share)) {
                if let Some((taken, name)) = &naming.taken {
                    names.get_mut(taken).expect(folder).remove(name);
                }
                if let Some((given, name, node)) = &naming.given {
                    names.get_mut(given).expect(folder).insert(name.clone(), *node);
                }
            }
        }
        self.write_node(0, folder, &names, cut, numbers, &mut HashMap::new());
    }

    fn write_node(
        &self,
        node: usize,
        path: &Path,
        names: &HashMap<usize, BTreeMap<String, usize>>,
        cut: Cut,
        numbers: &mut Numbers,
        written: &mut HashMap<usize, PathBuf>,
    ) {
        match &self.nodes[node] {
            Node::File(_) if written.contains_key(&node) => {
                fs::hard_link(&written[&node], path).unwrap();
            }
            Node::File(content) => {
                written.insert(node, path.to_owned());
                let left = content.left(cut, numbers);
                let file = fs::File::create(path).unwrap();
                file.set_permissions(fs::Permissions::from_mode(0o600)).unwrap();
                file.set_len(left.length).unwrap();
                file.write_all_at(&left.written, 0).unwrap();
            }
            Node::Folder { .. } => {
                fs::create_dir_all(path).unwrap();
                for (name, inner) in &names[&node] {
                    self.write_node(*inner, &path.join(name), names, cut, numbers, written);
                }
            }
        }
    }
}
