//! What is wrong with this home, and what was done about it.

use crate::api::{DoctorReport, Finding};
use crate::error::Error;
use crate::home::Mended;

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
        report.findings.extend(self.inner.home.mended().iter().map(of_the_home));
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
fn of_the_home(mended: &Mended) -> Finding {
    let found =
        Finding { kind: "home-file".into(), what: mended.what.clone(), ..Finding::default() };
    match &mended.failed {
        None => Finding {
            means: "Nothing is lost: this home keeps two of it.".into(),
            done: "It is written anew from the other one.".into(),
            next: "If it happens again, replace the disk.".into(),
            ..found
        },
        Some(error) => Finding {
            open: true,
            means: "This home keeps two of it, and only the other one is whole: should that be \
                    lost too, nothing opens this home."
                .into(),
            done: format!("It could not be written anew: {error}."),
            next: "Back up to another disk, see to this one, and start once more.".into(),
            ..found
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_could_not_be_written_anew_stays_open() {
        let mended = |failed| Mended { what: "profile was damaged".into(), failed };
        let healed = of_the_home(&mended(None));
        assert!(!healed.open && healed.done.contains("is written anew"), "{healed:?}");
        let open = of_the_home(&mended(Some("the disk is full".into())));
        assert!(open.open && open.done.contains("the disk is full"), "{open:?}");
    }
}
