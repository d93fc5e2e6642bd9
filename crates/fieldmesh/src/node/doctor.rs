//! What is wrong with this home, and what was done about it.

use crate::api::{DoctorReport, Finding};
use crate::error::Error;

use super::{Node, notes};

impl Node {
    /// Everything that was found wrong with this home, healed or not, in plain words.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn doctor(&self) -> Result<DoctorReport, Error> {
        let snapshot = self.inner.mesh.snapshot().await.ok_or(Error::ShuttingDown)?;
        let notes = notes::notes(&snapshot, &self.inner.mesh.policy());
        let mut report = self.blocking(move |ledger| ledger.diagnose(notes)).await?;
        report.findings.extend(self.inner.home.mended().iter().map(|line| of_the_home(line)));
        Ok(report)
    }

    /// Gives up what is lost for good, by the word of the user, who has been told of it; gives how
    /// many entries of the log it was.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    pub async fn accept_losses(&self) -> Result<u64, Error> {
        self.blocking(crate::ledger::Ledger::give_up_lost).await
    }
}

/// A file of the home that was lost or damaged.
fn of_the_home(line: &str) -> Finding {
    Finding {
        kind: "home-file".into(),
        what: line.to_owned(),
        means: "Nothing is lost: this home keeps two of it.".into(),
        done: "It is written anew from the other one.".into(),
        next: "If it happens again, replace the disk.".into(),
        ..Finding::default()
    }
}
