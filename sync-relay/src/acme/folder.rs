//! What a relay keeps of its dealings with an authority.
//!
//! ```text
//! data/acme/account       its account there, with the key of that, as JSON
//! data/acme/certificate   the certificate that it has, with the key of that, as JSON
//! ```
//!
//! Each is replaced whole, so that a certificate never stands beside the key of another one. Both
//! can be obtained anew: what cannot be used is told and done without.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use fieldmesh::api::Problem;
use instant_acme::AccountCredentials;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::data::write_whole;
use crate::problem;
use crate::settings::AcmeSettings;

const ACCOUNT_FILE: &str = "account";
const CERTIFICATE_FILE: &str = "certificate";
/// What is written and removed again, to find out whether the disk takes anything.
const TRIAL_FILE: &str = "trial";
/// More than a certificate and its key.
const TRIAL_SIZE: usize = 64 * 1024;
/// The largest file that is read; answers of an authority are no larger.
const FILE_SIZE_MAX: u64 = 2 << 20;
const VERSION: u32 = 1;

/// The folder of all that.
#[derive(Debug)]
pub(super) struct AcmeFolder {
    path: PathBuf,
}

/// An account with an authority.
#[derive(Serialize, Deserialize)]
pub(super) struct KeptAccount {
    version: u32,
    /// The authority.
    pub(super) directory: String,
    /// Whom it may write to.
    pub(super) contact: Option<String>,
    /// The name of the account there, and its key.
    pub(super) credentials: AccountCredentials,
}

/// A certificate that an authority issued.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct KeptCertificate {
    version: u32,
    directory: String,
    domains: BTreeSet<String>,
    /// The certificate and those of its issuers, in PEM.
    pub(super) chain: String,
    /// Its key, in PEM.
    pub(super) key: String,
}

impl KeptAccount {
    pub(super) fn new(settings: &AcmeSettings, credentials: AccountCredentials) -> Self {
        Self {
            version: VERSION,
            directory: settings.directory.clone(),
            contact: settings.contact.clone(),
            credentials,
        }
    }
}

impl KeptCertificate {
    pub(super) fn new(settings: &AcmeSettings, chain: String, key: String) -> Self {
        let AcmeSettings { domains, directory, .. } = settings.clone();
        Self { version: VERSION, directory, domains, chain, key }
    }

    /// Whether it is from this authority, for just these names.
    pub(super) fn is_as_wanted(&self, settings: &AcmeSettings) -> bool {
        self.directory == settings.directory && self.domains == settings.domains
    }
}

impl AcmeFolder {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The account, where there is one.
    pub(super) fn account(&self) -> Result<Option<KeptAccount>, Problem> {
        read(&self.path.join(ACCOUNT_FILE))
    }

    pub(super) fn keep_account(&self, account: &KeptAccount) -> Result<(), Problem> {
        self.keep(ACCOUNT_FILE, account)
    }

    /// The certificate, where there is one.
    pub(super) fn certificate(&self) -> Result<Option<KeptCertificate>, Problem> {
        read(&self.path.join(CERTIFICATE_FILE))
    }

    pub(super) fn keep_certificate(&self, certificate: &KeptCertificate) -> Result<(), Problem> {
        self.keep(CERTIFICATE_FILE, certificate)
    }

    /// Fails where the disk would not take what is to be obtained: authorities count what they
    /// issue, so nothing is asked for that could not be kept.
    pub(super) fn try_disk(&self) -> Result<(), Problem> {
        let path = self.path.join(TRIAL_FILE);
        self.make()?;
        write_whole(&path, &[b' '; TRIAL_SIZE])
            .and_then(|()| fs::remove_file(&path))
            .map_err(|error| problem::file(&path, &error))
    }

    fn keep(&self, name: &str, what: &impl Serialize) -> Result<(), Problem> {
        let path = self.path.join(name);
        let bytes = serde_json::to_vec(what)
            .map_err(|error| problem::failed(format!("{}: {error}", path.display())))?;
        self.make()?;
        write_whole(&path, &bytes).map_err(|error| problem::file(&path, &error))
    }

    fn make(&self) -> Result<(), Problem> {
        fieldmesh::home::create_private_folder(&self.path).map_err(|error| error.problem())
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Problem> {
    let unusable = |error: io::Error| problem::file(path, &error);
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(unusable)?,
    };
    if file.metadata().map_err(unusable)?.mode() & 0o077 != 0 {
        return Err(problem::store(format!(
            "{} can be read by others, so its key is of no use any more",
            path.display()
        )));
    }
    let mut bytes = Vec::new();
    file.take(FILE_SIZE_MAX).read_to_end(&mut bytes).map_err(unusable)?;
    match serde_json::from_slice(&bytes) {
        Ok(what) => Ok(Some(what)),
        // What is wrong with it is not told: that could quote a key.
        Err(_) => Err(problem::store(format!("{} is damaged", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn settings(domain: &str) -> AcmeSettings {
        AcmeSettings {
            domains: BTreeSet::from([domain.to_owned()]),
            directory: "https://acme.example/directory".into(),
            contact: None,
            roots: None,
        }
    }

    #[test]
    fn a_certificate_is_kept_for_its_owner_alone_and_damage_is_found() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = AcmeFolder::new(temporary.path().join("acme"));
        assert!(folder.certificate().unwrap().is_none());
        let wanted = settings("a.example");
        folder.try_disk().unwrap();
        let certificate = KeptCertificate::new(&wanted, "chain".into(), "secret".into());
        folder.keep_certificate(&certificate).unwrap();
        let read = folder.certificate().unwrap().unwrap();
        assert_eq!((read.chain.as_str(), read.key.as_str()), ("chain", "secret"));
        assert!(read.is_as_wanted(&wanted) && !read.is_as_wanted(&settings("b.example")));
        let other = AcmeSettings { directory: "https://other.example".into(), ..wanted };
        assert!(!read.is_as_wanted(&other));

        let path = temporary.path().join("acme/certificate");
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);

        let bytes = fs::read(&path).unwrap();
        for damaged in [&bytes[..bytes.len() / 2], b"", b"\xff\0", b"{}", b"[\"secret\"]"] {
            fs::write(&path, damaged).unwrap();
            let told = folder.certificate().err().unwrap().detail;
            assert!(told.contains("is damaged") && !told.contains("secret"), "{told}");
        }
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let told = folder.certificate().err().unwrap().detail;
        assert!(told.contains("can be read by others"), "{told}");
    }

    #[test]
    fn a_disk_that_takes_nothing_is_found_before_anything_is_obtained() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = AcmeFolder::new(temporary.path().join("acme"));
        folder.make().unwrap();
        let full = temporary.path().join("acme/trial.new");
        std::os::unix::fs::symlink("/dev/full", &full).unwrap();
        let told = folder.try_disk().unwrap_err().detail;
        assert!(told.contains("No space left"), "{told}");
    }
}
