//! The folder a node lives in: its wrapped key, its sealed identity, its store.
//!
//! ```text
//! home/profile     what opens the home: the data key, wrapped, see `profile`
//! home/identity    device seed, authority if it is held here, certificates; sealed with the key
//! home/*.copy      the second copies of both, see `second`, and of the policy, see `founding`
//! home/joining     the key of a device that asked to join and has no answer so far; sealed
//! home/store/      log and view
//! home/port        the port listened on last, so that remembered addresses stay good
//! home/erased      why nothing else is here any more
//! ```

mod erase;
mod founding;
mod keyring;
mod profile;
mod rekey;
mod second;
mod secret;

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};

use fieldmesh_identity::{Authority, DeviceKeys, Seed};
use fieldmesh_model::{TenantId, UserId};
use fieldmesh_store::key::{KeyError, WrappedKey};
use fieldmesh_store::{DataKey, DataKeys, KeyFile, Way};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::clock;
use crate::error::{Error, with_causes};

use self::erase::ERASED_FILE;
use self::founding::FOUNDING;
use self::profile::{Profile, Unreadable};
pub(crate) use self::second::Mended;
pub use self::secret::{NewSecret, is_remembered};
pub(crate) use self::secret::{change, check, forget, remember};

const PROFILE_FILE: &str = "profile";
const IDENTITY_FILE: &str = "identity";
const PORT_FILE: &str = "port";
const JOINING_FILE: &str = "joining";
const JOINING_PURPOSE: &str = "fieldmesh/joining/1";
const STORE_FOLDER: &str = "store";
/// What the folders begin with that hold what an unfinished attempt left.
const UNFINISHED: &str = "unfinished-";
/// What stands on the top of a disk that is otherwise empty.
const LOST_AND_FOUND: &str = "lost+found";
const IDENTITY_PURPOSE: &str = "fieldmesh/identity/1";
/// What stands in a relay's backup where a home says how to get at its key.
const RELAY_OPENER: &[u8] = b"fmrelay";

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
    /// By the secret in the system's keyring, for as long as that has it.
    Remembered,
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
    keys: RwLock<DataKeys>,
    /// What was found lost or damaged of its files.
    mended: Mutex<Vec<Mended>>,
}

/// Whether `folder` holds a home.
///
/// One that has erased itself is none, whatever is left of it.
pub fn exists(folder: &Path) -> bool {
    !erase::has_begun(folder)
        && second::is_there(folder, PROFILE_FILE)
        && second::is_there(folder, IDENTITY_FILE)
}

/// Whether the home in `folder` is unlocked by a passphrase; otherwise a key file does.
///
/// # Errors
///
/// There is no home, or it cannot be read.
pub fn needs_passphrase(folder: &Path) -> Result<bool, Error> {
    erase::check(folder)?;
    Ok(Profile::read(folder)?.lasting().is_some_and(|wrapped| wrapped.way() == Way::Passphrase))
}

