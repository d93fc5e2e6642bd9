//! Identifiers: fixed-size bytes with one type per meaning.
//!
//! Hash-like identifiers print as lower-case hex; records and users are UUIDs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// A text that is no identifier of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {wanted}")]
pub struct IdError {
    /// What was given.
    pub text: String,
    /// What was wanted, for people: "a device id (64 hex digits)".
    pub wanted: &'static str,
}

macro_rules! bytes_id {
    ($(#[$doc:meta])* $name:ident, $length:literal, $wanted:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name([u8; $length]);

        impl $name {
            /// Wraps raw bytes.
            pub const fn from_bytes(bytes: [u8; $length]) -> Self {
                Self(bytes)
            }

            /// The raw bytes.
            pub const fn as_bytes(&self) -> &[u8; $length] {
                &self.0
            }

            /// The last eight hex digits, for messages and tables.
            pub fn short(&self) -> String {
                data_encoding::HEXLOWER.encode(&self.0[$length - 4..])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "(..{})"), self.short())
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                data_encoding::HEXLOWER_PERMISSIVE
                    .decode(text.trim().as_bytes())
                    .ok()
                    .and_then(|bytes| <[u8; $length]>::try_from(bytes).ok())
                    .map(Self)
                    .ok_or_else(|| IdError { text: text.into(), wanted: $wanted })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    self.0.serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = String::deserialize(deserializer)?;
                    text.parse().map_err(serde::de::Error::custom)
                } else {
                    <[u8; $length]>::deserialize(deserializer).map(Self)
                }
            }
        }
    };
}

bytes_id!(
    /// An organisation and a replication boundary: the BLAKE3 hash of its genesis item.
    TenantId, 32, "a tenant id (64 hex digits)"
);
bytes_id!(
    /// A device, and the author of what it signs: the BLAKE3 hash of its Ed25519 public key, so
    /// that renewing a certificate changes nothing.
    DeviceId, 32, "a device id (64 hex digits)"
);
bytes_id!(
    /// A signed batch: the BLAKE3 hash of its header.
    BatchId, 32, "a batch id (64 hex digits)"
);
bytes_id!(
    /// A signed policy item: the BLAKE3 hash of its bytes.
    ItemId, 32, "a policy item id (64 hex digits)"
);
bytes_id!(
    /// One store on one disk; a copy that diverges gets a new one.
    StoreId, 16, "a store id (32 hex digits)"
);
bytes_id!(
    /// The opaque name of a tenant in a TLS server name; it tells a listener nothing.
    TenantTag, 16, "a tenant tag (32 hex digits)"
);

impl TenantId {
    /// The tag under which connections name this tenant.
    pub fn tag(&self) -> TenantTag {
        let hash = blake3::derive_key("fieldmesh/tenant-tag/1", &self.0);
        let mut tag = [0; 16];
        tag.copy_from_slice(&hash[..16]);
        TenantTag(tag)
    }
}

impl DeviceId {
    /// The id of the device that holds the Ed25519 `public_key`.
    pub fn of_key(public_key: &[u8; 32]) -> Self {
        Self(blake3::derive_key("fieldmesh/device/1", public_key))
    }
}

/// One run of a device's chains: random, renewed whenever a device cannot be sure of its own past.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Epoch(pub u64);

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $wanted:literal) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// Wraps raw bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// The raw bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// The UUID.
            pub const fn uuid(&self) -> Uuid {
                self.0
            }

            /// The last eight hex digits, for messages and tables.
            pub fn short(&self) -> String {
                data_encoding::HEXLOWER.encode(&self.0.as_bytes()[12..])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Uuid::parse_str(text.trim())
                    .map(Self)
                    .map_err(|_| IdError { text: text.into(), wanted: $wanted })
            }
        }
    };
}

uuid_id!(
    /// A record for people, an Automerge document inside: a UUIDv8 made on the device, final.
    DocumentId, "a record id (UUID)"
);
uuid_id!(
    /// A person, the same one in certificates and accounts.
    UserId, "a user id (UUID)"
);

impl DocumentId {
    /// The id of the record that `user` created at `at` under `key`, its natural key or a nonce.
    ///
    /// The first 48 bits are the time as in UUIDv7; the rest commits to user and key, so nobody
    /// else can write the first change of the document.
    pub fn derive(user: UserId, at: Moment, key: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("fieldmesh/document-id/1");
        hasher.update(user.as_bytes());
        hasher.update(key);
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&at.to_u48().to_be_bytes()[2..]);
        bytes[6..].copy_from_slice(&hasher.finalize().as_bytes()[..10]);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }

    /// The time in the id: when the record was made or, with a natural key, what it is about.
    pub fn moment(&self) -> Moment {
        let mut bytes = [0; 8];
        bytes[2..].copy_from_slice(&self.0.as_bytes()[..6]);
        Moment::from_millis(i64::from_be_bytes(bytes))
    }

    /// Whether `user` made this id at `at` under `key`.
    pub fn is_derived_from(&self, user: UserId, at: Moment, key: &[u8]) -> bool {
        *self == Self::derive(user, at, key)
    }
}

use crate::Moment;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_id_commits_to_its_user_time_and_key() {
        let user = UserId::from_bytes([7; 16]);
        let at = Moment::from_millis(1_700_000_000_000);
        let id = DocumentId::derive(user, at, b"key");
        assert_eq!(id.uuid().get_version_num(), 8);
        assert_eq!(id.moment(), at);
        assert!(id.is_derived_from(user, at, b"key"));
        assert!(!id.is_derived_from(UserId::from_bytes([8; 16]), at, b"key"));
        assert!(!id.is_derived_from(user, at, b"other"));
    }

    #[test]
    fn an_id_survives_its_text() {
        let id = DeviceId::from_bytes([0xab; 32]);
        assert_eq!(id.to_string().parse::<DeviceId>(), Ok(id));
        assert!("abc".parse::<DeviceId>().is_err());
    }
}
