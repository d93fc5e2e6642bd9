//! Backups of a node's home, and a home of backups.

use std::path::PathBuf;
use std::sync::Arc;

use crate::api::{BackupCheck, BackupOptions, BackupReport, Progress, RestoreReport};
use crate::backup::Opened;
use crate::backup::restore::restore;
use crate::error::Error;

use super::{Builder, Node};

impl Node {
    /// Writes a backup of everything that is durable now, while the node goes on working.
    ///
    /// It is encrypted by the key of the home and opened by what opens the home now; it is read
    /// back before this returns.
    ///
    /// # Errors
    ///
    /// The file exists or cannot be written, or the earlier backup is of another home. No file is
    /// left behind then.
    pub async fn backup(
        &self,
        options: BackupOptions,
        mut progress: impl FnMut(Progress) + Send + 'static,
    ) -> Result<BackupReport, Error> {
        let inner = Arc::clone(&self.inner);
        self.blocking(move |ledger| ledger.backup(&inner.home, &options, &mut progress)).await
    }
}

impl Builder {
    /// Makes a home of a whole backup and of those that go on from it, in order; nothing is made
    /// unless all of them are whole.
    ///
    /// The secret is the one that opened the home when they were written, and opens the new one.
    ///
    /// # Errors
    ///
    /// [`Error::HomeExists`], other files in the folder, [`Error::Locked`], or what is wrong with
    /// which file.
    pub async fn restore(
        self,
        files: Vec<PathBuf>,
        mut progress: impl FnMut(Progress) + Send + 'static,
    ) -> Result<RestoreReport, Error> {
        let work = move || restore(&self.home, &self.unlock, &files, &mut progress);
        tokio::task::spawn_blocking(work).await.map_err(|_| Error::ShuttingDown)?
    }

    /// Reads a backup to its end and checks everything in it; makes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`], or what is wrong with the file.
    pub async fn check_backup(
        self,
        file: PathBuf,
        mut progress: impl FnMut(Progress) + Send + 'static,
    ) -> Result<BackupCheck, Error> {
        let check = move || {
            let mut opened = Opened::with_key(&file, &Opened::key(&file, &self.unlock)?)?;
            let summary = opened.check(&file, |entries| progress(Progress::Backup { entries }))?;
            Ok(BackupCheck {
                tenant: opened.words.identity.tenant_name.clone(),
                device: opened.words.identity.device_name.clone(),
                at: opened.words.at,
                entries: summary.entries,
                unreadable: summary.unreadable,
                is_whole: opened.words.base.is_none(),
                file,
            })
        };
        tokio::task::spawn_blocking(check).await.map_err(|_| Error::ShuttingDown)?
    }
}
