//! Hostile peers of the command's processes: strangers to a server, and a relay between an honest client and
//! an honest server that spoils a frame. Neither process panics or dies of a signal, and the server goes on
//! serving.

mod announcing;
mod relay;
mod spoil;
mod strangers;

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
    thread,
};

use gputcp_cli::session::{Header, Kind};
use gputcp_fuzz::{Counts, Rng, run};
use serde_json::json;

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

/// Writes a frame.
fn say(stream: &mut TcpStream, kind: Kind, text: &str) -> io::Result<()> {
    let header = Header { kind, bytes: text.len() as u32 };
    stream.write_all(&[&header.encode(), text.as_bytes()].concat())
}

/// Reads a frame of an honest process.
fn hear(stream: &mut TcpStream) -> io::Result<(Kind, Vec<u8>)> {
    let mut header = [0; Header::BYTES];
    stream.read_exact(&mut header)?;
    let header = Header::decode(&header).map_err(|violation| io::Error::other(violation.to_string()))?;
    let mut text = vec![0; header.bytes as usize];
    stream.read_exact(&mut text)?;
    Ok((header.kind, text))
}

/// The hello of a client.
const HELLO: &str = r#"{"version":"0",
    "identity":{"host":"h","boot_id":"","network_namespace":0,"cores":1},"challenge":null}"#;

/// Returns the settings of a client that asks for 64 KiB, this way, in this memory.
fn settings(flow: &str, memory: &str, ceiling: bool) -> String {
    let unpack = if memory == "host" { "none" } else { "kernel" };
    let settings = json!({
        "sizes": [65536],
        "flow": flow,
        "transport": "sockets",
        "streams": 1,
        "channels": 1,
        "chunk_bytes": 16384,
        "send_window": 4,
        "recv_window": 8,
        "memory": memory,
        "unpack": unpack,
        "segment_bytes": null,
        "slabs": null,
        "congestion": null,
        "send_buffer_bytes": null,
        "recv_buffer_bytes": null,
        "verify": true,
        "ceiling": ceiling,
        "timeout_ms": 300,
        "seed": 7,
        "memory_automatic": false,
        "server_gpu": null,
        "plugin": null,
        "client_gpu_uuid": null,
    });
    settings.to_string()
}