/// Fails where `folder` holds anything but what an unfinished or erased home left.
pub(crate) fn check_free(folder: &Path) -> Result<(), Error> {
    let files = match fs::read_dir(folder) {
        Ok(files) => files,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(folder_error(folder, source)),
    };
    for file in files {
        let name = file.map_err(|source| folder_error(folder, source))?.file_name();
        let name = name.to_string_lossy();
        let known = [PROFILE_FILE, IDENTITY_FILE, JOINING_FILE, FOUNDING, PORT_FILE, STORE_FOLDER];
        let base = name.split_once('.').map_or(&*name, |(base, _)| base);
        let is_left = known.contains(&base) || base == ERASED_FILE || name.starts_with(UNFINISHED);
        if !is_left && name != LOST_AND_FOUND {
            let folder = folder.display();
            let reason = format!(
                "{folder} holds other files, such as {name}; choose a folder that is empty or not \
                 there yet with --home"
            );
            return Err(Error::Usage { reason });
        }
    }
    Ok(())
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
        clock::check()?;
        if exists(folder) {
            return Err(Error::HomeExists { folder: folder.into() });
        }
        create_private_folder(folder)?;
        erase::forget(folder)?;
        set_aside(folder)?;
        let keys = DataKeys::from(DataKey::generate().map_err(|error| locked(&error))?);
        Profile::of(clock::random(), &keys, unlock, false)?.write(folder)?;
        Ok(Self::unlocked(folder, keys))
    }

    fn unlocked(folder: &Path, keys: DataKeys) -> Self {
        Self { folder: folder.into(), keys: RwLock::new(keys), mended: Mutex::default() }
    }

    /// The keys of everything in it.
    pub(crate) fn keys(&self) -> DataKeys {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Unlocks the home in `folder`.
    pub(crate) fn open(folder: &Path, unlock: &Unlock) -> Result<Self, Error> {
        clock::check()?;
        erase::check(folder)?;
        let profile = Profile::read(folder)?;
        if !second::is_there(folder, IDENTITY_FILE) {
            return Err(not_whole(folder, IDENTITY_FILE));
        }
        Ok(Self::unlocked(folder, profile.open(unlock)?))
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
        let sealed =
            home.keys().current().seal(JOINING_PURPOSE, &bytes).map_err(|error| locked(&error));
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
        let keys = Profile::read(folder).ok()?.open(unlock).ok()?;
        let bytes = keys.current().unseal(JOINING_PURPOSE, &sealed)?;
        let seed = <[u8; 32]>::try_from(bytes.strip_prefix(invitation)?).ok()?;
        Some((Self::unlocked(folder, keys), seed))
    }

    /// Ends a join that cannot succeed: the folder is as if nobody had tried.
    pub(crate) fn abandon_joining(&self) {
        if let Some(path) = own_key_file(&self.folder) {
            // It opens nothing else; where the user named another key file, there is none.
            let _ = fs::remove_file(path);
        }
        let files = [JOINING_FILE, PROFILE_FILE].map(|name| self.folder.join(name));
        for path in files.into_iter().chain([second::path(&self.folder, PROFILE_FILE)]) {
            if let Err(error) = fs::remove_file(&path) {
                tracing::debug!(path = %path.display(), %error, "left behind by a join");
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

    /// The current key, and what a backup says in the open so that [`key_of`] finds it.
    pub(crate) fn key_and_opener(&self) -> Result<(DataKey, Vec<u8>), Error> {
        // A rekey changes both under this lock.
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let opener = Profile::bytes(&self.folder)?;
        Ok((keys.current().clone(), opener))
    }

    pub(crate) fn store_folder(&self) -> PathBuf {
        self.folder.join(STORE_FOLDER)
    }

    /// Seals and writes the identity, durably; before this the folder is no home.
    pub(crate) fn write_identity(&self, identity: &Identity) -> Result<(), Error> {
        let mut bytes =
            postcard::to_allocvec(identity).expect("an identity holds nothing unserialisable");
        let sealed =
            self.keys().current().seal(IDENTITY_PURPOSE, &bytes).map_err(|error| locked(&error));
        bytes.zeroize();
        second::write(&self.folder, IDENTITY_FILE, &sealed?)
    }

    pub(crate) fn read_identity(&self) -> Result<Identity, Error> {
        let path = self.folder.join(IDENTITY_FILE);
        if let Some(identity) = self.sealed_identity().and_then(|sealed| self.unseal(&sealed)) {
            return Ok(identity);
        }
        fs::read(&path).map_err(|source| folder_error(&self.folder, source)).and_then(|_| {
            Err(Error::Store {
                reason: format!(
                    "{} is damaged, or the `profile` beside it is of another home; put the file \
                     back from a copy of the home, make a home of a backup elsewhere with \
                     `fieldmesh --home NEW restore FILE`, or join the tenant again in a new home",
                    path.display()
                ),
            })
        })
    }

    /// The sealed identity: that of its file, or of the second copy where that cannot be read.
    fn sealed_identity(&self) -> Option<Vec<u8>> {
        let is_sound = |sealed: &Vec<u8>| self.unseal(sealed).is_some();
        let file = fs::read(self.folder.join(IDENTITY_FILE));
        match file {
            // It may be whole, and newer than the copy.
            Err(error) if !second::is_lost(&self.folder.join(IDENTITY_FILE), &error) => None,
            file => file
                .ok()
                .filter(is_sound)
                .or_else(|| second::read(&self.folder, IDENTITY_FILE).filter(is_sound)),
        }
    }

    fn unseal(&self, sealed: &[u8]) -> Option<Identity> {
        self.unseal_bytes(IDENTITY_PURPOSE, sealed)
            .and_then(|bytes| postcard::from_bytes(&bytes).ok())
    }

    fn unseal_bytes(&self, purpose: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let keys = self.keys();
        let mut opening = std::iter::once(keys.current()).chain(keys.before());
        opening.find_map(|key| key.unseal(purpose, sealed))
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
            // Left by a change that a crash cut off, before anything was wrapped by it.
            let file = if path.exists() { KeyFile::read(&path) } else { KeyFile::create(&path) };
            file.and_then(|file| WrappedKey::by_key_file(key, &file))
        }
        Unlock::Remembered => {
            return Err(Error::Usage {
                reason:
                    "a keyring alone cannot open a home: after a restart of the machine nothing \
                         would"
                        .into(),
            });
        }
    };
    wrapped.map_err(|error| locked(&error))
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
    let reason = with_causes(error);
    match error {
        KeyError::Damaged => Error::Damaged { reason },
        _ => Error::Locked { reason },
    }
}

/// The key of the home that wrote the backup in `path`, see [`Home::key_and_opener`].
pub(crate) fn key_of(opener: &[u8], path: &Path, unlock: &Unlock) -> Result<DataKey, Error> {
    Ok(profile_of(opener, path)?.open(unlock)?.current().clone())
}

/// Fails where what a backup says in the open for [`key_of`] is not sound.
pub(crate) fn check_opener(opener: &[u8], path: &Path) -> Result<(), Error> {
    profile_of(opener, path).map(drop)
}

/// Whether the home that wrote the backup in `path` is unlocked by a passphrase.
pub(crate) fn opener_needs_passphrase(opener: &[u8], path: &Path) -> Result<bool, Error> {
    let profile = profile_of(opener, path)?;
    Ok(profile.lasting().is_some_and(|wrapped| wrapped.way() == Way::Passphrase))
}

fn profile_of(opener: &[u8], path: &Path) -> Result<Profile, Error> {
    if opener.starts_with(RELAY_OPENER) {
        let reason = format!("{} is of a relay; `sync-relay restore` reads it", path.display());
        return Err(Error::Backup { reason });
    }
    Profile::decode(opener).map_err(|unreadable| match unreadable {
        Unreadable::Newer { version, reads } => {
            let what = format!("what opens the backup {}", path.display());
            Error::Newer { what, version, reads }
        }
        Unreadable::Damaged => Error::Backup {
            reason: format!("{}: what opens it is damaged; use another copy of it", path.display()),
        },
    })
}

/// The key file that was made for the home in `folder` alone.
fn own_key_file(folder: &Path) -> Option<PathBuf> {
    let profile = Profile::read(folder).ok()?;
    profile.lasting().filter(|wrapped| wrapped.way() == Way::KeyFile)?;
    default_key_file(&profile.id).ok()
}

/// A home that lacks a file without which nothing in it can be opened.
fn not_whole(folder: &Path, missing: &str) -> Error {
    let advice = match missing {
        // Nothing but this file opens the rest, so it is not put out of sight.
        PROFILE_FILE => {
            "; keep what is left. Without a copy of that file nothing opens it: make a home of a \
             backup elsewhere with `fieldmesh --home NEW restore FILE`, or join again there"
        }
        _ => ", or create or join a tenant here, which keeps what is left aside",
    };
    Error::Store {
        reason: format!(
            "the home in {} is not whole: its file `{missing}` is missing or no file; put it back \
             from a copy{advice}",
            folder.display()
        ),
    }
}

/// Whether there is a home whose profile is lost: it is written before all else.
fn lacks_profile(folder: &Path) -> bool {
    !folder.join(PROFILE_FILE).is_file()
        && [IDENTITY_FILE, STORE_FOLDER].iter().any(|left| folder.join(left).exists())
}

fn folder_error(folder: &Path, source: std::io::Error) -> Error {
    Error::Folder { folder: folder.into(), source }
}

/// Moves away what an unfinished attempt left behind, the key with what it opens; it is never
/// deleted, because nobody can tell it from a home whose identity was lost. What a newer program
/// left stays, because that one may be about to finish it, and so does a home that lacks nothing but
/// its profile, because that may come back.
fn set_aside(folder: &Path) -> Result<(), Error> {
    match Profile::read(folder) {
        Err(error @ Error::Newer { .. }) => return Err(error),
        Err(error) if lacks_profile(folder) && folder.join(IDENTITY_FILE).exists() => {
            return Err(error);
        }
        Ok(_) | Err(_) => {}
    }
    let copies = [PROFILE_FILE, IDENTITY_FILE, FOUNDING].map(|name| second::path(folder, name));
    let left: Vec<PathBuf> = [PROFILE_FILE, IDENTITY_FILE, JOINING_FILE, STORE_FOLDER]
        .into_iter()
        .map(|name| folder.join(name))
        .chain(copies)
        .filter(|path| path.exists())
        .collect();
    if left.is_empty() {
        return Ok(());
    }
    let aside = folder.join(format!("{UNFINISHED}{:08x}", u32::from_be_bytes(clock::random())));
    tracing::warn!(aside = %aside.display(), "an unfinished home is moved aside");
    create_private_folder(&aside)?;
    for path in left {
        let name = path.file_name().unwrap_or_default().to_owned();
        fs::rename(&path, aside.join(name)).map_err(|source| folder_error(folder, source))?;
    }
    Ok(())
}

/// Makes a folder that only its owner can enter, and those above it, durably: a new name lasts once
/// the folder that it stands in is synced.
///
/// # Errors
///
/// What the disk says.
pub fn create_private_folder(folder: &Path) -> Result<(), Error> {
    let is_new = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    let new: Vec<&Path> = folder.ancestors().take_while(is_new).collect();
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    let made = builder.create(folder).and_then(|()| {
        let mut new = new.iter().rev();
        new.try_for_each(|folder| sync_folder(folder.parent().unwrap_or(folder)))
    });
    made.map_err(|source| folder_error(folder, source))
}

/// Makes a private folder in one that is there, unless it is there already.
pub(crate) fn create_private_folder_in(parent: &Path, name: &str) -> Result<PathBuf, Error> {
    let folder = parent.join(name);
    if folder.is_dir() {
        return Ok(folder);
    }
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    let made = match builder.create(&folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made,
    };
    made.and_then(|()| sync_folder(parent)).map_err(|source| folder_error(&folder, source))?;
    Ok(folder)
}

/// Makes the names in a folder durable.
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    let here = folder.as_os_str().is_empty();
    fs::File::open(if here { Path::new(".") } else { folder })?.sync_all()
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
        path.parent().map_or(Ok(()), sync_folder)
    };
    write().map_err(|source| {
        // Half a file is of no use to anybody, and on a full disk in the way.
        let _ = fs::remove_file(&temporary);
        folder_error(path, source)
    })
}
