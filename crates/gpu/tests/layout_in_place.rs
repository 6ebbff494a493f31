//! Messages in many ranges of host memory, which sockets read and write in place.

mod blocks;

use std::{
    io::{ErrorKind, Read as _, Write as _},
    os::{fd::AsFd as _, unix::net::UnixStream},
};

use blocks::{BLOCK, MESSAGE_BYTES, PATTERN, blocks, content, expected};
use gputcp_gpu::{Buffer, Device, SoftOptions};
use gputcp_proto::layout::Layout;

#[test]
fn sockets_read_and_write_ranges_of_host_memory_in_place() {
    let bytes = MESSAGE_BYTES;
    let (source, destination) = (Buffer::host(bytes).unwrap(), Buffer::host(bytes).unwrap());
    source.fill(PATTERN, 0, bytes).unwrap();
    let (from, to) = (blocks(7), blocks(11));
    let (read, write) = (source.read(0, bytes).unwrap(), destination.write(0, bytes).unwrap());
    let (tx, rx) = UnixStream::pair().unwrap();
    let (mut sent, mut received) = (0, 0);
    // Calls begin and end inside ranges, and take several at once.
    for asked in [1, 999, 1, 1500, 20_000, 3, 70_000].into_iter().cycle() {
        let asked = asked.min(bytes - sent);
        let taken = read.send_ranges(tx.as_fd(), b"header", &from, sent, asked).unwrap() as u64;
        assert!(taken > 6 && taken <= 6 + asked);
        assert!(asked > 63 * BLOCK - BLOCK || taken == 6 + asked, "one call takes 63 ranges");
        sent += taken - 6;
        let mut header = [0; 6];
        (&rx).read_exact(&mut header).unwrap();
        assert_eq!(&header, b"header");
        while received < sent {
            received += write.recv_ranges(rx.as_fd(), &to, received, sent - received).unwrap() as u64;
        }
        if sent == bytes {
            break;
        }
    }
    drop(write);
    assert!(content(&destination) == expected(7, 11));
}

#[test]
fn sockets_take_a_bare_header_and_nothing_and_see_a_closed_peer() {
    let buffer = Buffer::host(10).unwrap();
    let (layout, empty) = (Layout::of([(1, 2), (5, 3)]).unwrap(), Layout::of([]).unwrap());
    let (tx, mut rx) = UnixStream::pair().unwrap();
    let read = buffer.read(0, 10).unwrap();
    assert_eq!(read.send_ranges(tx.as_fd(), b"head", &layout, 5, 0).unwrap(), 4);
    assert_eq!(read.send_ranges(tx.as_fd(), b"er", &empty, 0, 0).unwrap(), 2);
    assert_eq!(read.send_ranges(tx.as_fd(), b"", &layout, 1, 3).unwrap(), 3);
    let mut found = [1; 9];
    rx.read_exact(&mut found).unwrap();
    assert_eq!(&found, b"header\0\0\0");
    drop(read);
    let write = buffer.write(0, 10).unwrap();
    assert_eq!(write.recv_ranges(rx.as_fd(), &layout, 2, 0).unwrap(), 0);
    (&tx).write_all(b"abcdef").unwrap();
    assert_eq!(write.recv_ranges(rx.as_fd(), &layout, 1, 4).unwrap(), 4, "not beyond the part");
    drop(write);
    assert_eq!(content(&buffer), b"\0\0a\0\0bcd\0\0");
    (&rx).read_exact(&mut [0; 2]).unwrap();
    drop(tx);
    let write = buffer.write(0, 10).unwrap();
    assert_eq!(write.recv_ranges(rx.as_fd(), &layout, 0, 5).unwrap(), 0, "closed");
    drop(write);
    let error = buffer.read(0, 10).unwrap().send_ranges(rx.as_fd(), b"", &layout, 0, 5).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

#[test]
fn sockets_refuse_device_memory_and_bytes_that_are_not_there() {
    let (tx, rx) = UnixStream::pair().unwrap();
    (&tx).write_all(&[7; 100]).unwrap();
    let layout = Layout::of([(1, 2), (5, 5)]).unwrap();
    let device = Device::soft(SoftOptions::default()).allocate(10).unwrap();
    let host = Buffer::host(10).unwrap();
    for (buffer, claimed, offset, bytes, expected) in [
        (&device, 10, 0, 7, ErrorKind::Unsupported),
        (&host, 9, 0, 1, ErrorKind::InvalidInput),
        (&host, 10, 1, 7, ErrorKind::InvalidInput),
        (&host, 10, u64::MAX, 2, ErrorKind::InvalidInput),
    ] {
        let read = buffer.read(0, claimed).unwrap();
        let error = read.send_ranges(tx.as_fd(), b"header", &layout, offset, bytes).unwrap_err();
        assert_eq!(error.kind(), expected);
        drop(read);
        let write = buffer.write(0, claimed).unwrap();
        let error = write.recv_ranges(rx.as_fd(), &layout, offset, bytes).unwrap_err();
        assert_eq!(error.kind(), expected);
    }
    assert!(content(&host).iter().all(|&byte| byte == 0));
}
