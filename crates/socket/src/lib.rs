//! Socket features that no safe library offers.
//!
//! These are the kernel's counters of a TCP connection ([`TcpInfo`]), and descriptors that a forked child
//! does not keep ([`CloseOnFork`]).
//!
//! A crate of its own because both need `unsafe` and the crates above it forbid that (invariant I5).

mod fork;

pub use self::fork::{CloseOnFork, is_forked_child};

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
};

/// A reading of one connection's counters and estimates.
///
/// Field meanings and offsets: `struct tcp_info` in the kernel's `include/uapi/linux/tcp.h`, which only ever
/// grows at its end. A kernel that is too old to know a field reports 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TcpInfo {
    /// Smoothed round-trip time in microseconds.
    pub rtt_us: u32,
    /// The shortest round trip of late, in microseconds; 0 if the kernel does not report it.
    pub min_rtt_us: u32,
    /// The congestion window in packets.
    pub cwnd_packets: u32,
    /// The maximum segment size this side sends, in bytes.
    pub mss_bytes: u32,
    /// Packets that are sent but not yet acknowledged.
    pub unacked_packets: u32,
    /// Bytes that are written but not yet sent.
    pub not_sent_bytes: u32,
    /// Packets retransmitted since the connection began.
    pub retransmits: u32,
    /// Bytes the peer has acknowledged.
    pub bytes_acked: u64,
    /// Bytes received in order.
    pub bytes_received: u64,
    /// Bytes sent again.
    pub bytes_retransmitted: u64,
    /// Microseconds in which the peer's receive window held the sender back.
    pub receive_window_limited_us: u64,
    /// Microseconds in which this side's send buffer held the sender back.
    pub send_buffer_limited_us: u64,
}

impl TcpInfo {
    /// Reads the counters of a TCP socket.
    ///
    /// # Errors
    /// The kernel's error, if the descriptor is no TCP socket.
    pub fn read(socket: impl AsFd) -> io::Result<Self> {
        let mut raw = [0u8; 512];
        let mut bytes = raw.len() as libc::socklen_t;
        // SAFETY: the descriptor is open while it is borrowed, and the kernel writes at most `bytes` bytes to
        // `raw`, whose length that is.
        let failed = unsafe {
            libc::getsockopt(
                socket.as_fd().as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                raw.as_mut_ptr().cast(),
                &raw mut bytes,
            )
        };
        if failed != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self::from_raw(&raw[..(bytes as usize).min(raw.len())]))
    }

    fn from_raw(raw: &[u8]) -> Self {
        let u32_at =
            |at: usize| raw.get(at..at + 4).map_or(0, |b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        Self {
            mss_bytes: u32_at(16),
            unacked_packets: u32_at(24),
            rtt_us: u32_at(68),
            cwnd_packets: u32_at(80),
            retransmits: u32_at(100),
            bytes_acked: u64_at(120),
            bytes_received: u64_at(128),
            not_sent_bytes: u32_at(144),
            min_rtt_us: u32_at(148),
            receive_window_limited_us: u64_at(176),
            send_buffer_limited_us: u64_at(184),
            bytes_retransmitted: u64_at(208),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
    };

    use super::TcpInfo;

    #[test]
    fn counts_what_was_sent_and_received() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.write_all(&[7; 1000]).unwrap();
        server.read_exact(&mut [0; 1000]).unwrap();
        assert_eq!(TcpInfo::read(&server).unwrap().bytes_received, 1000);
        let info = TcpInfo::read(&client).unwrap();
        assert!(info.mss_bytes > 500 && info.cwnd_packets > 0, "{info:?}");
    }

    #[test]
    fn counts_what_the_peer_has_not_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.set_nonblocking(true).unwrap();
        let mut written = 0;
        while let Ok(more) = client.write(&[7; 1 << 16]) {
            written += more;
        }
        let info = TcpInfo::read(&client).unwrap();
        assert!(info.not_sent_bytes > 0, "{info:?}");
        server.read_exact(&mut vec![0; written]).unwrap();
        let info = TcpInfo::read(&client).unwrap();
        assert_eq!((info.unacked_packets, info.not_sent_bytes), (0, 0), "{info:?}");
    }

    #[test]
    fn refuses_what_is_no_tcp_socket() {
        assert!(TcpInfo::read(std::fs::File::open("/dev/null").unwrap()).is_err());
    }
}
