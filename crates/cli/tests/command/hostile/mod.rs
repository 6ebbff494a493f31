//! Hostile peers of the command's processes: strangers to a server, and a relay between an honest client and
//! an honest server that spoils a frame. Neither process panics or dies of a signal, and the server goes on
//! serving.

mod announcing;
mod relay;
mod spoil;
mod strangers;

use std::thread;

use gputcp_fuzz::{Counts, Rng, run};

use crate::process::{Server, expect, finish, small};

/// Runs cases against several servers side by side, as sessions wait more than they work. Each server is well
/// after each case, and serves an honest client at the end.
fn against_servers(name: &str, case: impl Fn(&mut Rng, &mut Counts, &str) + Sync) {
    thread::scope(|scope| {
        for _ in 0..SERVERS {
            scope.spawn(|| {
                let mut server = Server::start(&["--timeout", "0.5"]);
                let counts = run(name, |random, counts| {
                    case(random, counts, &server.port);
                    server.is_well();
                });
                assert!(counts.of("frames") > 0);
                expect(&finish(server.client(&small(&["-q"]))), 0);
                server.is_well();
            });
        }
    });
}

const SERVERS: usize = 4;
