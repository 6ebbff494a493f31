//! Two ranks exchange their buffers: each listens, connects to the other, and sends while it receives. A
//! connection carries data one way, so there are two.

use std::{
    error::Error,
    thread,
    time::{Duration, Instant},
};

use gputcp::{Buffer, Listener, Options};

const BYTES: u64 = 4 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let listen = || gputcp::listen("127.0.0.1:0", Options::default());
    let listeners = [listen()?, listen()?];
    let [zero, one] = [&listeners[0], &listeners[1]].map(|listener| listener.handle().address.to_string());
    let [first, second] = listeners;
    let other = thread::spawn(move || rank(1, second, &zero).map_err(|error| error.to_string()));
    rank(0, first, &one)?;
    Ok(other.join().map_err(|_| "rank 1 panicked")??)
}

/// Runs one rank. In a job, each rank is a process that knows the other's host and port.
fn rank(rank: u8, mut listener: Listener, other: &str) -> Result<(), Box<dyn Error>> {
    let deadline = Instant::now() + Duration::from_secs(30);
    let (mine, theirs) = (Buffer::host(BYTES)?, Buffer::host(BYTES)?);
    mine.copy_from_host(0, &vec![rank; BYTES as usize])?;
    // Each end accepts while it connects: it would wait for the other, which does the same.
    thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let mut connection = gputcp::connect(other, Options::default())?;
            connection.send(&mine)?;
            connection.close(deadline)
        });
        let mut receiving = listener.accept(deadline)?;
        receiving.recv(&theirs)?;
        receiving.close(deadline)?;
        sending.join().map_err(|_| "the sender panicked")??;
        let mut first = [0];
        theirs.copy_to_host(0, &mut first)?;
        println!("rank {rank} has {BYTES} bytes of rank {}", first[0]);
        Ok(())
    })
}
