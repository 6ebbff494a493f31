//! The frames of a session, and what a client says in them that is no process of the command's.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
};

use gputcp_cli::session::{Header, Kind};
use serde_json::{Value, json};

/// Writes a frame.
pub(crate) fn say(stream: &mut TcpStream, kind: Kind, text: &str) -> io::Result<()> {
    let header = Header { kind, bytes: text.len() as u32 };
    stream.write_all(&[&header.encode(), text.as_bytes()].concat())
}

/// Reads a frame of an honest process.
pub(crate) fn hear(stream: &mut TcpStream) -> io::Result<(Kind, Vec<u8>)> {
    let mut header = [0; Header::BYTES];
    stream.read_exact(&mut header)?;
    let header = Header::decode(&header).map_err(|violation| io::Error::other(violation.to_string()))?;
    let mut text = vec![0; header.bytes as usize];
    stream.read_exact(&mut text)?;
    Ok((header.kind, text))
}

/// The hello of a client.
pub(crate) const HELLO: &str = r#"{"version":"0",
    "identity":{"host":"h","boot_id":"","network_namespace":0,"cores":1},"challenge":null}"#;

/// Returns the settings of a client that asks for 64 KiB, with these changes.
pub(crate) fn settings(changes: &Value) -> String {
    let mut settings = json!({
        "sizes": [65536],
        "flow": "forward",
        "transport": "sockets",
        "streams": 1,
        "channels": 1,
        "chunk_bytes": 16384,
        "send_window": 4,
        "recv_window": 8,
        "memory": "host",
        "unpack": "none",
        "segment_bytes": null,
        "slabs": null,
        "congestion": null,
        "send_buffer_bytes": null,
        "recv_buffer_bytes": null,
        "verify": true,
        "ceiling": true,
        "timeout_ms": 300,
        "seed": 7,
        "memory_automatic": false,
        "server_gpu": null,
        "plugin": null,
        "client_gpu_uuid": null,
    });
    for (name, value) in changes.as_object().expect("fields") {
        settings[name] = value.clone();
    }
    settings.to_string()
}
