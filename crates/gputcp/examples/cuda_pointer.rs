//! Sends memory that another library allocated, given by its CUDA pointer: `tensor.data_ptr()` of PyTorch,
//! `device_ptr` of cudarc or candle. Says "skipped" where there is no GPU.

use std::{
    ptr::NonNull,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use gputcp::{Buffer, Device, Options, Pattern};

const BYTES: u64 = 16 << 20;
const PATTERN: Pattern = Pattern { seed: 1, iteration: 0 };

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = match Device::cuda("0") {
        Ok(device) => device,
        Err(why) => {
            println!("skipped: no GPU ({why})");
            return Ok(());
        }
    };
    // Another library's allocation, which it keeps while `owner` lives. Its kernels that write there are
    // done: gputcp waits for no stream of another library.
    let owner = device.allocate(BYTES)?;
    owner.fill(PATTERN, 0, BYTES)?;
    let pointer: NonNull<u8> = owner.address();

    // The driver knows how far the allocation reaches: an address or a length that is wrong is refused here.
    if device.bytes_at(pointer)?.is_some_and(|left| left < BYTES) {
        return Err("the allocation is shorter than that".into());
    }
    // SAFETY: the driver has said that this device's memory has as many bytes from the pointer on. `owner`
    // keeps them as long as the buffer or a transfer needs them, and no other code touches them until the
    // transfer is done.
    let source = unsafe { Buffer::foreign(pointer, BYTES, &device, Arc::new(owner)) }?;

    let options = Options::default().with_device(device.clone());
    let mut listener = gputcp::listen("127.0.0.1:0", options.clone())?;
    let address = listener.handle().address.to_string();
    let sender = thread::spawn(move || {
        let mut connection = gputcp::connect(&address, options)?;
        connection.send(&source)?;
        connection.close(Instant::now() + Duration::from_secs(30))
    });
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut connection = listener.accept(deadline)?;
    let destination = device.allocate(BYTES)?;
    connection.recv(&destination)?;
    destination.verify(PATTERN, 0, BYTES)??;
    println!("{BYTES} bytes of another library's memory are in the memory of {}", device.describe());
    connection.close(deadline)?;
    Ok(sender.join().map_err(|_| "the sender panicked")??)
}
