//! Moves a buffer from GPU memory to GPU memory, between two threads: on the first GPU, or on the software
//! GPU where there is none.

use std::{
    thread,
    time::{Duration, Instant},
};

use gputcp::{Device, Options, Pattern, SoftOptions};

const BYTES: u64 = 16 << 20;
const PATTERN: Pattern = Pattern { seed: 1, iteration: 0 };

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = Device::cuda("0").unwrap_or_else(|why| {
        println!("{why}; the software GPU stands in");
        Device::soft(SoftOptions::default())
    });
    // The connection's rings and streams are made at connect: it must know the device.
    let options = Options::default().with_device(device.clone());
    let mut listener = gputcp::listen("127.0.0.1:0", options.clone())?;
    let address = listener.handle().address.to_string();
    let source = device.allocate(BYTES)?;
    let sender = thread::spawn(move || {
        // Any kernel of the device may write it; the pattern is written by one.
        source.fill(PATTERN, 0, BYTES)?;
        let mut connection = gputcp::connect(&address, options)?;
        connection.send(&source)?;
        connection.close(Instant::now() + Duration::from_secs(30))
    });

    let deadline = Instant::now() + Duration::from_secs(30);
    let mut connection = listener.accept(deadline)?;
    let destination = device.allocate(BYTES)?;
    connection.recv(&destination)?;
    destination.verify(PATTERN, 0, BYTES)??;
    println!("{BYTES} bytes are in the memory of {}", device.describe());
    connection.close(deadline)?;
    Ok(sender.join().map_err(|_| "the sender panicked")??)
}
