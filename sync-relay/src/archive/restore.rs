//! Makes a data folder of a backup, or of a chain of them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use fieldmesh::Node;
use fieldmesh::api::{Problem, RestoreReport};
use fieldmesh::home::create_private_folder;
use fieldmesh_store::KeyFile;
use fieldmesh_store::backup::BackupId;

use super::{ArchiveReader, FileName, Piece, read_key};
use crate::data::{DataFolder, Staging};
use crate::problem;
use crate::wire::{ArchiveCheck, RestoreSummary, RestoredTenant, Teller, told_of};

/// What the files of a chain hold of one tenant.
#[derive(Default)]
struct Held {
    /// The backups of its home: a whole one, then those that go on from it.
    homes: Vec<PathBuf>,
    accounts: bool,
    photos: u64,
}

/// Reads backups to their ends, in order, and says what they hold.
pub(crate) fn check(files: &[PathBuf], key: &KeyFile) -> Result<Vec<ArchiveCheck>, Problem> {
    let mut before = None;
    files.iter().map(|path| checked(path, key, &mut before)).collect()
}

fn checked(
    path: &Path,
    key: &KeyFile,
    before: &mut Option<BackupId>,
) -> Result<ArchiveCheck, Problem> {
    let mut reader = opened(path, key, before)?;
    let mut check = ArchiveCheck {
        file: path.into(),
        at: reader.words().at,
        is_whole: reader.words().base.is_none(),
        tenants: Vec::new(),
        photos: 0,
        bytes: fs::metadata(path).map_err(|error| problem::file(path, &error))?.len(),
    };
    while let Some(piece) = reader.next()? {
        match piece {
            Piece::File(FileName::Home { tenant } | FileName::More { tenant }) => {
                check.tenants.push(tenant);
            }
            Piece::File(FileName::Photo { .. }) => check.photos += 1,
            Piece::File(FileName::Accounts { .. }) | Piece::Bytes(_) | Piece::Kept(..) => {}
        }
    }
    Ok(check)
}

/// Opens a backup that goes on from the one before it.
fn opened(
    path: &Path,
    key: &KeyFile,
    before: &mut Option<BackupId>,
) -> Result<ArchiveReader, Problem> {
    let reader = ArchiveReader::open(path, key)?;
    let reason = match (reader.words().base, *before) {
        (None, None) => None,
        (Some(base), Some(before)) if base == before => None,
        (Some(_), None) => Some("goes on from another backup; name that one before it"),
        (Some(_), Some(_)) => {
            Some("does not go on from the one before; name them as they were made")
        }
        (None, Some(_)) => Some("is whole by itself; name it alone or first"),
    };
    if let Some(reason) = reason {
        return Err(problem::usage(format!("{} {reason}", path.display())));
    }
    *before = Some(reader.id());
    Ok(reader)
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
    let staging = data.stage(key_file)?;
    let key = read_key(&staging.key_file())?;
    let folder = staging.path().to_owned();
    let reading = tokio::task::spawn_blocking(move || {
        // Nothing is laid out before all of them are known to be whole.
        check(&files, &key)?;
        lay_out(&files, &key, &folder)
    });
    let held = reading.await.map_err(|error| problem::failed(error.to_string()))??;
    let mut summary = RestoreSummary { tenants: Vec::new() };
    for (tenant, held) in held {
        summary.tenants.push(make(&staging, tenant, held, &tell).await?);
    }
    data.install(staging)?;
    Ok(summary)
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
    let RestoreReport { tenant: name, device, at, entries } =
        made.map_err(|error| error.problem())?;
    for part in parts {
        fs::remove_file(&part).map_err(|error| problem::file(&part, &error))?;
    }
    let photos = staging.path().join("photos").join(&tenant);
    if photos.exists() {
        let into = home.join("photos");
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
        while let Some(piece) = reader.next()? {
            match piece {
                Piece::Bytes(bytes) => open.iter_mut().try_for_each(|laid| laid.write(&bytes))?,
                Piece::File(name) => {
                    open.take().map_or(Ok(()), Laid::close)?;
                    let place = place(folder, index, &name);
                    tenants.entry(name.tenant().into()).or_default().note(&name, &place);
                    open = Some(Laid::create(place)?);
                }
                Piece::Kept(name, _) => {
                    open.take().map_or(Ok(()), Laid::close)?;
                    let place = place(folder, index, &name);
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
    }
    sync_folders(folder)?;
    Ok(tenants)
}

/// Where a file of the backup `index` is laid.
fn place(folder: &Path, index: usize, name: &FileName) -> PathBuf {
    match name {
        FileName::Home { tenant } | FileName::More { tenant } => {
            folder.join("homes").join(format!("{tenant}.{index}"))
        }
        FileName::Accounts { tenant } => folder.join("accounts").join(tenant),
        FileName::Photo { tenant, name } => folder.join("photos").join(tenant).join(name),
    }
}

impl Held {
    fn note(&mut self, name: &FileName, place: &Path) {
        match name {
            FileName::Home { .. } => self.homes = vec![place.into()],
            FileName::More { .. } => self.homes.push(place.into()),
            FileName::Accounts { .. } => self.accounts = true,
            FileName::Photo { .. } => self.photos += u64::from(!place.exists()),
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
