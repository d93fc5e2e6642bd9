//! Makes a data folder of a backup, or of a chain of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use fieldmesh::Node;
use fieldmesh::api::{Class, Problem, RestoreReport};
use fieldmesh::home::create_private_folder;
use fieldmesh_store::KeyFile;

use super::{ArchiveReader, FileName, Piece, check, read_key};
use crate::accounts;
use crate::data::{DataFolder, Staging};
use crate::problem;
use crate::wire::{Omission, RestoreSummary, RestoredTenant, Teller, told_of};

/// Where photos are laid, and the folder of a home that they get into.
const PHOTOS_FOLDER: &str = "photos";

/// What the files of a chain hold of one tenant.
#[derive(Default)]
struct Held {
    /// The backups of its home: a whole one, then those that go on from it.
    homes: Vec<PathBuf>,
    accounts: bool,
    photos: u64,
}

/// Makes everything that `files` hold in `data`, which has to be empty: all of it or nothing.
///
/// # Errors
///
/// What is in the way, or what is wrong with which file.
pub(crate) async fn restore(
    data: &DataFolder,
    key_file: Option<&Path>,
    files: Vec<PathBuf>,
    tell: Teller,
) -> Result<RestoreSummary, Problem> {
    let key_file = data.key_to_restore(key_file)?;
    let key = read_key(&key_file)?;
    // Nothing is removed or laid out before all of them are known to be whole.
    let checking = blocking(move || {
        let (_, missing) = check(&files, &key)?;
        Ok((files, key, missing))
    });
    let (files, key, missing) = checking.await?;
    let staging = data.stage(&key_file)?;
    let folder = staging.path().to_owned();
    let held = blocking(move || lay_out(&files, &key, &folder)).await?;
    let mut summary = RestoreSummary { tenants: Vec::new(), missing };
    for (tenant, held) in held {
        let mut restored = make(&staging, tenant, held, &tell).await?;
        if let Err(problem) = end_sessions(&staging, &mut restored).await {
            // Of a full disk nobody is to lose people.
            if problem.class != Class::Store {
                return Err(problem);
            }
            let reason = format!("people: {}", problem.detail);
            summary.missing.push(Omission { tenant: restored.short.clone(), reason });
        }
        summary.tenants.push(restored);
    }
    data.install(staging)?;
    Ok(summary)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let working = tokio::task::spawn_blocking(work);
    working.await.map_err(|error| problem::failed(error.to_string()))?
}

/// Lets nobody go on in a session of before; people that cannot be read are left out.
async fn end_sessions(staging: &Staging, restored: &mut RestoredTenant) -> Result<(), Problem> {
    if !restored.people {
        return Ok(());
    }
    let (path, key_file) = (staging.accounts().join(&restored.short), staging.key_file());
    let ended = blocking(move || {
        accounts::end_sessions(&path, &key_file).inspect_err(|_| {
            // A file that stays keeps people from being added.
            let _ = fs::remove_file(&path);
        })
    });
    let ended = ended.await;
    restored.people = ended.is_ok();
    ended
}

async fn make(
    staging: &Staging,
    tenant: String,
    held: Held,
    tell: &Teller,
) -> Result<RestoredTenant, Problem> {
    let home = staging.path().join("tenants").join(&tenant);
    let builder = Node::builder(&home).key_file(staging.key_file()).forward_only();
    let parts = held.homes.clone();
    let made = builder.restore(held.homes, told_of(tell, &tenant)).await;
    let RestoreReport { tenant: name, device, at, entries, unreadable } =
        made.map_err(|error| {
            let problem = error.problem();
            Problem { detail: format!("tenant {tenant}: {}", problem.detail), ..problem }
        })?;
    if unreadable > 0 {
        tracing::warn!(%tenant, unreadable, "entries were not readable when it was backed up");
    }
    for part in parts {
        fs::remove_file(&part).map_err(|error| problem::file(&part, &error))?;
    }
    let photos = staging.path().join(PHOTOS_FOLDER).join(&tenant);
    if photos.exists() {
        let into = home.join(PHOTOS_FOLDER);
        fs::rename(&photos, &into)
            .and_then(|()| File::open(&home)?.sync_all())
            .map_err(|error| problem::file(&into, &error))?;
    }
    let (photos, people) = (held.photos, held.accounts);
    Ok(RestoredTenant { short: tenant, name, device, at, entries, photos, people })
}

