//! Sends a mebibyte of this process's bytes: `recv 0.0.0.0:9000` on one machine, `send HOST:9000` on another.

use std::time::{Duration, Instant};

use gputcp::{Buffer, Options};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).ok_or("usage: send HOST:PORT")?;
    let bytes: Vec<u8> = (0..1 << 20).map(|at| at as u8).collect();
    let buffer = Buffer::host(1 << 20)?;
    buffer.copy_from_host(0, &bytes)?;
    let mut connection = gputcp::connect(&address, Options::default())?;
    let sent = connection.send(&buffer)?;
    println!("sent {} bytes to {}", sent.bytes, connection.peer());
    Ok(connection.close(Instant::now() + Duration::from_secs(60))?)
}
