//! What is wrong with this home, and what was done about it.

use crate::api::{DoctorReport, Finding};
use crate::clock::minute;
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
        let diagnosed =
            self.blocking(move |ledger| Ok((ledger.diagnose(notes)?, ledger.mended()?)));
        let (mut report, before) = diagnosed.await?;
        let mended = self.inner.home.mended();
        let is_told = |what: &str| mended.iter().any(|mended| mended.what == what);
        let earlier = before.into_iter().filter(|(what, _)| !is_told(what)).map(|(what, at)| {
            of_the_home(&Mended { what: format!("{what}, found at {}", minute(at)), failed: None })
        });
        let found: Vec<Finding> = mended.iter().map(of_the_home).chain(earlier).collect();
        report.open |= found.iter().any(|finding| finding.open);
        report.findings.extend(found);
        report.findings.sort_by_key(|finding| !finding.open);
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
            means: "Nothing is lost: what is in it is kept twice.".into(),
            done: "It is written anew.".into(),
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
    use crate::TenantOptions;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_profile_that_was_mended_by_an_earlier_run_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
        let (node, _) =
            Node::builder(&home).passphrase("one").create_tenant(options).await.unwrap();
        node.shutdown().await.unwrap();
        std::fs::remove_file(home.join("profile")).unwrap();
        for _ in 0..2 {
            let node = Node::builder(&home).passphrase("one").open().await.unwrap();
            let report = node.doctor().await.unwrap();
            let told: Vec<_> = report.findings.iter().filter(|it| it.kind == "home-file").collect();
            assert!(told.len() == 1 && !report.open, "{report:#?}");
            assert!(told[0].what.contains("profile was lost or damaged"), "{told:?}");
            node.shutdown().await.unwrap();
        }
    }

    #[test]
    fn a_file_that_could_not_be_written_anew_stays_open() {
        let mended = |failed| Mended { what: "profile was damaged".into(), failed };
        let healed = of_the_home(&mended(None));
        assert!(!healed.open && healed.done.contains("is written anew"), "{healed:?}");
        let open = of_the_home(&mended(Some("the disk is full".into())));
        assert!(open.open && open.done.contains("the disk is full"), "{open:?}");
    }
}
