//! Small secrets beside a store: bytes sealed with its data key.

use ring::aead::{Aad, NONCE_LEN, Nonce};

use crate::key::{DataKey, KeyError, cipher};
use crate::random;

impl DataKey {
    /// Seals `bytes` for `purpose`; only the same key and purpose open them.
    ///
    /// # Errors
    ///
    /// The system gives no randomness.
    pub fn seal(&self, purpose: &str, bytes: &[u8]) -> Result<Vec<u8>, KeyError> {
        let nonce: [u8; NONCE_LEN] = random::bytes().map_err(|_| KeyError::NoRandomness)?;
        let mut sealed = bytes.to_vec();
        cipher(&self.derive("fieldmesh/sealed/1"), purpose.as_bytes())
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(purpose.as_bytes()),
                &mut sealed,
            )
            .expect("invariant: a small secret is no message AES-GCM refuses");
        let mut out = nonce.to_vec();
        out.append(&mut sealed);
        Ok(out)
    }

    /// Opens what [`DataKey::seal`] made; `None` if it is damaged or not for this key and purpose.
    pub fn unseal(&self, purpose: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut bytes = sealed.to_vec();
        let opened = cipher(&self.derive("fieldmesh/sealed/1"), purpose.as_bytes())
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(purpose.as_bytes()),
                &mut bytes,
            )
            .ok()?
            .len();
        bytes.truncate(opened);
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_with_its_key_and_purpose_only() {
        let key = DataKey::generate().unwrap();
        let sealed = key.seal("identity", b"seed").unwrap();
        assert_eq!(key.unseal("identity", &sealed).as_deref(), Some(&b"seed"[..]));
        assert_eq!(key.unseal("other", &sealed), None);
        assert_eq!(DataKey::generate().unwrap().unseal("identity", &sealed), None);
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert_eq!(key.unseal("identity", &damaged), None);
        }
    }
}