/// Lays the files of a chain into `folder`; later ones win.
fn lay_out(
    files: &[PathBuf],
    key: &KeyFile,
    folder: &Path,
) -> Result<BTreeMap<String, Held>, Problem> {
    let mut tenants: BTreeMap<String, Held> = BTreeMap::new();
    for (index, path) in files.iter().enumerate() {
        let mut reader = ArchiveReader::open(path, key)?;
        let mut open: Option<Laid> = None;
        let mut parts: BTreeMap<String, BTreeSet<PathBuf>> = BTreeMap::new();
        while let Some(piece) = reader.next()? {
            match piece {
                Piece::Omitted(_) => {}
                Piece::Bytes(bytes) => open.iter_mut().try_for_each(|laid| laid.write(&bytes))?,
                Piece::File(name) => {
                    open.take().map_or(Ok(()), Laid::close)?;
                    let place = place(folder, index, &name);
                    tenants.entry(name.tenant().into()).or_default().note(&name, &place);
                    note_part(&mut parts, &name, &place);
                    open = Some(Laid::create(place)?);
                }
                Piece::Kept(name, _) => {
                    open.take().map_or(Ok(()), Laid::close)?;
                    let place = place(folder, index, &name);
                    note_part(&mut parts, &name, &place);
                    if !place.exists() {
                        let shown = path.display();
                        return Err(problem::store(format!(
                            "{shown} goes on from a photo that no earlier backup holds"
                        )));
                    }
                }
            }
        }
        open.take().map_or(Ok(()), Laid::close)?;
        for (tenant, parts) in parts {
            remove_parts(&folder.join(PHOTOS_FOLDER).join(tenant), &parts)?;
        }
    }
    sync_folders(folder)?;
    Ok(tenants)
}

/// Notes that a backup knows of a tenant, and of a part of a photo.
fn note_part(parts: &mut BTreeMap<String, BTreeSet<PathBuf>>, name: &FileName, place: &Path) {
    let known = parts.entry(name.tenant().into()).or_default();
    if !name.is_whole() {
        known.insert(place.into());
    }
}

/// Removes parts of photos that a later backup does not know any more.
fn remove_parts(folder: &Path, known: &BTreeSet<PathBuf>) -> Result<(), Problem> {
    let failed = |error: std::io::Error| problem::file(folder, &error);
    if !folder.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some() && !known.contains(&path) {
            fs::remove_file(&path).map_err(failed)?;
        }
    }
    Ok(())
}

/// Where a file of the backup `index` is laid.
fn place(folder: &Path, index: usize, name: &FileName) -> PathBuf {
    match name {
        FileName::Home { tenant } | FileName::More { tenant } => {
            folder.join("homes").join(format!("{tenant}.{index}"))
        }
        FileName::Accounts { tenant } => folder.join("accounts").join(tenant),
        FileName::Photo { tenant, name } => folder.join(PHOTOS_FOLDER).join(tenant).join(name),
    }
}

impl Held {
    fn note(&mut self, name: &FileName, place: &Path) {
        match name {
            FileName::Home { .. } => self.homes = vec![place.into()],
            FileName::More { .. } => self.homes.push(place.into()),
            FileName::Accounts { .. } => self.accounts = true,
            FileName::Photo { .. } => {
                self.photos += u64::from(name.is_whole() && !place.exists());
            }
        }
    }
}

/// A file that is being laid out.
struct Laid {
    path: PathBuf,
    file: File,
}

impl Laid {
    fn create(path: PathBuf) -> Result<Self, Problem> {
        if let Some(folder) = path.parent() {
            create_private_folder(folder).map_err(|error| error.problem())?;
        }
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path).map_err(|error| problem::file(&path, &error))?;
        Ok(Self { path, file })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        self.file.write_all(bytes).map_err(|error| problem::file(&self.path, &error))
    }

    fn close(self) -> Result<(), Problem> {
        self.file.sync_all().map_err(|error| problem::file(&self.path, &error))
    }
}

/// Makes the names in a folder and in those below it durable.
fn sync_folders(folder: &Path) -> Result<(), Problem> {
    let failed = |error: std::io::Error| problem::file(folder, &error);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}
