//! A backup of a relay's tenants, while they are served.

mod scratch;

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;

use fieldmesh::api::{BackupOptions, BackupReport, Problem, Progress};
use fieldmesh::backup::Draft;
use fieldmesh::{Error, Node};
use fieldmesh_gateway::Gateway;
use tokio::runtime::Handle;

use self::scratch::Scratch;
use super::slot::Slot;
use super::{Relay, folder_name};
use crate::accounts;
use crate::archive::{ArchiveWriter, Base, FileName, Words, is_photo, read_key};
use crate::problem;
use crate::wire::{
    ArchiveOptions, ArchiveSummary, ArchivedTenant, Omission, Step, Teller, told_of,
};

/// The folder of a home with photos.
const PHOTOS_FOLDER: &str = "photos";

impl Relay {
    /// Writes a backup of one tenant or of all, with people and photos, while they are served.
    ///
    /// Each tenant is in it as it is at one moment, and everything that somebody was told is stored
    /// before that is in it. Of people and photos there may be more than the records say. What of a
    /// tenant cannot be read is left out, and the backup says so for good.
    ///
    /// # Errors
    ///
    /// The file exists or cannot be written, the earlier backup cannot be read, or the relay stops.
    /// No file is left behind then.
    pub(crate) async fn back_up(
        &self,
        options: ArchiveOptions,
        tell: Teller,
    ) -> Result<ArchiveSummary, Problem> {
        let relay = self.clone();
        // It goes on to its end, whether or not who asked for it still waits.
        let work = self.inner.work.spawn(async move {
            let Ok(_turn) = relay.inner.backing_up.try_lock() else {
                return Ok(Err(problem::failed("another backup is being written; wait for it")));
            };
            let (relay, handle) = (relay.clone(), Handle::current());
            let write = move || Task { relay, handle, tell }.write(&options);
            tokio::task::spawn_blocking(write).await
        });
        let written = work.await.and_then(|written| written);
        written.map_err(|error| problem::failed(format!("the backup was not written: {error}")))?
    }
}

/// Where a backup is written, and what is in it so far.
struct Written {
    base: Option<Base>,
    scratch: Scratch,
    writer: ArchiveWriter,
    tenants: Vec<ArchivedTenant>,
    missing: Vec<Omission>,
}

/// A backup that is being written; all of it blocks.
struct Task {
    relay: Relay,
    handle: Handle,
    tell: Teller,
}

impl Written {
    fn omit(&mut self, tenant: &str, reason: String) {
        tracing::error!(tenant, reason, "not in the backup");
        self.missing.push(Omission { tenant: tenant.into(), reason });
    }
}

impl Task {
    fn write(&self, options: &ArchiveOptions) -> Result<ArchiveSummary, Problem> {
        let slots = self.relay.chosen(&options.chosen)?;
        let key = read_key(&self.relay.inner.data.key_file())?;
        // Nobody else writes a backup of this name from here on.
        let draft = Draft::create(&options.file).map_err(|error| error.problem())?;
        let scratch = Scratch::create(&options.file)?;
        let base = match &options.since {
            Some(since) => {
                self.say("", format!("checking {}", since.display()));
                Some(Base::read(since, &key, scratch.path())?)
            }
            None => None,
        };
        let is_whole = base.is_none();
        let words = Words { at: accounts::now(), base: base.as_ref().map(|base| base.id) };
        let writer = ArchiveWriter::begin(draft, &options.file, &key, &words)?;
        let (tenants, missing) = (Vec::new(), Vec::new());
        let mut written = Written { base, scratch, writer, tenants, missing };
        if options.chosen.tenant.is_none() {
            for broken in &self.relay.inner.broken {
                written.omit(&broken.folder, broken.reason.clone());
            }
        }
        for slot in &slots {
            self.go_on()?;
            self.tenant(slot, &mut written)?;
        }
        self.go_on()?;
        self.say("", "checking the backup".into());
        let Written { writer, tenants, missing, .. } = written;
        let bytes = writer.finish(&key, &missing)?;
        let file = options.file.clone();
        Ok(ArchiveSummary { file, at: words.at, bytes, is_whole, tenants, missing })
    }

