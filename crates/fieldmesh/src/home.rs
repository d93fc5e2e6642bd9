//! The folder a node lives in: its wrapped key, its sealed identity, its store.
//!
//! ```text
//! home/profile     version, profile id, the data key wrapped by passphrase or key file
//! home/identity    device seed, authority if it is held here, certificates; sealed with the key
//! home/joining     the key of a device that asked to join and has no answer so far; sealed
//! home/store/      log and view
//! home/port        the port listened on last, so that remembered addresses stay good
//! home/erased      why nothing else is here any more
//! ```

mod erase;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use fieldmesh_identity::{Authority, DeviceKeys, Seed};
use fieldmesh_model::{TenantId, UserId};
use fieldmesh_store::key::{DataKey, KeyError, KeyFile, WrappedKey};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::clock;
use crate::error::Error;

const PROFILE_FILE: &str = "profile";
const IDENTITY_FILE: &str = "identity";
const PORT_FILE: &str = "port";
const JOINING_FILE: &str = "joining";
const JOINING_PURPOSE: &str = "fieldmesh/joining/1";
const STORE_FOLDER: &str = "store";
const IDENTITY_PURPOSE: &str = "fieldmesh/identity/1";
/// `fmh1`, then the profile id.
const PROFILE_MAGIC: &[u8; 4] = b"fmh1";

/// How the data key of a home is unlocked.
#[derive(Clone, Default)]
pub(crate) enum Unlock {
    /// By the key file that was made in the user's configuration folder.
    #[default]
    DefaultKeyFile,
    /// By a key file at a place of the user's choice.
    KeyFile(PathBuf),
    /// By a passphrase.
    Passphrase(String),
}

/// The secrets and names of a device; wiped when dropped.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub(crate) struct Identity {
    pub(crate) device_seed: [u8; 32],
    /// The tenant's authority, if it is held here.
    pub(crate) authority_seed: Option<[u8; 32]>,
    /// The recovery key, until it is printed into a kit.
    pub(crate) recovery_seed: Option<[u8; 32]>,
    #[zeroize(skip)]
    pub(crate) tenant: TenantId,
    /// The authority's public key.
    #[zeroize(skip)]
    pub(crate) authority: [u8; 32],
    #[zeroize(skip)]
    pub(crate) tenant_name: String,
    #[zeroize(skip)]
    pub(crate) device_name: String,
    #[zeroize(skip)]
    pub(crate) user: UserId,
    /// The device's TLS certificate, DER, then its issuers.
    #[zeroize(skip)]
    pub(crate) certificates: Vec<Vec<u8>>,
}

impl Identity {
    pub(crate) fn keys(&self) -> DeviceKeys {
        DeviceKeys::from_seed(&Seed::from_bytes(self.device_seed))
    }

    pub(crate) fn authority(&self) -> Option<Authority> {
        self.authority_seed.map(|seed| Authority::from_seed(&Seed::from_bytes(seed)))
    }
}

/// A home that exists and is unlocked.
pub(crate) struct Home {
    pub(crate) folder: PathBuf,
    pub(crate) key: DataKey,
}

/// Whether `folder` holds a home.
///
/// One that has erased itself is none, whatever is left of it.
pub fn exists(folder: &Path) -> bool {
    !erase::has_begun(folder)
        && folder.join(PROFILE_FILE).is_file()
        && folder.join(IDENTITY_FILE).is_file()
}

/// Whether the home in `folder` is unlocked by a passphrase; otherwise a key file does.
///
/// # Errors
///
/// There is no home, or it cannot be read.
pub fn needs_passphrase(folder: &Path) -> Result<bool, Error> {
    erase::check(folder)?;
    Ok(read_profile(folder)?.1.needs_passphrase())
}

/// Where the key file of the home with this profile id is kept by default.
fn default_key_file(profile: &[u8; 16]) -> Result<PathBuf, Error> {
    let folder = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .filter(|folder| folder.is_absolute())
        .or_else(|| std::env::home_dir().map(|home| home.join(".config")))
        .ok_or_else(|| Error::Locked {
            reason: "there is no configuration folder to keep a key file in; give a passphrase \
                     or --key-file"
                .into(),
        })?;
    let name = format!("{}.key", uuid::Uuid::from_bytes(*profile));
    Ok(folder.join("fieldmesh").join("keys").join(name))
}

