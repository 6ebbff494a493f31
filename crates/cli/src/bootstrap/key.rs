//! Both ends of a session prove that they have the same key. Each side draws a challenge, and answers the
//! other's with a proof ([`gputcp::Key::prove`]) over both challenges and its own role.

use gputcp::{Key, KeyFile};
use gputcp_proto::key::Proof;

use crate::session::Role;
use rustix::rand::GetRandomFlags;

use super::message::{from_hex, to_hex};
use crate::{failure::Failure, output::Talk};

/// A challenge: the bytes that one side drew for this session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Challenge([u8; CHALLENGE_BYTES]);

/// Returns the key in a file. Warns if other users can read the file.
///
/// # Errors
/// [`Failure::Usage`] if it cannot be read, or is too short to keep strangers out.
pub fn read(path: &std::path::Path, talk: Talk) -> Result<Key, Failure> {
    let file = KeyFile::read(path).map_err(Failure::Usage)?;
    if file.is_open_to_others {
        talk.warn(&format!("the key file {} can be read by others: `chmod 600` it", path.display()));
    }
    Ok(file.key)
}

/// Returns a random key, which no other process has.
///
/// # Errors
/// [`Failure::Run`] if the system has no random numbers.
pub fn random() -> Result<Key, Failure> {
    Key::of(to_hex(&draw()?).as_bytes()).map_err(|what| Failure::Run(format!("a drawn key {what}")))
}

/// Returns the proof by which a side shows that it has the key.
#[must_use]
pub fn proof(key: &Key, role: Role, client: Challenge, server: Challenge) -> String {
    to_hex(&key.prove(label(role), &[&client.0, &server.0]).0)
}

/// Returns whether `proof` is the proof of this role.
#[must_use]
pub fn admits(key: &Key, proof: &str, role: Role, client: Challenge, server: Challenge) -> bool {
    from_hex(proof).is_some_and(|proof| key.admits(&Proof(proof), label(role), &[&client.0, &server.0]))
}

const fn label(role: Role) -> &'static [u8] {
    match role {
        Role::Client => b"gputcp session, the client\0",
        Role::Server => b"gputcp session, the server\0",
    }
}

impl Challenge {
    /// Draws a new challenge.
    ///
    /// # Errors
    /// [`Failure::Run`] if the system has no random numbers.
    pub fn draw() -> Result<Self, Failure> {
        draw().map(Self)
    }

    /// Parses the challenge in a hello.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        from_hex(text).map(Self)
    }

    /// Returns its text in a hello.
    #[must_use]
    pub fn text(&self) -> String {
        to_hex(&self.0)
    }
}

fn draw() -> Result<[u8; CHALLENGE_BYTES], Failure> {
    let mut bytes = [0; CHALLENGE_BYTES];
    match rustix::rand::getrandom(&mut bytes, GetRandomFlags::empty()) {
        Ok(CHALLENGE_BYTES) => Ok(bytes),
        Ok(_) => Err(Failure::Run("the system gave too few random bytes".into())),
        Err(error) => Err(Failure::Run(format!("could not draw random bytes: {error}"))),
    }
}

/// The length of the hash.
const CHALLENGE_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_good_for_one_role_one_session_and_one_key() {
        let (client, server) = (Challenge::draw().unwrap(), Challenge::draw().unwrap());
        let key = random().unwrap();
        let said = proof(&key, Role::Client, client, server);
        assert!(admits(&key, &said, Role::Client, client, server));
        assert!(!admits(&key, &said, Role::Server, client, server), "sent back");
        assert!(!admits(&key, &said, Role::Client, server, client));
        assert!(!admits(&key, &said, Role::Client, client, Challenge::draw().unwrap()), "said again");
        assert!(!admits(&random().unwrap(), &said, Role::Client, client, server), "another key");
        for bad in ["", "zz", &said[1..], &said[2..], &format!("{said}00")] {
            assert!(!admits(&key, bad, Role::Client, client, server), "{bad}");
        }
    }
}
