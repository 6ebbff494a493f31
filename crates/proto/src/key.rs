//! A key that both ends share, and the proof that an end has it.
//!
//! The proof is an HMAC-SHA-256 (RFC 2104, FIPS 180-4) of the tokens that both sides drew for the occasion
//! and of the side that proves. The key itself never travels. A proof is good for one occasion only, and
//! neither side's is valid for the other.
//!
//! The key decides which peers may connect. It hides nothing: the data travels as it is.

use std::{fmt, sync::Arc};

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// The shared key. Cheap to clone; never shown.
#[derive(Clone)]
pub struct Key(Arc<[u8]>);

/// The proof that an end has the key; all zero if no proof was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof(pub [u8; Self::BYTES]);

impl Key {
    /// The fewest bytes of a key: 128 bits, if they are random.
    pub const LEAST_BYTES: usize = 16;
    /// The most bytes of a key.
    pub const MOST_BYTES: usize = 4096;

    /// Makes a key of these bytes, without white space at the end (a file's last line has an end).
    ///
    /// # Errors
    /// The end of a sentence with the reason of the refusal.
    pub fn of(bytes: &[u8]) -> Result<Self, String> {
        let key = bytes.trim_ascii_end();
        match key.len() {
            ..Self::LEAST_BYTES => Err(format!(
                "has a key of {} bytes, where at least {} are needed: `openssl rand -hex 32` makes a good one",
                key.len(),
                Self::LEAST_BYTES
            )),
            Self::LEAST_BYTES..=Self::MOST_BYTES => Ok(Self(key.into())),
            _ => Err(format!("has a key of more than {} bytes: a short one is as good", Self::MOST_BYTES)),
        }
    }

    /// Returns the key as text, for a child process; `None` if it is no text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// Returns the proof that `label` has the key, on the occasion that the parts tell apart.
    ///
    /// `label` ends in a zero, and all parts but the last have a fixed length, so that no two inputs are
    /// alike.
    #[must_use]
    pub fn prove(&self, label: &'static [u8], parts: &[&[u8]]) -> Proof {
        Proof(self.mac(label, parts).finalize().into_bytes().into())
    }

    /// Returns whether that is the proof, compared in constant time.
    #[must_use]
    pub fn admits(&self, proof: &Proof, label: &'static [u8], parts: &[&[u8]]) -> bool {
        self.mac(label, parts).verify_slice(&proof.0).is_ok()
    }

    fn mac(&self, label: &'static [u8], parts: &[&[u8]]) -> Hmac<Sha256> {
        let mac = Hmac::<Sha256>::new_from_slice(&self.0);
        let mac =
            mac.unwrap_or_else(|_| unreachable!("an HMAC takes a key of any length")).chain_update(label);
        parts.iter().fold(mac, |mac, part| mac.chain_update(part))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Proof {
    /// The proof's length: the hash's.
    pub const BYTES: usize = 32;
    /// The proof of a side without a key.
    pub const NONE: Self = Self([0; Self::BYTES]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_good_for_one_speaker_one_occasion_and_one_key() {
        let key = Key::of(b"0123456789abcdef\n").unwrap();
        let proof = key.prove(b"client\0", &[b"mine", b"yours"]);
        assert!(key.admits(&proof, b"client\0", &[b"mine", b"yours"]));
        assert!(Key::of(b"0123456789abcdef").unwrap().admits(&proof, b"client\0", &[b"mine", b"yours"]));
        assert!(!key.admits(&proof, b"server\0", &[b"mine", b"yours"]), "sent back");
        assert!(!key.admits(&proof, b"client\0", &[b"yours", b"mine"]));
        assert!(!key.admits(&proof, b"client\0", &[b"mine", b"other"]), "said again");
        assert!(!Key::of(b"0123456789abcdeg").unwrap().admits(&proof, b"client\0", &[b"mine", b"yours"]));
        assert!(!key.admits(&Proof::NONE, b"client\0", &[b"mine", b"yours"]));
    }

    #[test]
    fn the_mac_is_the_standard_one() {
        // RFC 4231, case 1: a key of twenty bytes of 0x0b, and "Hi There".
        let proof = Key::of(&[0x0b; 20]).map(|key| key.prove(b"Hi ", &[b"The", b"re"]));
        let Proof(bytes) = proof.unwrap_or(Proof::NONE);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    }

    #[test]
    fn a_key_has_a_length_and_is_never_shown() {
        assert!(Key::of(b"fifteen bytes..\n").is_err());
        assert!(Key::of(&[b'x'; 4096]).is_ok() && Key::of(&[b'x'; 4097]).is_err());
        let key = Key::of(b"a secret of some length").unwrap();
        assert_eq!(format!("{key:?}"), "Key(…)");
        assert_eq!(key.text(), Some("a secret of some length"));
    }
}