    /// Fails once the relay stops: what cannot be read then is no damage.
    fn go_on(&self) -> Result<(), Problem> {
        match self.relay.inner.stop.is_cancelled() {
            true => Err(problem::failed("the relay is stopping; no backup was written")),
            false => Ok(()),
        }
    }

    /// Adds a tenant, or says why it is not there. Its photos and people come behind its records.
    fn tenant(&self, slot: &Arc<Slot>, written: &mut Written) -> Result<(), Problem> {
        let node = match self.handle.block_on(self.relay.inner.tenants.node(slot)) {
            Ok(node) => node,
            Err(problem) => {
                self.go_on()?;
                written.omit(&folder_name(&slot.home), problem.detail);
                return Ok(());
            }
        };
        let short = slot.tenant.tenant.short();
        let file = written.scratch.path().join(format!("{short}.home"));
        let Some(report) = self.home(&short, &node, &file, written)? else { return Ok(()) };
        let name = match report.is_whole {
            true => FileName::Home { tenant: short.clone() },
            false => FileName::More { tenant: short.clone() },
        };
        written.writer.add(&name, &mut open(&file)?)?;
        fs::remove_file(&file).map_err(|error| problem::file(&file, &error))?;
        let photos = self.photos(slot, &node, written)?;
        let people = self.people(slot, written)?;
        written.tenants.push(ArchivedTenant {
            name: slot.tenant.name.clone(),
            entries: report.entries,
            unreadable: report.unreadable,
            is_whole: report.is_whole,
            short,
            photos,
            people,
        });
        Ok(())
    }

    /// Writes the backup of a home to `file`: what came since the earlier one where that will do,
    /// otherwise all. Gives nothing where the home cannot be read.
    fn home(
        &self,
        short: &str,
        node: &Node,
        file: &Path,
        written: &mut Written,
    ) -> Result<Option<BackupReport>, Problem> {
        let base = written.base.as_ref().and_then(|base| base.home(short));
        let mut since = base.map(Path::to_owned);
        loop {
            let options = BackupOptions { file: file.into(), since: since.clone() };
            let error = match self.handle.block_on(node.backup(options, told_of(&self.tell, short)))
            {
                Ok(report) => return Ok(Some(report)),
                Err(error) => error,
            };
            self.go_on()?;
            let problem = error.problem();
            if matches!(error, Error::File { .. }) {
                // Where the backup of one cannot be written that of the others cannot be either.
                let detail = format!("tenant {short}: {}", problem.detail);
                return Err(Problem { detail, ..problem });
            }
            if since.take().is_none() {
                written.omit(short, problem.detail);
                return Ok(None);
            }
            tracing::info!(tenant = short, reason = problem.detail, "backed up whole");
            let text = "cannot go on from the earlier backup; all of it is backed up";
            self.say(short, text.into());
        }
    }

    /// Adds the photos of a tenant; gives how many of them are whole and new.
    fn photos(&self, slot: &Slot, node: &Arc<Node>, written: &mut Written) -> Result<u64, Problem> {
        let short = slot.tenant.tenant.short();
        let folder = slot.home.join(PHOTOS_FOLDER);
        let names = match photos(&folder) {
            Ok(names) if names.is_empty() => return Ok(0),
            Ok(names) => names,
            Err(problem) => {
                written.omit(&short, format!("photos: {}", problem.detail));
                return Ok(0);
            }
        };
        let gateway = match node.is_gateway() {
            true => match self.handle.block_on(Gateway::open(Node::clone(node))) {
                Ok(gateway) => Some(gateway),
                Err(error) => {
                    self.go_on()?;
                    written.omit(&short, format!("photos: {}", error.problem().detail));
                    return Ok(0);
                }
            },
            false => None,
        };
        let mut count = 0;
        for name in names {
            self.go_on()?;
            let path = folder.join(&name);
            let name = FileName::Photo { tenant: short.clone(), name };
            count += u64::from(photo(&path, &name, gateway.as_ref(), written)?);
        }
        Ok(count)
    }

