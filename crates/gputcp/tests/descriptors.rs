//! A process that runs out of descriptors. Alone in its test program, as the limit is the process's.

mod common;

use std::{
    fs,
    io::Write as _,
    net::TcpStream,
    time::{Duration, Instant},
};

use common::{join, listen, options, soon};
use gputcp::Error;
use gputcp_proto::frame::Join;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn strays_that_hold_all_descriptors_make_room_for_an_honest_sender() {
    let (mut listener, handle) = listen(&options(1));
    let connect = || TcpStream::connect(handle.address).unwrap();
    let strays: Vec<_> = (0..60).map(|_| connect()).collect();
    let honest: Vec<_> = (0..2u16)
        .map(|index| {
            let mut socket = connect();
            let join = Join { index, ..join(&handle) };
            socket.write_all(&join.encode()).unwrap();
            socket
        })
        .collect();
    let open = fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    let whole = getrlimit(Resource::Nofile);
    // Room for fewer than there are strays before the honest one.
    let few = Rlimit { current: Some(open + 40), ..whole };
    setrlimit(Resource::Nofile, few).unwrap();
    let began = Instant::now();
    let receiver = listener.accept(soon()).unwrap();
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert!(listener.strays() >= 20, "{}", listener.strays());
    drop((receiver, honest));

    // Where others hold all descriptors that does not help: it waits for them, as long as it may.
    drop(strays);
    setrlimit(Resource::Nofile, whole).unwrap();
    // The listener lets go of those that have left.
    std::thread::sleep(Duration::from_millis(50));
    assert!(listener.poll().unwrap().is_none());
    let late = connect();
    setrlimit(Resource::Nofile, few).unwrap();
    let hoard: Vec<_> =
        std::iter::repeat_with(|| fs::File::open("/dev/null")).map_while(Result::ok).collect();
    let (began, deadline) = (Instant::now(), Instant::now() + Duration::from_millis(300));
    let error = listener.accept(deadline).unwrap_err();
    assert!(matches!(error, Error::System { .. }), "{error:?}");
    assert!(error.to_string().contains("Too many open files"), "{error}");
    assert!(began.elapsed() >= Duration::from_millis(290));
    drop((hoard, late));
    setrlimit(Resource::Nofile, whole).unwrap();
}
