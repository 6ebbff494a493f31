//! Notifications as notes of the library: each names its sender, and long ones travel in pieces.
//!
//! ```text
//! 0 magic "GTNN"  4 name bytes u32  8 notification u64  16 piece u32  20 pieces u32
//! 24 name, then the piece's bytes
//! ```

use std::collections::VecDeque;

use gputcp::onesided::{Address, Note, Peer};

/// A notification: its sender's name, and its bytes.
pub(crate) type Notification = (Vec<u8>, Vec<u8>);

/// Returns the notes of a notification: one if it is short.
pub(crate) fn frame(name: &[u8], number: u64, bytes: &[u8]) -> Vec<Vec<u8>> {
    let room = Peer::NOTE_BYTES_MAX - HEAD_BYTES - name.len();
    let count = bytes.len().div_ceil(room).max(1);
    let piece = |at: usize| {
        let bytes = &bytes[at * room..bytes.len().min((at + 1) * room)];
        let mut note = Vec::with_capacity(HEAD_BYTES + name.len() + bytes.len());
        note.extend_from_slice(&MAGIC.to_le_bytes());
        note.extend_from_slice(&(name.len() as u32).to_le_bytes());
        note.extend_from_slice(&number.to_le_bytes());
        note.extend_from_slice(&(at as u32).to_le_bytes());
        note.extend_from_slice(&(count as u32).to_le_bytes());
        note.extend_from_slice(name);
        note.extend_from_slice(bytes);
        note
    };
    (0..count).map(piece).collect()
}

/// Notifications whose pieces have not all come.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    partial: VecDeque<Partial>,
    /// The bytes of all of them.
    bytes: usize,
}

#[derive(Debug)]
struct Partial {
    from: Address,
    number: u64,
    pieces: u32,
    next: u32,
    bytes: Vec<u8>,
}

impl Incoming {
    /// Takes a note, and returns the notification that it completes, if it does.
    ///
    /// # Errors
    /// A sentence, if the note is no piece of a notification, or the pieces do not fit together.
    pub(crate) fn take(&mut self, note: &Note) -> Result<Option<Notification>, String> {
        let (head, name, bytes) =
            parse(&note.bytes).ok_or("a peer has sent a note that is no notification")?;
        let (number, piece, pieces) = (u64_at(head, 8), u32_at(head, 16), u32_at(head, 20));
        if pieces == 1 && piece == 0 {
            return Ok(Some((name.to_vec(), bytes.to_vec())));
        }
        let is_it = |partial: &Partial| partial.from == note.from && partial.number == number;
        let mut partial = match self.partial.iter().position(is_it).and_then(|at| self.partial.remove(at)) {
            Some(partial) => partial,
            None => Partial { from: note.from, number, pieces, next: 0, bytes: Vec::new() },
        };
        self.bytes -= partial.bytes.len();
        if (piece, pieces) != (partial.next, partial.pieces) || piece >= pieces {
            return Err("a peer's notification came in pieces that do not fit together".into());
        }
        partial.bytes.extend_from_slice(bytes);
        partial.next += 1;
        if partial.next == pieces {
            return Ok(Some((name.to_vec(), partial.bytes)));
        }
        self.bytes += partial.bytes.len();
        self.partial.push_back(partial);
        while self.bytes > PARTIAL_BYTES_MAX || self.partial.len() > PARTIAL_MAX {
            let Some(oldest) = self.partial.pop_front() else { break };
            self.bytes -= oldest.bytes.len();
        }
        Ok(None)
    }
}

/// Splits a note into its head, the sender's name and the piece's bytes.
fn parse(note: &[u8]) -> Option<(&[u8; HEAD_BYTES], &[u8], &[u8])> {
    let (head, rest) = note.split_first_chunk::<HEAD_BYTES>()?;
    if u32_at(head, 0) != MAGIC {
        return None;
    }
    let (name, bytes) = rest.split_at_checked(u32_at(head, 4) as usize)?;
    Some((head, name, bytes))
}

