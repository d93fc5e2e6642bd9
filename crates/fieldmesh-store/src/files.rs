//! The seam between the store and a disk: named files that are written, synced and read.
//!
//! [`RealFiles`] is a folder; [`crate::memory::MemoryFiles`] is a disk that can crash and fail.
//! Names are relative to the store's folder and use `/`. Everything here blocks.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs4::FileExt as _;

/// A disk as the store sees it.
pub trait Files: Send + Sync {
    /// Creates a new file and opens it for appending; an existing one is an error.
    fn create(&self, name: &str) -> io::Result<Box<dyn WriteFile>>;

    /// Opens a file for reading.
    fn open(&self, name: &str) -> io::Result<Arc<dyn ReadFile>>;

    /// Cuts a file to `length` and makes that durable, through a handle of its own.
    fn truncate(&self, name: &str, length: u64) -> io::Result<()>;

    /// Makes durable what an earlier process wrote to a file.
    fn sync(&self, name: &str) -> io::Result<()>;

    /// The names of the files in a folder, sorted; none if there is no such folder.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;

    /// The sizes of all files in a folder and in those below it; 0 if there is no such folder.
    fn size_of_folder(&self, folder: &str) -> io::Result<u64>;

    /// Creates a folder unless it is there.
    fn create_folder(&self, folder: &str) -> io::Result<()>;

    /// Renames a file or folder, replacing a file of that name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes creations, renames and removals in a folder durable; `""` is the store's folder.
    fn sync_folder(&self, folder: &str) -> io::Result<()>;

    /// Creates a file of `length` bytes whose blocks are taken from the disk at once.
    fn allocate(&self, name: &str, length: u64) -> io::Result<()>;

    /// The bytes that can still be written.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// A file open for appending.
pub trait WriteFile: Send {
    /// Writes all of `bytes` at the end; after an error an unknown part of it is there.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes everything appended durable; after an error this handle must not be used again.
    fn sync(&mut self) -> io::Result<()>;
}

/// A file open for reading.
pub trait ReadFile: Send + Sync {
    /// Reads up to `buffer.len()` bytes; fewer only at the end of the file.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// The length of the file.
    fn length(&self) -> io::Result<u64>;
}

/// Reads a whole file of at most `length_max` bytes; `None` if there is none.
///
/// # Errors
///
/// Reports what the disk reports; a longer file is [`io::ErrorKind::InvalidData`].
pub fn read_whole(files: &dyn Files, name: &str, length_max: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match files.open(name) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = file.length()?;
    if length > length_max {
        let text = format!("{name} has {length} bytes, limit is {length_max}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    let read = file.read_at(0, &mut bytes)?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

/// Replaces a file in the store's folder durably: a crash leaves the old content or the new.
///
/// # Errors
///
/// Reports what the disk reports; the old content is still there then, or the new already.
pub fn write_whole(files: &dyn Files, name: &str, bytes: &[u8]) -> io::Result<()> {
    let draft = format!("{name}.new");
    match files.remove(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = files.create(&draft)?;
    file.append(bytes)?;
    file.sync()?;
    drop(file);
    files.rename(&draft, name)?;
    files.sync_folder("")?;
    Ok(())
}

/// A folder of a real file system.
#[derive(Debug, Clone)]
pub struct RealFiles {
    folder: PathBuf,
}

impl RealFiles {
    /// Opens a folder, creating it and its parents if they are missing.
    ///
    /// # Errors
    ///
    /// The folder cannot be created or is no folder.
    pub fn open(folder: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = folder.into();
        if !folder.is_dir() {
            std::fs::create_dir_all(&folder)?;
            restrict_to_owner(&folder)?;
            if let Some(parent) = folder.parent().filter(|parent| parent.is_dir()) {
                sync_real_folder(parent)?;
            }
        }
        Ok(Self { folder })
    }

    /// Where the files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.folder.clone() } else { self.folder.join(name) }
    }
}

impl Files for RealFiles {
    fn create(&self, name: &str) -> io::Result<Box<dyn WriteFile>> {
        let file = OpenOptions::new().append(true).create_new(true).open(self.path(name))?;
        Ok(Box::new(RealWriteFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn ReadFile>> {
        Ok(Arc::new(RealReadFile(File::open(self.path(name))?)))
    }

    fn truncate(&self, name: &str, length: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(self.path(name))?;
        file.set_len(length)?;
        file.sync_all()
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        OpenOptions::new().append(true).open(self.path(name))?.sync_all()
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let entries = match std::fs::read_dir(self.path(folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in entries {
            // The store gives no name that is not UTF-8, so such a file is not the store's.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn size_of_folder(&self, folder: &str) -> io::Result<u64> {
        size_of(&self.path(folder))
    }

    fn create_folder(&self, folder: &str) -> io::Result<()> {
        std::fs::create_dir_all(self.path(folder))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path(name))
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        sync_real_folder(&self.path(folder))
    }

    fn allocate(&self, name: &str, length: u64) -> io::Result<()> {
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).open(self.path(name))?;
        file.allocate(length)?;
        file.sync_all()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        fs4::available_space(&self.folder)
    }
}

fn size_of(folder: &Path) -> io::Result<u64> {
    let mut size: u64 = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            match entry.metadata() {
                Ok(found) if found.is_dir() => folders.push(entry.path()),
                Ok(found) => size = size.saturating_add(found.len()),
                // Removed meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(size)
}

struct RealWriteFile(File);

impl WriteFile for RealWriteFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        io::Write::write_all(&mut self.0, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}

struct RealReadFile(File);

impl ReadFile for RealReadFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match read_some(&self.0, offset + filled as u64, &mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

#[cfg(unix)]
fn read_some(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_some(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
}

#[cfg(unix)]
pub(crate) fn sync_real_folder(folder: &Path) -> io::Result<()> {
    let is_here = folder.as_os_str().is_empty();
    File::open(if is_here { Path::new(".") } else { folder })?.sync_all()
}

// Windows writes folder entries through its own journal and cannot open a folder as a file.
#[cfg(windows)]
pub(crate) fn sync_real_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn restrict_to_owner(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))
}

#[cfg(windows)]
fn restrict_to_owner(_folder: &Path) -> io::Result<()> {
    Ok(())
}
