//! A key that both ends share, and the proof that they do: each side draws a challenge, and answers the other's with an
//! HMAC-SHA-256 (RFC 2104, FIPS 180-4) of both challenges and its own role. The key itself never travels, an answer is good
//! for one session only, and neither side's can stand in for the other's.
//!
//! It says who may run measurements here. It hides nothing: the data travels as it is.

use std::{fmt, fs, os::unix::fs::PermissionsExt as _, path::Path};

use gputcp_proto::session::Role;
use hmac::{Hmac, Mac as _};
use rustix::rand::GetRandomFlags;
use sha2::Sha256;

use super::message::{from_hex, to_hex};
use crate::{failure::Failure, output::Talk};

/// The variable that holds a key where no file is named.
pub const KEY_VARIABLE: &str = "GPUTCP_KEY";

/// The shared key.
#[derive(Clone)]
pub struct Key(Vec<u8>);

/// What one side drew for this session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Challenge([u8; CHALLENGE_BYTES]);

impl Key {
    /// The key in a file, without the line's end.
    ///
    /// # Errors
    /// [`Failure::Usage`] if it cannot be read, or is too short to keep anybody out.
    pub fn read(path: &Path, talk: Talk) -> Result<Self, Failure> {
        let shown = path.display();
        let failed = |what: String| Failure::Usage(format!("the key file {shown} {what}"));
        let meta = fs::metadata(path).map_err(|error| failed(format!("cannot be read: {error}")))?;
        if !meta.is_file() || meta.len() > MOST_BYTES as u64 {
            return Err(failed(format!("is no file of at most {MOST_BYTES} bytes: write the key into one")));
        }
        let bytes = fs::read(path).map_err(|error| failed(format!("cannot be read: {error}")))?;
        if meta.permissions().mode() & 0o077 != 0 {
            talk.warn(&format!("the key file {shown} can be read by others: `chmod 600` it"));
        }
        Self::of(&bytes).map_err(failed)
    }

    /// The key in these bytes.
    ///
    /// # Errors
    /// The end of a sentence that says what is wrong.
    pub fn of(bytes: &[u8]) -> Result<Self, String> {
        let key = bytes.trim_ascii_end();
        match key.len() {
            ..LEAST_BYTES => Err(format!(
                "has a key of {} bytes, where at least {LEAST_BYTES} are needed: `openssl rand -hex 32` makes a good one",
                key.len()
            )),
            LEAST_BYTES..=MOST_BYTES => Ok(Self(key.to_vec())),
            _ => Err(format!("has a key of more than {MOST_BYTES} bytes: a short one is as good")),
        }
    }

    /// A key that nobody else has.
    ///
    /// # Errors
    /// [`Failure::Run`] if the system has no random numbers.
    pub fn random() -> Result<Self, Failure> {
        Ok(Self(to_hex(&random()?).into_bytes()))
    }

    /// The key as text, for a child process. None if it is no text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// What a side says to prove that it has the key.
    #[must_use]
    pub fn proof(&self, role: Role, client: Challenge, server: Challenge) -> String {
        to_hex(&self.mac(role, client, server).finalize().into_bytes())
    }

    /// Whether that is the proof of this role, compared in constant time.
    #[must_use]
    pub fn admits(&self, proof: &str, role: Role, client: Challenge, server: Challenge) -> bool {
        from_hex::<PROOF_BYTES>(proof)
            .is_some_and(|proof| self.mac(role, client, server).verify_slice(&proof).is_ok())
    }

    fn mac(&self, role: Role, client: Challenge, server: Challenge) -> Hmac<Sha256> {
        let who: &[u8] = match role {
            Role::Client => b"gputcp session, the client\0",
            Role::Server => b"gputcp session, the server\0",
        };
        let mac = Hmac::<Sha256>::new_from_slice(&self.0);
        let mac = mac.unwrap_or_else(|_| unreachable!("an HMAC takes a key of any length"));
        // All parts but the last have a fixed end or length, so no two inputs are alike.
        mac.chain_update(who).chain_update(client.0).chain_update(server.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Challenge {
    /// A new one.
    ///
    /// # Errors
    /// [`Failure::Run`] if the system has no random numbers.
    pub fn draw() -> Result<Self, Failure> {
        random().map(Self)
    }

    /// The one in a hello.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        from_hex(text).map(Self)
    }

    /// As it stands in a hello.
    #[must_use]
    pub fn text(&self) -> String {
        to_hex(&self.0)
    }
}

fn random() -> Result<[u8; CHALLENGE_BYTES], Failure> {
    let mut bytes = [0; CHALLENGE_BYTES];
    match rustix::rand::getrandom(&mut bytes, GetRandomFlags::empty()) {
        Ok(CHALLENGE_BYTES) => Ok(bytes),
        Ok(_) => Err(Failure::Run("the system gave too few random bytes".into())),
        Err(error) => Err(Failure::Run(format!("could not draw random bytes: {error}"))),
    }
}

/// As long as the hash.
const CHALLENGE_BYTES: usize = 32;
const PROOF_BYTES: usize = 32;
/// 128 bits, if they are random.
const LEAST_BYTES: usize = 16;
const MOST_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_good_for_one_role_one_session_and_one_key() {
        let (client, server) = (Challenge::draw().unwrap(), Challenge::draw().unwrap());
        let key = Key::of(b"0123456789abcdef\n").unwrap();
        let proof = key.proof(Role::Client, client, server);
        assert!(key.admits(&proof, Role::Client, client, server));
        assert!(Key::of(b"0123456789abcdef").unwrap().admits(&proof, Role::Client, client, server));
        assert!(!key.admits(&proof, Role::Server, client, server), "sent back");
        assert!(!key.admits(&proof, Role::Client, server, client));
        assert!(!key.admits(&proof, Role::Client, client, Challenge::draw().unwrap()), "said again");
        assert!(!Key::of(b"0123456789abcdeg").unwrap().admits(&proof, Role::Client, client, server));
        for bad in ["", "zz", &proof[1..], &proof[2..], &format!("{proof}00")] {
            assert!(!key.admits(bad, Role::Client, client, server), "{bad}");
        }
    }

    #[test]
    fn the_mac_is_the_standard_one() {
        // RFC 4231, case 2, whose key and data are shorter than a block.
        let mac =
            Hmac::<Sha256>::new_from_slice(b"Jefe").unwrap().chain_update(b"what do ya want for nothing?");
        assert_eq!(
            to_hex(&mac.finalize().into_bytes()),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn a_key_has_a_length_and_is_never_shown() {
        assert!(Key::of(b"fifteen bytes..\n").is_err());
        assert!(Key::of(&[b'x'; 4096]).is_ok() && Key::of(&[b'x'; 4097]).is_err());
        let key = Key::random().unwrap();
        assert_ne!(key.text(), Key::random().unwrap().text());
        assert!(!format!("{key:?}").contains(key.text().unwrap()));
    }
}