    /// Adds the people of a tenant; says whether there are any in the backup.
    fn people(&self, slot: &Slot, written: &mut Written) -> Result<bool, Problem> {
        let short = slot.tenant.tenant.short();
        match self.relay.accounts().copy(slot.tenant.tenant) {
            Ok(None) => Ok(false),
            Ok(Some(bytes)) => {
                written.writer.add(&FileName::Accounts { tenant: short }, &mut &bytes[..])?;
                Ok(true)
            }
            Err(problem) => {
                written.omit(&short, format!("people: {}", problem.detail));
                Ok(false)
            }
        }
    }

    fn say(&self, tenant: &str, text: String) {
        (self.tell)(Step { tenant: tenant.into(), progress: Progress::Note { text } });
    }
}

/// Adds a photo unless an earlier backup holds the very same file; says whether one more is there.
/// A file that is not the photo any more never takes the place of one in an earlier backup.
fn photo(
    path: &Path,
    name: &FileName,
    gateway: Option<&Gateway>,
    written: &mut Written,
) -> Result<bool, Problem> {
    let known = written.base.as_ref().and_then(|base| base.photo(name));
    let read = match fs::read(path) {
        // Parts go when a photo is whole.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => Err(error.to_string()),
        Ok(bytes) => Ok(bytes),
    };
    let checked = read.and_then(|bytes| {
        let hash = *blake3::hash(&bytes).as_bytes();
        let is_it = match (known == Some(hash), gateway) {
            (false, Some(gateway)) => is_photo_of(gateway, name, &bytes)?,
            _ => Some(true),
        };
        Ok((bytes, hash, is_it))
    });
    let reason = match checked {
        Ok((_, hash, Some(true))) if known == Some(hash) => {
            written.writer.keep(name, hash)?;
            return Ok(false);
        }
        Ok((bytes, _, Some(true))) => {
            written.writer.add(name, &mut &bytes[..])?;
            return Ok(name.is_whole());
        }
        // A file without its note is nothing.
        Ok((_, _, None)) => return Ok(false),
        Ok((_, _, Some(false))) => "is damaged".into(),
        Err(reason) => reason,
    };
    let kept = if known.is_some() { "; that of the earlier backup stays" } else { "" };
    written.omit(name.tenant(), format!("{}: {reason}{kept}", path.display()));
    if let Some(known) = known {
        written.writer.keep(name, known)?;
    }
    Ok(false)
}

/// Whether these bytes are a photo of the gateway; of parts nobody knows.
fn is_photo_of(gateway: &Gateway, name: &FileName, bytes: &[u8]) -> Result<Option<bool>, String> {
    match name {
        FileName::Photo { name: id, .. } if name.is_whole() => {
            gateway.is_photo(id, bytes).map_err(|error| error.problem().detail)
        }
        _ => Ok(Some(true)),
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use fieldmesh_store::KeyFile;

    use super::*;
    use crate::data::DataFolder;
    use crate::relay::Quotas;
    use crate::wire::Chosen;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_relay_that_stops_gives_no_name_to_half_a_backup() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataFolder::take(&folder.path().join("data")).unwrap();
        KeyFile::create(&data.key_file()).unwrap();
        let relay = Relay::open(data, None, 1, BTreeMap::new(), Quotas::default()).await.unwrap();
        let options = |name: &str| ArchiveOptions {
            file: folder.path().join(name),
            since: None,
            chosen: Chosen::default(),
        };
        relay.back_up(options("before"), Arc::new(|_| {})).await.unwrap();
        relay.inner.stop.cancel();
        let refused = relay.back_up(options("after"), Arc::new(|_| {})).await.unwrap_err();
        assert!(refused.detail.contains("stopping"), "{}", refused.detail);
        let mut left: Vec<_> = fs::read_dir(folder.path()).unwrap().flatten().collect();
        left.retain(|entry| entry.file_name() != "data");
        assert_eq!(left.len(), 1, "{left:?}");
    }
}