impl Home {
    /// Makes the folder and a new key; the home exists once [`Home::write_identity`] is done.
    pub(crate) fn create(folder: &Path, unlock: &Unlock) -> Result<Self, Error> {
        if exists(folder) {
            return Err(Error::HomeExists { folder: folder.into() });
        }
        create_private_folder(folder)?;
        erase::forget(folder)?;
        set_aside(folder)?;
        let key = DataKey::generate().map_err(|error| locked(&error))?;
        let profile: [u8; 16] = clock::random();
        let wrapped = wrap(&key, unlock, &profile)?;
        let mut bytes = PROFILE_MAGIC.to_vec();
        bytes.extend_from_slice(&profile);
        bytes.extend_from_slice(&wrapped.to_bytes());
        write_durably(&folder.join(PROFILE_FILE), &bytes)?;
        Ok(Self { folder: folder.into(), key })
    }

    /// Unlocks the home in `folder`.
    pub(crate) fn open(folder: &Path, unlock: &Unlock) -> Result<Self, Error> {
        erase::check(folder)?;
        for (missing, other) in [(IDENTITY_FILE, PROFILE_FILE), (PROFILE_FILE, IDENTITY_FILE)] {
            if !folder.join(missing).is_file() && folder.join(other).exists() {
                return Err(Error::Store {
                    reason: format!(
                        "the home in {} is not whole: its file `{missing}` is missing; restore it \
                         from a copy, or create or join a tenant here, which keeps what is left \
                         aside",
                        folder.display()
                    ),
                });
            }
        }
        if !exists(folder) {
            return Err(Error::NoHome { folder: folder.into() });
        }
        let (profile, wrapped) = read_profile(folder)?;
        let key = unwrap(&wrapped, unlock, &profile)?;
        Ok(Self { folder: folder.into(), key })
    }

    /// Makes a home that is about to use an invitation, and the seed of its device.
    ///
    /// The seed is on disk before anybody is asked: a join that was killed, or whose answer was
    /// lost, is repeated by the same device and costs no second invitation.
    pub(crate) fn create_joining(
        folder: &Path,
        unlock: &Unlock,
        invitation: &[u8; 8],
    ) -> Result<(Self, [u8; 32]), Error> {
        if exists(folder) {
            return Err(Error::HomeExists { folder: folder.into() });
        }
        erase::forget(folder)?;
        if let Some(begun) = Self::resume_joining(folder, unlock, invitation) {
            return Ok(begun);
        }
        let home = Self::create(folder, unlock)?;
        let seed: [u8; 32] = clock::random();
        let mut bytes = [&invitation[..], &seed[..]].concat();
        let sealed = home.key.seal(JOINING_PURPOSE, &bytes).map_err(|error| locked(&error));
        bytes.zeroize();
        write_durably(&folder.join(JOINING_FILE), &sealed?)?;
        Ok((home, seed))
    }

    /// What an earlier try with the same invitation left.
    fn resume_joining(
        folder: &Path,
        unlock: &Unlock,
        invitation: &[u8; 8],
    ) -> Option<(Self, [u8; 32])> {
        let sealed = fs::read(folder.join(JOINING_FILE)).ok()?;
        let (profile, wrapped) = read_profile(folder).ok()?;
        let key = unwrap(&wrapped, unlock, &profile).ok()?;
        let bytes = key.unseal(JOINING_PURPOSE, &sealed)?;
        let seed = <[u8; 32]>::try_from(bytes.strip_prefix(invitation)?).ok()?;
        Some((Self { folder: folder.into(), key }, seed))
    }

    /// Ends a join that cannot succeed: the folder is as if nobody had tried.
    pub(crate) fn abandon_joining(&self) {
        let made = read_profile(&self.folder).ok().filter(|(_, key)| !key.needs_passphrase());
        if let Some(Ok(path)) = made.map(|(profile, _)| default_key_file(&profile)) {
            // It opens nothing else; where the user named another key file, there is none.
            let _ = fs::remove_file(path);
        }
        for name in [JOINING_FILE, PROFILE_FILE] {
            if let Err(error) = fs::remove_file(self.folder.join(name)) {
                tracing::debug!(name, %error, "left behind by a join");
            }
        }
        // Only if nothing else is in it.
        let _ = fs::remove_dir(&self.folder);
    }

