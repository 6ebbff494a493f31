//! A server that takes a message of each of many peers, all through one port. The connections share a pool of
//! two threads, however many there are, and one listener makes them all.

use std::{
    thread,
    time::{Duration, Instant},
};

use gputcp::{Buffer, IoPool, Options};

const PEERS: u64 = 8;
const BYTES: u64 = 1 << 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let deadline = Instant::now() + Duration::from_secs(30);
    let options = Options::default().with_streams(2).with_pool(IoPool::new(2)?);
    let mut listener = gputcp::listen("127.0.0.1:0", options)?;
    let address = listener.handle().address.to_string();
    let peers: Vec<_> = (0..PEERS)
        .map(|number| {
            let address = address.clone();
            thread::spawn(move || peer(number, &address, deadline))
        })
        .collect();

    // Each peer is served on a thread of its own; the listener goes on.
    let mut serving = Vec::new();
    for _ in 0..PEERS {
        let mut connection = listener.accept(deadline)?;
        serving.push(thread::spawn(move || -> gputcp::Result<u64> {
            let buffer = Buffer::host(BYTES)?;
            let bytes = connection.recv(&buffer)?.bytes;
            connection.close(deadline)?;
            Ok(bytes)
        }));
    }
    let mut all = 0;
    for served in serving {
        all += served.join().map_err(|_| "a server thread panicked")??;
    }
    for peer in peers {
        peer.join().map_err(|_| "a peer panicked")??;
    }
    println!("{all} bytes came from {PEERS} peers");
    Ok(())
}

fn peer(number: u64, address: &str, deadline: Instant) -> gputcp::Result<()> {
    let buffer = Buffer::host(BYTES)?;
    buffer.copy_from_host(0, &number.to_le_bytes())?;
    let mut connection = gputcp::connect(address, Options::default().with_streams(2))?;
    connection.send(&buffer)?;
    connection.close(deadline)
}
