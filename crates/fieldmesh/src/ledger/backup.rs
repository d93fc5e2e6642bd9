//! Writes a backup while the home goes on working.

use std::collections::BTreeSet;
use std::io::{BufWriter, Write as _};
use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::time::Duration;

use fieldmesh_store::backup::{BackupId, BackupSummary, BackupWriter};
use fieldmesh_store::{BadFrame, DataKey, Place, ReadError, Replayed};

use crate::api::{BackupOptions, BackupReport, Progress};
use crate::backup::{BUFFER_SIZE, Base, Draft, Opened, PROGRESS_EVERY, Words};
use crate::clock;
use crate::entry::Fact;
use crate::error::Error;
use crate::harm::{Harm, Harmed, Outcome};
use crate::home::Home;

use super::Ledger;
use super::indexes::costs_nothing;

/// How often a backup looks for a moment at which nothing waits for a batch.
const CUT_TRIES: u32 = 100;
/// How long it waits in between.
const CUT_POLL: Duration = Duration::from_millis(20);

/// What a backup is encrypted with.
struct Lock {
    key: DataKey,
    opener: Vec<u8>,
}

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
        let draft = Draft::create(path)?;
        // What is dead for what comes behind the end of the backup is alive in it.
        let _pause = self.upkeep.pause();
        // Also where nothing can be written, as on a full disk: the backup may be for another one.
        if let Err(error) = self.mend() {
            tracing::warn!(%error, "damage is not looked at before the backup");
        }
        let here = self.here_again()?;
        let end = self.cut();
        let (key, opener) = home.key_and_opener()?;
        let lock = Lock { key, opener };
        let base = match &options.since {
            Some(base) => Some(self.base(&lock, base, told)?),
            None => None,
        };
        let words = Words {
            at: clock::now(),
            restores: self.restores()?,
            base,
            identity: self.identity.clone(),
        };
        let (id, summary) = self.write_backup(&lock, &draft, &words, (end, &here), told)?;
        told(Progress::Note { text: "checking the backup".into() });
        Opened::check_opener(draft.path())?;
        let mut written = Opened::with_key(draft.path(), &lock.key)?;
        let checked = written.check(draft.path(), |_| {})?;
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

    /// The end of the log at a moment at which no change of this device waits for a batch.
    ///
    /// A change and its batch on the two sides of the end would be sealed by a home that is made of
    /// the backup once more, in another batch. Where there is no such moment, as on a full disk, it
    /// is as with a copy of a home: both count, and peers tell that the device runs twice.
    fn cut(&self) -> Option<Place> {
        for _ in 0..CUT_TRIES {
            if let Err(error) = self.seal(None) {
                tracing::warn!(%error, "what waits is not sealed before the backup");
                break;
            }
            let desk = self.desk();
            let mut recent = desk.recent.values().flatten();
            if desk.sealing == 0
                && desk.author.unsealed() == 0
                && recent.all(|recent| recent.place.is_some())
            {
                return self.store.end();
            }
            drop(desk);
            std::thread::sleep(CUT_POLL);
        }
        self.store.end()
    }

    /// How often the store has lost something or was put back.
    pub(super) fn restores(&self) -> Result<u64, Error> {
        match self.recall(&Fact::Restores(0))? {
            Some(Fact::Restores(count)) => Ok(count),
            _ => Ok(0),
        }
    }

    /// Checks the backup that another one is to go on from.
    fn base(
        &self,
        lock: &Lock,
        path: &Path,
        told: &mut dyn FnMut(Progress),
    ) -> Result<Base, Error> {
        told(Progress::Note { text: format!("checking {}", path.display()) });
        let mut opened = Opened::base(path, &lock.key)?;
        let is_ours = opened.reader.store() == self.store.id()
            && opened.words.restores == self.restores()?
            && opened.words.identity.device_seed == self.identity.device_seed;
        let summary = opened.check(path, |_| {})?;
        if !is_ours || summary.end > self.store.end() || !self.has_last_of(&opened)? {
            return Err(Error::Usage {
                reason: format!(
                    "{} is of another home, or of this one before it was put back or made smaller; \
                     leave --since out for a whole backup",
                    path.display()
                ),
            });
        }
        Ok(Base { id: opened.reader.id(), end: summary.end })
    }

    /// Whether the last entries of a backup lie here where they lay then: a home that was put back
    /// from a copy has used the same places for something else.
    fn has_last_of(&self, opened: &Opened) -> Result<bool, Error> {
        let mut is_alike = opened.last.is_empty();
        for (place, hash) in &opened.last {
            match self.store.read(*place) {
                Ok(entry) if Opened::hash(&entry) == *hash => is_alike = true,
                Ok(_) => return Ok(false),
                Err(ReadError::NotFound { .. } | ReadError::Damaged { .. }) => {}
                Err(error) => return Err(Error::store(&error)),
            }
        }
        Ok(is_alike)
    }

    fn write_backup(
        &self,
        lock: &Lock,
        draft: &Draft,
        words: &Words,
        (end, here): (Option<Place>, &BTreeSet<u64>),
        told: &mut dyn FnMut(Progress),
    ) -> Result<(BackupId, BackupSummary), Error> {
        let out = BufWriter::with_capacity(BUFFER_SIZE, draft.file());
        let id = self.store.id();
        let mut writer = BackupWriter::begin(out, &lock.key, id, &lock.opener, &words.encode())
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
        let unreadable = self.unreadable(&replayed, after.is_none(), here);
        let (out, summary) = writer.finish(end, unreadable).map_err(|error| draft.failed(error))?;
        out.into_inner()
            .map_err(|error| error.into_error())
            .and_then(|mut file| file.flush())
            .and_then(|()| draft.file().sync_all())
            .map_err(|error| draft.failed(error.into()))?;
        Ok((id, summary))
    }

    /// Where entries lay that nobody lacks: they are here once more at another place, no record needs
    /// them, or the user has given them up.
    fn here_again(&self) -> Result<BTreeSet<u64>, Error> {
        let is_here = |harm: &Harm| match harm.outcome {
            Outcome::Open => harm.what == Harmed::Nothing,
            Outcome::Healed { .. } | Outcome::Settled(_) => true,
        };
        let harms = self.harms()?;
        Ok(harms.iter().filter(|harm| is_here(harm)).map(|harm| harm.place.0).collect())
    }

    /// How many entries are lacking in a backup because they cannot be read, at least; what was
    /// elsewhere before it was begun is not.
    fn unreadable(&self, replayed: &Replayed, is_whole: bool, here: &BTreeSet<u64>) -> u64 {
        let lacking = |places: &Range<u64>| {
            let count = places.end.saturating_sub(places.start);
            count.saturating_sub(here.range(places.clone()).count() as u64)
        };
        let bad = replayed.bad_frames.iter().filter(|bad| !costs_nothing(bad));
        // Of some damage nobody knows how much it hides, only that it does.
        let hidden = |bad: &BadFrame| match bad.sequences.is_empty() {
            true => 1,
            false => lacking(&bad.sequences),
        };
        let found = bad.map(hidden).sum();
        let lost = self.store.report().lost();
        let known = if is_whole { lost.iter().map(lacking).sum() } else { 0 };
        u64::max(known, found)
    }
}
