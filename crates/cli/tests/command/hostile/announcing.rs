//! A client made of bare sockets that has a server send to it, and announces longer short messages than were
//! agreed on.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use gputcp_cli::session::Kind;
use gputcp_proto::{
    frame::{Announce, Control, Join, JoinVerdict, Token, Welcome},
    handle::Handle,
    key::Proof,
};
use serde_json::json;

use crate::{
    bootstrap::{greet, hear, say},
    frames::settings,
    process::{Server, expect, finish, small},
};

#[test]
fn a_client_that_announces_more_than_was_agreed_on_does_not_end_the_server() {
    let mut server = Server::start(&[]);
    let mut stream = greet(&server.port);
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("it is a socket");
    let next = |stream: &mut TcpStream| hear(stream).0;
    let changes =
        json!({ "sizes": [100], "flow": "backward", "memory": "soft", "unpack": "kernel", "ceiling": false });
    say(&mut stream, Kind::Settings, &settings(&changes));
    assert_eq!((next(&mut stream), next(&mut stream)), (Kind::Accept, Kind::Handles));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let handle = Handle::at(listener.local_addr().expect("its address"), Token([1; 16])).encode();
    let digits: String = handle.iter().map(|byte| format!("{byte:02x}")).collect();
    say(&mut stream, Kind::Handles, &format!(r#"{{"connections":["{digits}"],"raw":null}}"#));
    let mut sockets: Vec<(Join, TcpStream)> = (0..2)
        .map(|_| {
            let (mut socket, _) = listener.accept().expect("the server connects");
            let mut join = [0; Join::BYTES];
            socket.read_exact(&mut join).expect("it says who it is");
            (Join::decode(&join).expect("a join"), socket)
        })
        .collect();
    sockets.sort_by_key(|(join, _)| join.index);
    let control = &mut sockets[0].1;
    // None inside control frames, and then all of them.
    let welcome = Welcome {
        verdict: JoinVerdict::Accepted,
        slots: 8,
        inline_bytes: 0,
        eager_places: 0,
        max_receives: 1,
        proof: Proof::NONE,
    };
    let announce = Announce { seq: 0, capacity: 16384, inline_bytes: 100, done: 0, mark: None };
    control
        .write_all(&[&welcome.encode()[..], &Control::Announce(announce).encode()].concat())
        .expect("the server reads");
    assert_eq!(next(&mut stream), Kind::Ready);
    for (kind, text) in [
        (Kind::Ready, r#"{"setup_us":1}"#),
        (Kind::BeginBackward, r#"{"work":"transfer","bytes":100,"iteration":1,"rounds":1}"#),
        (Kind::Go, "{}"),
    ] {
        say(&mut stream, kind, text);
        if kind == Kind::BeginBackward {
            // Its data is there, or it has seen the announcement by now.
            hear(&mut stream);
        }
    }
    let line = server.hear("gputcp: the ");
    assert!(line.contains("sent a announcement whose inline length is 100"), "{line}");
    server.is_well();
    expect(&finish(server.client(&small(&["-q"]))), 0);
}