fn u32_at(head: &[u8; HEAD_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
}

fn u64_at(head: &[u8; HEAD_BYTES], at: usize) -> u64 {
    u64::from(u32_at(head, at)) | u64::from(u32_at(head, at + 4)) << 32
}

const MAGIC: u32 = u32::from_le_bytes(*b"GTNN");
const HEAD_BYTES: usize = 24;
/// The longest name of an agent.
pub(crate) const NAME_BYTES_MAX: usize = 4096;
/// The longest notification.
pub(crate) const BYTES_MAX: usize = 16 << 20;
/// Incomplete notifications: of 64 peers at a time, or two of the longest.
const PARTIAL_MAX: usize = 64;
const PARTIAL_BYTES_MAX: usize = 2 * BYTES_MAX;
const _: () = assert!(HEAD_BYTES + NAME_BYTES_MAX < Peer::NOTE_BYTES_MAX);

#[cfg(test)]
mod tests {
    use gputcp::onesided::Endpoint;

    use super::*;

    fn address() -> Address {
        Endpoint::bind("127.0.0.1:0", gputcp::Options::default()).unwrap().address()
    }

    #[test]
    fn a_notification_of_any_length_arrives_with_its_senders_name() {
        let (mut incoming, from) = (Incoming::default(), address());
        let room = Peer::NOTE_BYTES_MAX - HEAD_BYTES - 5;
        for (number, bytes) in [0, 1, room, room + 1, 3 * room, 100_000].into_iter().enumerate() {
            let sent: Vec<u8> = (0..bytes).map(|at| at as u8).collect();
            let notes = frame(b"agent", number as u64, &sent);
            assert_eq!(notes.len(), bytes.div_ceil(room).max(1));
            let mut found = None;
            for bytes in notes {
                assert!(found.is_none() && bytes.len() <= Peer::NOTE_BYTES_MAX);
                found = incoming.take(&Note { from, bytes }).unwrap();
            }
            assert_eq!(found, Some((b"agent".to_vec(), sent)));
        }
        assert_eq!((incoming.bytes, incoming.partial.len()), (0, 0));
    }

    #[test]
    fn pieces_of_two_senders_are_kept_apart() {
        let (mut incoming, from) = (Incoming::default(), [address(), address()]);
        let sent = [vec![1; 40_000], vec![2; 40_000]];
        let [first, second] = sent.each_ref().map(|bytes| frame(b"same", 7, bytes));
        let mut found = Vec::new();
        for pair in first.into_iter().zip(second) {
            for (from, bytes) in from.into_iter().zip([pair.0, pair.1]) {
                found.extend(incoming.take(&Note { from, bytes }).unwrap());
            }
        }
        assert_eq!(found, sent.map(|bytes| (b"same".to_vec(), bytes)));
    }

    #[test]
    fn hostile_notes_are_refused_and_bounded() {
        let (mut incoming, from) = (Incoming::default(), address());
        let mut take = |bytes: Vec<u8>| incoming.take(&Note { from, bytes });
        let whole = frame(b"agent", 0, b"text").remove(0);
        for cut in 0..HEAD_BYTES + 5 {
            assert!(take(whole[..cut].to_vec()).is_err(), "{cut}");
        }
        let with = |at: usize, number: u32| {
            let mut note = whole.clone();
            note[at..at + 4].copy_from_slice(&number.to_le_bytes());
            note
        };
        assert!(take(with(0, 1)).is_err());
        assert!(take(with(4, u32::MAX)).is_err());
        assert!(take(with(16, 1)).is_err());
        assert!(take(with(20, 0)).is_err());
        // Begun and never finished, by the thousand.
        let long = frame(b"agent", 0, &[0; 20_000]).remove(0);
        for number in 1..5_000u64 {
            let mut note = long.clone();
            note[8..16].copy_from_slice(&number.to_le_bytes());
            assert_eq!(take(note), Ok(None));
        }
        assert_eq!(incoming.partial.len(), PARTIAL_MAX);
        assert!(incoming.bytes <= PARTIAL_BYTES_MAX);
    }
}
