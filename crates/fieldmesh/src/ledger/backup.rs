//! Writes a backup while the home goes on working.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use fieldmesh_store::Place;
use fieldmesh_store::backup::{BackupError, BackupId, BackupSummary, BackupWriter};

use crate::api::{BackupOptions, BackupReport, Progress};
use crate::backup::{BUFFER_SIZE, Base, Opened, PROGRESS_EVERY, Words};
use crate::clock;
use crate::entry::Fact;
use crate::error::{Error, with_causes};
use crate::home::Home;

use super::Ledger;

impl Ledger {
    /// Writes everything that is durable now to a file that does not exist, or what came after the
    /// backup that `options` name, and reads it back.
    pub(crate) fn backup(
        &self,
        home: &Home,
        options: &BackupOptions,
        told: &mut dyn FnMut(Progress),
    ) -> Result<BackupReport, Error> {
        let path = &options.file;
        if path.exists() {
            return Err(Error::Usage {
                reason: format!("{} exists already; give another name", path.display()),
            });
        }
        // What waits for a batch is safe in the backup as it is; sealed it is smaller, and a device
        // that is restored from it can hand it over at once.
        if let Err(error) = self.seal(None) {
            tracing::warn!(%error, "what waits is not sealed before the backup");
        }
        let end = self.store.end();
        let base = match &options.since {
            Some(base) => Some(self.base(home, base, told)?),
            None => None,
        };
        let draft = Draft::create(path)?;
        let words = Words {
            at: clock::now(),
            restores: self.restores()?,
            base,
            identity: self.identity.clone(),
        };
        let (id, summary) = self.write_backup(home, &draft, &words, end, told)?;
        let (mut written, read) =
            (Opened::with_key(&draft.path, home.keys().current())?, "checking the backup");
        told(Progress::Note { text: read.into() });
        let checked = written.check(&draft.path, |_| {})?;
        if checked != summary || written.reader.id() != id {
            return Err(Error::Backup { reason: "the backup reads otherwise than written".into() });
        }
        let bytes = draft.finish(path)?;
        Ok(BackupReport {
            file: path.clone(),
            at: words.at,
            entries: summary.entries,
            unreadable: summary.unreadable,
            bytes,
            is_whole: base.is_none(),
        })
    }

    /// How often the store has lost something or was put back.
    fn restores(&self) -> Result<u64, Error> {
        match self.recall(&Fact::Restores(0))? {
            Some(Fact::Restores(count)) => Ok(count),
            _ => Ok(0),
        }
    }

    /// Checks the backup that another one is to go on from.
    fn base(
        &self,
        home: &Home,
        path: &Path,
        told: &mut dyn FnMut(Progress),
    ) -> Result<Base, Error> {
        told(Progress::Note { text: format!("checking {}", path.display()) });
        let mut opened = Opened::with_key(path, home.keys().current())?;
        let is_ours = opened.reader.store() == self.store.id()
            && opened.words.restores == self.restores()?
            && opened.words.identity.device_seed == self.identity.device_seed;
        let summary = opened.check(path, |_| {})?;
        // A store that was put back has used places behind that for something else.
        if !is_ours || summary.end > self.store.end() {
            return Err(Error::Usage {
                reason: format!(
                    "{} is of another home, or of this one before it was restored; leave --since \
                     out for a whole backup",
                    path.display()
                ),
            });
        }
        Ok(Base { id: opened.reader.id(), end: summary.end })
    }

    fn write_backup(
        &self,
        home: &Home,
        draft: &Draft,
        words: &Words,
        end: Option<Place>,
        told: &mut dyn FnMut(Progress),
    ) -> Result<(BackupId, BackupSummary), Error> {
        let out = BufWriter::with_capacity(BUFFER_SIZE, &draft.file);
        let opener = home.opener()?;
        let mut writer = BackupWriter::begin(
            out,
            home.keys().current(),
            self.store.id(),
            &opener,
            &words.encode(),
        )
        .map_err(|error| draft.failed(error))?;
        let (id, mut entries, mut failed) = (writer.id(), 0, None);
        let after = words.base.and_then(|base| base.end);
        let replayed = self.store.replay(after, |place, entry| {
            if Some(place) > end {
                return ControlFlow::Break(());
            }
            if let Err(error) = writer.add(place, &entry) {
                failed = Some(error);
                return ControlFlow::Break(());
            }
            entries += 1;
            if entries % PROGRESS_EVERY == 0 {
                told(Progress::Backup { entries });
            }
            ControlFlow::Continue(())
        });
        if let Some(error) = failed {
            return Err(draft.failed(error));
        }
        let replayed = replayed.map_err(|error| Error::store(&error))?;
        let lost = replayed.bad_frames.iter().map(|bad| &bad.sequences);
        let unreadable = lost.map(|lost| lost.end.saturating_sub(lost.start)).sum();
        let (out, summary) = writer.finish(end, unreadable).map_err(|error| draft.failed(error))?;
        out.into_inner()
            .map_err(|error| error.into_error())
            .and_then(|mut file| file.flush())
            .and_then(|()| draft.file.sync_all())
            .map_err(|error| draft.failed(error.into()))?;
        Ok((id, summary))
    }
}

/// A backup that is being written; removed unless it is finished.
struct Draft {
    path: PathBuf,
    file: File,
}

impl Draft {
    fn create(path: &Path) -> Result<Self, Error> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let path = path.with_file_name(name);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path).map_err(|source| Error::File {
            what: format!("cannot write the backup {}", path.display()),
            source,
        })?;
        Ok(Self { path, file })
    }

    fn failed(&self, error: BackupError) -> Error {
        match error {
            BackupError::Io(source) => Error::File {
                what: format!("cannot write the backup {}", self.path.display()),
                source,
            },
            error => Error::Backup { reason: with_causes(&error) },
        }
    }

    /// Gives the backup its name; gives its size.
    fn finish(self, path: &Path) -> Result<u64, Error> {
        let rename = || {
            let size = self.file.metadata()?.len();
            fs::rename(&self.path, path)?;
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
            Ok(size)
        };
        rename().map_err(|error: std::io::Error| self.failed(error.into()))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Once it is finished there is nothing under this name.
        let _ = fs::remove_file(&self.path);
    }
}
