//! A backup of a relay's tenants, while they are served.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use fieldmesh::api::{BackupOptions, Problem, Progress};
use tokio::runtime::Handle;

use super::slot::Slot;
use super::{Relay, folder_name};
use crate::accounts;
use crate::archive::{ArchiveWriter, Base, FileName, Words, is_photo, read_key};
use crate::problem;
use crate::wire::{
    ArchiveOptions, ArchiveSummary, ArchivedTenant, BrokenTenant, Step, Teller, told_of,
};

/// What the folder for the backups of homes is called, behind the name of the whole.
const SCRATCH_ENDING: &str = ".parts";
/// The folder of a home with photos.
const PHOTOS_FOLDER: &str = "photos";

impl Relay {
    /// Writes a backup of one tenant or of all, with people and photos, while they are served.
    ///
    /// Each tenant is in it as it is at one moment, and everything that somebody was told is stored
    /// before that is in it. Of people and photos there may be more than the records say.
    ///
    /// # Errors
    ///
    /// The file exists or cannot be written, or the earlier backup does not fit. No file is left
    /// behind then.
    pub(crate) async fn back_up(
        &self,
        options: ArchiveOptions,
        tell: Teller,
    ) -> Result<ArchiveSummary, Problem> {
        let relay = self.clone();
        // It goes on to its end, whether or not who asked for it still waits.
        let work = self.inner.work.spawn(async move {
            let _turn = relay.inner.backing_up.lock().await;
            let (relay, handle) = (relay.clone(), Handle::current());
            let write = move || Task { relay, handle, tell }.write(&options);
            tokio::task::spawn_blocking(write).await
        });
        let written = work.await.and_then(|written| written);
        written.map_err(|error| problem::failed(format!("the backup was not written: {error}")))?
    }
}

/// A backup that is being written; all of it blocks.
struct Task {
    relay: Relay,
    handle: Handle,
    tell: Teller,
}

/// A folder for the backups of homes, until they are in that of the relay.
struct Scratch {
    path: PathBuf,
}

impl Task {
    fn write(&self, options: &ArchiveOptions) -> Result<ArchiveSummary, Problem> {
        let slots = self.relay.chosen(&options.chosen)?;
        let key = read_key(&self.relay.inner.data.key_file())?;
        let scratch = Scratch::create(&options.file)?;
        let base = match &options.since {
            Some(since) => {
                self.say("", format!("checking {}", since.display()));
                Some(Base::read(since, &key, &scratch.path)?)
            }
            None => None,
        };
        let words = Words { at: accounts::now(), base: base.as_ref().map(|base| base.id) };
        let mut writer = ArchiveWriter::begin(&options.file, &key, &words)?;
        let (mut tenants, mut broken) = (Vec::new(), Vec::new());
        if options.chosen.tenant.is_none() {
            broken.extend(self.relay.inner.broken.iter().cloned());
        }
        for slot in &slots {
            match self.handle.block_on(self.relay.inner.tenants.node(slot)) {
                Ok(node) => {
                    let home = self.home(slot, &node, base.as_ref(), &scratch)?;
                    tenants.push(self.add(slot, home, base.as_ref(), &mut writer)?);
                }
                Err(problem) => broken
                    .push(BrokenTenant { folder: folder_name(&slot.home), reason: problem.detail }),
            }
        }
        self.say("", "checking the backup".into());
        let bytes = writer.finish(&key)?;
        let (file, is_whole) = (options.file.clone(), base.is_none());
        Ok(ArchiveSummary { file, at: words.at, bytes, is_whole, tenants, broken })
    }

    /// Writes the backup of a home beside that of the relay.
    fn home(
        &self,
        slot: &Slot,
        node: &fieldmesh::Node,
        base: Option<&Base>,
        scratch: &Scratch,
    ) -> Result<(PathBuf, ArchivedTenant), Problem> {
        let short = slot.tenant.tenant.short();
        let since = base.and_then(|base| base.home(&short)).map(Path::to_owned);
        let file = scratch.path.join(format!("{short}.home"));
        let is_whole = since.is_none();
        let told = told_of(&self.tell, &short);
        let options = BackupOptions { file: file.clone(), since };
        let report = self.handle.block_on(node.backup(options, told)).map_err(|error| {
            let problem = error.problem();
            let detail = format!("tenant {short}: {}", problem.detail);
            Problem { detail, ..problem }
        })?;
        let tenant = ArchivedTenant {
            name: slot.tenant.name.clone(),
            entries: report.entries,
            unreadable: report.unreadable,
            photos: 0,
            people: false,
            is_whole,
            short,
        };
        Ok((file, tenant))
    }

