//! The secret of a home in the keyring of the operating system, kept until the machine restarts.
//!
//! On Linux that is the persistent keyring that the kernel keeps for each user: it needs no desktop
//! and no further program, it survives a logout, and it is in memory only. So it saves typing, and
//! is never the only way into a home. Elsewhere there is none so far.

use crate::error::Error;

/// The length of a secret.
const SECRET_LENGTH: usize = 32;

pub(super) type Secret = zeroize::Zeroizing<[u8; SECRET_LENGTH]>;

fn refused(what: &str, why: &str) -> Error {
    Error::Locked { reason: format!("the keyring of this system {what} ({why})") }
}

#[cfg(target_os = "linux")]
fn description(profile: &[u8; 16]) -> String {
    format!("fieldmesh:{}", uuid::Uuid::from_bytes(*profile))
}

/// Puts the secret of a home into the keyring.
#[cfg(target_os = "linux")]
pub(super) fn put(profile: &[u8; 16], secret: &Secret) -> Result<(), Error> {
    let put = || {
        let ring = ring()?;
        ring.add_key(&description(profile), &secret[..])
    };
    put().map(drop).map_err(|error| refused("does not take the secret", &error.to_string()))
}

/// The secret of a home, if the keyring has it still.
#[cfg(target_os = "linux")]
pub(super) fn read(profile: &[u8; 16]) -> Result<Secret, Error> {
    let mut secret = Secret::default();
    let mut read = || ring()?.search(&description(profile))?.read(&mut *secret);
    match read() {
        Ok(SECRET_LENGTH) => Ok(secret),
        Ok(_) => Err(refused("has something else in place of the secret", "wrong length")),
        Err(error) => Err(refused("does not have the secret of this home", &error.to_string())),
    }
}

/// Takes the secret of a home out of the keyring.
#[cfg(target_os = "linux")]
pub(super) fn remove(profile: &[u8; 16]) -> Result<(), Error> {
    let remove = || ring()?.search(&description(profile))?.invalidate();
    match remove() {
        Ok(()) | Err(linux_keyutils::KeyError::KeyDoesNotExist) => Ok(()),
        Err(error) => Err(refused("does not give the secret up", &error.to_string())),
    }
}

/// The persistent keyring of this user, linked where this thread may search it.
#[cfg(target_os = "linux")]
fn ring() -> Result<linux_keyutils::KeyRing, linux_keyutils::KeyError> {
    linux_keyutils::KeyRing::get_persistent(linux_keyutils::KeyRingIdentifier::Process)
}

#[cfg(not(target_os = "linux"))]
const NONE: &str = "only that of Linux is used so far";

/// Puts the secret of a home into the keyring.
#[cfg(not(target_os = "linux"))]
pub(super) fn put(_profile: &[u8; 16], _secret: &Secret) -> Result<(), Error> {
    Err(refused("does not take the secret", NONE))
}

/// The secret of a home, if the keyring has it still.
#[cfg(not(target_os = "linux"))]
pub(super) fn read(_profile: &[u8; 16]) -> Result<Secret, Error> {
    Err(refused("does not have the secret of this home", NONE))
}

/// Takes the secret of a home out of the keyring.
#[cfg(not(target_os = "linux"))]
pub(super) fn remove(_profile: &[u8; 16]) -> Result<(), Error> {
    Ok(())
}
