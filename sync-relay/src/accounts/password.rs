//! Passwords as they are kept: stretched by argon2id with a salt of their own.

use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};

use super::random;

/// The shortest password that is taken, in characters.
pub(crate) const PASSWORD_LENGTH_MIN: usize = 8;
/// The longest password that is stretched, in bytes.
pub(crate) const PASSWORD_SIZE_MAX: usize = 1_024;
/// What a guess costs: as OWASP recommends for argon2id.
const MEMORY_KIB: u32 = 19 * 1_024;
const PASSES: u32 = 2;

/// A password that was stretched; part of the format on disk.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Password {
    salt: [u8; 16],
    memory_kib: u32,
    passes: u32,
    hash: [u8; 32],
}

/// Why a password is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// It is too short.
    Short,
    /// It is too long.
    Long,
}

impl Unfit {
    /// What to tell people.
    pub(crate) fn text(self) -> String {
        match self {
            Self::Short => format!("a password needs at least {PASSWORD_LENGTH_MIN} characters"),
            Self::Long => format!("a password has at most {PASSWORD_SIZE_MAX} bytes"),
        }
    }
}

impl Password {
    /// Stretches a new password; takes some 30 ms.
    pub(crate) fn new(text: &str) -> Result<Self, Unfit> {
        Self::check(text)?;
        let salt = random();
        let hash = stretch(text, &salt, MEMORY_KIB, PASSES);
        Ok(Self { salt, memory_kib: MEMORY_KIB, passes: PASSES, hash })
    }

    /// Whether `text` can be a password.
    pub(crate) fn check(text: &str) -> Result<(), Unfit> {
        if text.chars().count() < PASSWORD_LENGTH_MIN {
            return Err(Unfit::Short);
        }
        if text.len() > PASSWORD_SIZE_MAX {
            return Err(Unfit::Long);
        }
        Ok(())
    }

    /// Whether it was made of `text`; takes some 30 ms.
    pub(crate) fn is(&self, text: &str) -> bool {
        if text.len() > PASSWORD_SIZE_MAX {
            return false;
        }
        // How long the comparison takes tells of a hash that nobody can choose.
        stretch(text, &self.salt, self.memory_kib, self.passes) == self.hash
    }

    /// Takes as long as [`Password::is`], for somebody who is not there: nobody learns who is.
    pub(crate) fn is_of_nobody(text: &str) {
        if text.len() <= PASSWORD_SIZE_MAX {
            let _ = stretch(text, &[0; 16], MEMORY_KIB, PASSES);
        }
    }
}

fn stretch(text: &str, salt: &[u8; 16], memory_kib: u32, passes: u32) -> [u8; 32] {
    let params = Params::new(memory_kib, passes, 1, Some(32))
        .expect("invariant: only parameters that were used before are on the disk");
    let mut hash = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(text.as_bytes(), salt, &mut hash)
        .expect("invariant: salt and output have lengths that argon2 allows");
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_again_and_no_other_is() {
        let password = Password::new("tumbleweed 7").unwrap();
        assert!(password.is("tumbleweed 7"));
        assert!(!password.is("tumbleweed 8") && !password.is(""));
        assert!(Password::new("tumbleweed 7").unwrap() != password);
    }

    #[test]
    fn what_is_too_short_or_too_long_is_no_password() {
        assert_eq!(Password::new("seven 7").err(), Some(Unfit::Short));
        assert_eq!(Password::new(&"x".repeat(1_025)).err(), Some(Unfit::Long));
        assert!(Password::new("ééééüüüü").is_ok());
    }
}