    /// Adds a tenant. Its photos and people come behind its records, which name only those that
    /// were there before them.
    fn add(
        &self,
        slot: &Slot,
        (home, mut archived): (PathBuf, ArchivedTenant),
        base: Option<&Base>,
        writer: &mut ArchiveWriter,
    ) -> Result<ArchivedTenant, Problem> {
        let tenant = archived.short.clone();
        let name = match archived.is_whole {
            true => FileName::Home { tenant: tenant.clone() },
            false => FileName::More { tenant: tenant.clone() },
        };
        writer.add(&name, &mut open(&home)?)?;
        fs::remove_file(&home).map_err(|error| problem::file(&home, &error))?;
        for name in photos(&slot.home.join(PHOTOS_FOLDER))? {
            let path = slot.home.join(PHOTOS_FOLDER).join(&name);
            let name = FileName::Photo { tenant: tenant.clone(), name };
            archived.photos += u64::from(photo(&path, &name, base, writer)?);
        }
        let path = self.relay.inner.data.accounts().join(&tenant);
        if path.exists() {
            writer.add(&FileName::Accounts { tenant }, &mut open(&path)?)?;
            archived.people = true;
        }
        Ok(archived)
    }

    fn say(&self, tenant: &str, text: String) {
        (self.tell)(Step { tenant: tenant.into(), progress: Progress::Note { text } });
    }
}

/// Adds a photo unless an earlier backup holds the very same file; says whether it was added.
fn photo(
    path: &Path,
    name: &FileName,
    base: Option<&Base>,
    writer: &mut ArchiveWriter,
) -> Result<bool, Problem> {
    // Parts go when a photo is whole.
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        file => file.map_err(|error| problem::file(path, &error))?,
    };
    if let Some(known) = base.and_then(|base| base.photo(name)) {
        let hash = hash(&mut file).map_err(|error| problem::file(path, &error))?;
        if hash == known {
            writer.keep(name, hash)?;
            return Ok(false);
        }
        file = open(path)?;
    }
    writer.add(name, &mut file)?;
    Ok(true)
}

fn hash(file: &mut File) -> io::Result<[u8; 32]> {
    let (mut hasher, mut buffer) = (blake3::Hasher::new(), vec![0; 256 * 1024]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(*hasher.finalize().as_bytes()),
            read => hasher.update(&buffer[..read]),
        };
    }
}

/// The names of the photos in a folder, in order.
fn photos(folder: &Path) -> Result<Vec<String>, Problem> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| problem::file(folder, &error))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| problem::file(folder, &error))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.retain(|name| is_photo(name));
    names.sort();
    Ok(names)
}

fn open(path: &Path) -> Result<File, Problem> {
    File::open(path).map_err(|error| problem::file(path, &error))
}

impl Scratch {
    /// The folder beside `file`; what a backup of this name that was cut off left is removed.
    fn create(file: &Path) -> Result<Self, Problem> {
        let mut name = file.file_name().unwrap_or_default().to_owned();
        name.push(SCRATCH_ENDING);
        let path = file.with_file_name(name);
        let made = fs::DirBuilder::new().mode(0o700).create(&path);
        if let Err(error) = made
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            let file = file.display();
            return Err(problem::failed(format!("cannot write the backup {file}: {error}")));
        }
        let scratch = Self { path };
        scratch.clear();
        Ok(scratch)
    }

    /// Removes what backups leave, and nothing else.
    fn clear(&self) {
        let Ok(entries) = fs::read_dir(&self.path) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            let ending = path.extension().unwrap_or_default().to_string_lossy().into_owned();
            if ["home", "base", "part"].contains(&ending.as_str()) {
                // What cannot be removed is refused when it is in the way.
                let _ = fs::remove_file(path);
            }
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.clear();
        // Whatever else somebody has put there stays.
        let _ = fs::remove_dir(&self.path);
    }
}