    /// Ends a join that succeeded; the identity holds the seed.
    pub(crate) fn finish_joining(&self) {
        if let Err(error) = fs::remove_file(self.folder.join(JOINING_FILE)) {
            tracing::debug!(%error, "left behind by a join");
        }
    }

    /// What a backup of this home says in the open, so that [`key_of`] finds the key.
    pub(crate) fn opener(&self) -> Result<Vec<u8>, Error> {
        fs::read(self.folder.join(PROFILE_FILE))
            .map_err(|source| folder_error(&self.folder, source))
    }

    pub(crate) fn store_folder(&self) -> PathBuf {
        self.folder.join(STORE_FOLDER)
    }

    /// Seals and writes the identity, durably; before this the folder is no home.
    pub(crate) fn write_identity(&self, identity: &Identity) -> Result<(), Error> {
        let mut bytes =
            postcard::to_allocvec(identity).expect("an identity holds nothing unserialisable");
        let sealed = self.key.seal(IDENTITY_PURPOSE, &bytes).map_err(|error| locked(&error));
        bytes.zeroize();
        write_durably(&self.folder.join(IDENTITY_FILE), &sealed?)
    }

    pub(crate) fn read_identity(&self) -> Result<Identity, Error> {
        let path = self.folder.join(IDENTITY_FILE);
        let sealed = fs::read(&path).map_err(|source| folder_error(&self.folder, source))?;
        self.key
            .unseal(IDENTITY_PURPOSE, &sealed)
            .and_then(|bytes| postcard::from_bytes(&bytes).ok())
            .ok_or_else(|| Error::Store {
                reason: format!(
                    "{} is damaged; restore this file from a copy of the home, or join the tenant \
                     again in a new home",
                    path.display()
                ),
            })
    }

    /// The port listened on last.
    pub(crate) fn read_port(&self) -> Option<u16> {
        fs::read_to_string(self.folder.join(PORT_FILE)).ok()?.trim().parse().ok()
    }

    /// Remembers the port; a convenience, so failing is no error.
    pub(crate) fn write_port(&self, port: u16) {
        if let Err(error) = fs::write(self.folder.join(PORT_FILE), format!("{port}\n")) {
            tracing::debug!(%error, "the port cannot be remembered");
        }
    }
}

fn wrap(key: &DataKey, unlock: &Unlock, profile: &[u8; 16]) -> Result<WrappedKey, Error> {
    let wrapped = match unlock {
        Unlock::Passphrase(passphrase) => WrappedKey::by_passphrase(key, passphrase),
        Unlock::KeyFile(path) if path.exists() => {
            KeyFile::read(path).and_then(|file| WrappedKey::by_key_file(key, &file))
        }
        Unlock::KeyFile(path) => {
            KeyFile::create(path).and_then(|file| WrappedKey::by_key_file(key, &file))
        }
        Unlock::DefaultKeyFile => {
            let path = default_key_file(profile)?;
            if let Some(parent) = path.parent() {
                create_private_folder(parent)?;
            }
            KeyFile::create(&path).and_then(|file| WrappedKey::by_key_file(key, &file))
        }
    };
    wrapped.map_err(|error| locked(&error))
}

fn unwrap(wrapped: &WrappedKey, unlock: &Unlock, profile: &[u8; 16]) -> Result<DataKey, Error> {
    if wrapped.needs_passphrase() {
        return match unlock {
            Unlock::Passphrase(passphrase) => {
                wrapped.open_with_passphrase(passphrase).map_err(|error| locked(&error))
            }
            Unlock::KeyFile(_) | Unlock::DefaultKeyFile => Err(Error::Locked {
                reason: "this home is locked by a passphrase; set FIELDMESH_PASSPHRASE or enter it"
                    .into(),
            }),
        };
    }
    let path = match unlock {
        Unlock::KeyFile(path) => path.clone(),
        // A passphrase in the environment says nothing about a home that needs none.
        Unlock::Passphrase(_) | Unlock::DefaultKeyFile => default_key_file(profile)?,
    };
    if !path.exists() {
        return Err(Error::Locked {
            reason: format!(
                "this home is locked by a key file, and {} is not there; name it with --key-file",
                path.display()
            ),
        });
    }
    check_private(&path)?;
    KeyFile::read(&path)
        .and_then(|file| wrapped.open_with_key_file(&file))
        .map_err(|error| locked(&error))
}

