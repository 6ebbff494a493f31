//! Receives a mebibyte of another process's bytes: `recv 0.0.0.0:9000`, and then `send HOST:9000`.

use std::time::{Duration, Instant};

use gputcp::{Buffer, Options};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).ok_or("usage: recv HOST:PORT")?;
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut connection = gputcp::listen(&address, Options::default())?.accept(deadline)?;
    let buffer = Buffer::host(1 << 20)?;
    connection.recv(&buffer)?;
    let mut bytes = vec![0; 1 << 20];
    buffer.copy_to_host(0, &mut bytes)?;
    println!(
        "received {} bytes from {}, the last is {}",
        bytes.len(),
        connection.peer(),
        bytes[(1 << 20) - 1]
    );
    Ok(connection.close(deadline)?)
}
