//! The Ed25519 keys of a device, a tenant's authority and its recovery kit.
//!
//! A key is its seed; storing and wrapping seeds is the store's work.

use std::fmt;

use ed25519_dalek::{Signer as _, SigningKey};
use fieldmesh_model::DeviceId;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// What precedes the seed in the PKCS#8 form of an Ed25519 key (RFC 8410).
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// The 32 secret bytes of an Ed25519 key; wiped when dropped, never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Seed([u8; 32]);

impl Seed {
    /// Wraps bytes that the caller drew at random or read from a store.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The secret bytes, for storing them encrypted.
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}

/// Whoever can sign a policy item.
pub trait Signer {
    /// The Ed25519 public key that verifies what [`Self::sign`] makes.
    fn public_key(&self) -> [u8; 32];

    /// An Ed25519 signature over `message`.
    fn sign(&self, message: &[u8]) -> [u8; 64];
}

macro_rules! key_holder {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name {
            key: SigningKey,
        }

        impl $name {
            /// The key that `seed` stands for.
            pub fn from_seed(seed: &Seed) -> Self {
                Self { key: SigningKey::from_bytes(seed.expose()) }
            }

            /// The seed again, for storing it encrypted.
            pub fn seed(&self) -> Seed {
                Seed(self.key.to_bytes())
            }

            /// The Ed25519 public key.
            pub fn public_key(&self) -> [u8; 32] {
                self.key.verifying_key().to_bytes()
            }
        }

        impl Signer for $name {
            fn public_key(&self) -> [u8; 32] {
                self.key.verifying_key().to_bytes()
            }

            fn sign(&self, message: &[u8]) -> [u8; 64] {
                self.key.sign(message).to_bytes()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "(..)"))
            }
        }
    };
}

key_holder!(
    /// The keys of one device: its TLS certificate and its batches are signed with one Ed25519 key.
    DeviceKeys
);
key_holder!(
    /// The key of a tenant: it signs the genesis item and certificates.
    Authority
);
key_holder!(
    /// The key on the printed recovery kit: it outranks the authority.
    RecoveryKey
);

impl DeviceKeys {
    /// The device's id, derived from its public key.
    pub fn device(&self) -> DeviceId {
        DeviceId::of_key(&self.public_key())
    }

    /// The key that signs batches.
    pub const fn signing_key(&self) -> &SigningKey {
        &self.key
    }

    /// The key as PKCS#8 (RFC 8410), as TLS wants it; wiped when dropped.
    pub fn pkcs8_der(&self) -> Zeroizing<Vec<u8>> {
        let mut der = Zeroizing::new(Vec::with_capacity(PKCS8_PREFIX.len() + 32));
        der.extend_from_slice(&PKCS8_PREFIX);
        der.extend_from_slice(self.key.as_bytes());
        der
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_printed() {
        let seed = Seed::from_bytes([0xab; 32]);
        let keys = DeviceKeys::from_seed(&seed);
        let text = format!("{seed:?} {keys:?} {:?}", Authority::from_seed(&seed));
        assert_eq!(text, "Seed(..) DeviceKeys(..) Authority(..)");
        assert_eq!(keys.seed().expose(), seed.expose());
    }
}