/// A key file that others can read keeps nothing from them.
#[cfg(unix)]
fn check_private(path: &Path) -> Result<(), Error> {
    let metadata = fs::metadata(path).map_err(|source| folder_error(path, source))?;
    let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions());
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(Error::Locked {
        reason: format!(
            "the key file {path} can be read by others; `chmod 600 {path}` and try again",
            path = path.display()
        ),
    })
}

#[cfg(not(unix))]
fn check_private(_path: &Path) -> Result<(), Error> {
    Ok(())
}

fn locked(error: &KeyError) -> Error {
    let mut reason = error.to_string();
    if let Some(source) = std::error::Error::source(error) {
        reason = format!("{reason}: {source}");
    }
    Error::Locked { reason }
}

/// The key of the home that [`Home::opener`] is of.
pub(crate) fn key_of(opener: &[u8], unlock: &Unlock) -> Result<DataKey, Error> {
    let (profile, wrapped) = read_opener(opener)?;
    unwrap(&wrapped, unlock, &profile)
}

/// Whether the home that [`Home::opener`] is of is unlocked by a passphrase.
pub(crate) fn opener_needs_passphrase(opener: &[u8]) -> Result<bool, Error> {
    Ok(read_opener(opener)?.1.needs_passphrase())
}

fn read_opener(opener: &[u8]) -> Result<([u8; 16], WrappedKey), Error> {
    parse_profile(opener)
        .unwrap_or_else(|| Err(Error::Locked { reason: "what opens the backup is damaged".into() }))
}

fn read_profile(folder: &Path) -> Result<([u8; 16], WrappedKey), Error> {
    let path = folder.join(PROFILE_FILE);
    let bytes = fs::read(&path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => Error::NoHome { folder: folder.into() },
        _ => folder_error(folder, source),
    })?;
    parse_profile(&bytes).unwrap_or_else(|| {
        Err(Error::Locked {
            reason: format!("{} is damaged; restore it from a copy of the home", path.display()),
        })
    })
}

/// What a profile says; `None` if it is none.
fn parse_profile(bytes: &[u8]) -> Option<Result<([u8; 16], WrappedKey), Error>> {
    let (profile, wrapped) = bytes.strip_prefix(PROFILE_MAGIC)?.split_first_chunk::<16>()?;
    let wrapped = WrappedKey::from_bytes(wrapped).map_err(|error| locked(&error));
    Some(wrapped.map(|wrapped| (*profile, wrapped)))
}

fn folder_error(folder: &Path, source: std::io::Error) -> Error {
    Error::Folder { folder: folder.into(), source }
}

/// Moves away what an unfinished attempt left behind, the key with what it opens; it is never
/// deleted, because nobody can tell it from a home whose identity was lost.
fn set_aside(folder: &Path) -> Result<(), Error> {
    let left: Vec<PathBuf> = [PROFILE_FILE, IDENTITY_FILE, JOINING_FILE, STORE_FOLDER]
        .into_iter()
        .map(|name| folder.join(name))
        .filter(|path| path.exists())
        .collect();
    if left.is_empty() {
        return Ok(());
    }
    let aside = folder.join(format!("unfinished-{:08x}", u32::from_be_bytes(clock::random())));
    tracing::warn!(aside = %aside.display(), "an unfinished home is moved aside");
    create_private_folder(&aside)?;
    for path in left {
        let name = path.file_name().unwrap_or_default().to_owned();
        fs::rename(&path, aside.join(name)).map_err(|source| folder_error(folder, source))?;
    }
    Ok(())
}

/// Makes a folder that only its owner can enter.
pub(crate) fn create_private_folder(folder: &Path) -> Result<(), Error> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(|source| folder_error(folder, source))
}

/// Writes a file so that after a crash either the old or the new one is there, whole.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let temporary = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        if let Some(folder) = path.parent() {
            fs::File::open(folder)?.sync_all()?;
        }
        Ok(())
    };
    write().map_err(|source| folder_error(path, source))
}
