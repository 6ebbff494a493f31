//! Others at the other end: no peer, strangers, older versions, two at once.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use gputcp_cli::session::Kind;
use serde_json::json;

use crate::{
    frames::{self, HELLO, settings},
    process::{Running, Server, expect, fails, finish, gputcp, measuring, run, small, stderr},
};

/// Returns a port that was just free.
fn free_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address").port().to_string()
}

#[test]
fn refused() {
    let port = free_port();
    let since = Instant::now();
    let output = run(&["client", "127.0.0.1", "-p", &port]);
    expect(&output, 5);
    let said = stderr(&output);
    assert!(
        said.contains(&port) && said.contains("tried 30 times") && said.contains("gputcp server"),
        "{said}"
    );
    assert!(since.elapsed() > Duration::from_secs(2), "it was patient");
}

#[test]
fn no_such_host_and_no_route() {
    fails(&run(&["client", "no-such-host.invalid", "--timeout", "2"]), 5, "no-such-host.invalid");
    // An address that no machine has (RFC 5737).
    fails(&run(&["client", "192.0.2.1", "--timeout", "1"]), 5, "could not connect to 192.0.2.1 port 12347");
    let output = run(&["client", "::1", "-4"]);
    expect(&output, 5);
}

#[test]
fn a_server_that_comes_late_is_waited_for() {
    let port = free_port();
    let mut command = gputcp(&["client", "127.0.0.1", "-p", &port]);
    command.args(small(&[])).stdout(Stdio::piped()).stderr(Stdio::piped());
    let client = Running::start(command);
    thread::sleep(Duration::from_millis(500));
    let mut command = gputcp(&["server", "--once", "-q", "-B", "127.0.0.1", "-p", &port]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let _server = Running::start(command);
    expect(&client.output(), 0);
}

/// Returns how a client ends at a server that answers `says` to the first bytes it gets.
fn meet(says: &[u8], stay: bool) -> String {
    let says = says.to_vec();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port().to_string();
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(&says);
        if stay {
            // Until the client has had enough.
            let _ = stream.read(&mut [0; 4096]);
        }
    });
    let output = run(&["client", "127.0.0.1", "-p", &port, "--timeout", "0.5"]);
    expect(&output, 5);
    thread.join().expect("it ends");
    stderr(&output)
}

#[test]
fn not_a_server_of_ours() {
    let garbage = meet(b"HTTP/1.1 400 Bad Request\r\n\r\n", true);
    assert!(garbage.contains("no gputcp frame"), "{garbage}");
    let silent = meet(b"", true);
    // As long as it was, which a busy machine makes a little longer than the bound.
    let seconds = silent.split("was silent for ").nth(1).and_then(|rest| rest.split(" s").next());
    let seconds: f64 = seconds.and_then(|seconds| seconds.parse().ok()).unwrap_or_else(|| panic!("{silent}"));
    assert!((0.5..2.0).contains(&seconds), "{silent}");
    let gone = meet(b"", false);
    assert!(gone.contains("is gone while greeting"), "{gone}");
    let mut start = *b"GTSN\x00\x00\x01\x00";
    start[4..6].copy_from_slice(&gputcp_proto::frame::VERSION.to_le_bytes());
    let half = meet(&start, true);
    assert!(half.contains("was silent"), "{half}");
    let other = meet(b"GTSN\x63\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00", true);
    assert!(other.contains("speaks protocol version 99"), "{other}");
    let hostile = meet(&[&start[..], b"\xff\xff\xff\xff\x00\x00\x00\x00"].concat(), true);
    assert!(hostile.contains("length is 4294967295"), "{hostile}");
}

#[test]
fn a_port_in_use() {
    let server = Server::start(&[]);
    fails(&run(&["server", "-B", "127.0.0.1", "-p", &server.port]), 1, "choose another --port");
}

#[test]
fn settings_that_the_server_cannot_do_are_refused_there() {
    // A client that checks nothing: it says what it likes.
    let mut server = Server::start(&[]);
    for settings in [
        r#"{"sizes":[0]}"#.to_owned(),
        settings(&json!({ "sizes": [u64::MAX] })),
        settings(&json!({ "sizes": [100_000_000_000_000u64] })),
        settings(&json!({ "sizes": [1], "congestion": "nosuch" })),
    ] {
        let mut stream = greet(&server.port);
        say(&mut stream, Kind::Settings, &settings);
        let (kind, text) = hear(&mut stream);
        assert!(matches!(kind, Kind::Refuse | Kind::Abort), "{text}");
        server.hear("gputcp: the client at");
    }
    expect(&finish(server.client(&small(&["-q"]))), 0);
}

#[test]
fn nothing_in_the_settings_ends_the_server() {
    let mut server = Server::start(&[]);
    // Control characters grow sixfold in JSON, and what was wrong is told with the text that was wrong.
    let variant = format!(r#"{{"memory":"{}"}}"#, r"\u0001".repeat(678));
    // As an array the same fields leave more room for a name.
    let array = |name: &str| {
        format!(r#"[[1],"forward",1,1,1,1,1,"soft","kernel",null,"{name}",null,null,true,false,100,1]"#)
    };
    let name = array(&"n".repeat(4096 - array("").len()));
    assert_eq!(name.len(), 4096);
    // Neither does the server's terminal obey.
    let escape = r#"{"memory":"\u001b[31mRED\nserved everybody\u202e"}"#.to_owned();
    for settings in [variant, name, array(r"\u001b[31m\nserved everybody"), escape] {
        let mut stream = greet(&server.port);
        say(&mut stream, Kind::Settings, &settings);
        let (kind, text) = hear(&mut stream);
        assert!(matches!(kind, Kind::Refuse | Kind::Abort), "{text}");
        let line = server.hear("");
        assert!(
            line.starts_with("gputcp: the client at") && !line.contains(['\x1b', '\u{202e}']),
            "{line:?}"
        );
    }
    expect(&finish(server.client(&small(&["-q"]))), 0);
}

#[test]
fn a_peer_that_dies_during_set_up_is_noticed_at_once() {
    let mut server = Server::start(&[]);
    for last_words in [None, Some(r#"{"reason":"no sockets left","code":1}"#)] {
        let mut stream = greet(&server.port);
        say(&mut stream, Kind::Settings, &settings(&json!({ "sizes": [1], "timeout_ms": 50_000 })));
        assert_eq!(hear(&mut stream).0, Kind::Accept);
        assert_eq!(hear(&mut stream).0, Kind::Handles);
        say(&mut stream, Kind::Handles, r#"{"connections":[],"raw":null}"#);
        // The server waits for data connections now.
        thread::sleep(Duration::from_millis(100));
        let since = Instant::now();
        if let Some(words) = last_words {
            say(&mut stream, Kind::Abort, words);
        } else {
            drop(stream);
        }
        let line = server.hear("gputcp: the client at");
        assert!(line.contains(if last_words.is_some() { "no sockets left" } else { "is gone" }), "{line}");
        assert!(since.elapsed() < Duration::from_secs(2), "it took {:?}", since.elapsed());
    }
}

/// Makes a connection that is let in; the server may be busy for a moment with the one before.
pub(crate) fn greet(port: &str) -> TcpStream {
    // A field that is not known is passed over.
    let hello = HELLO.replace(r#""challenge":null"#, r#""more":1"#);
    for _ in 0..50 {
        let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).expect("the server listens");
        say(&mut stream, Kind::Hello, &hello);
        if hear(&mut stream).0 == Kind::Hello {
            return stream;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("the server stays busy");
}

pub(crate) fn say(stream: &mut TcpStream, kind: Kind, text: &str) {
    frames::say(stream, kind, text).expect("the server reads");
}

pub(crate) fn hear(stream: &mut TcpStream) -> (Kind, String) {
    let (kind, text) = frames::hear(stream).expect("the server answers in our way");
    (kind, String::from_utf8(text).expect("with text"))
}

#[test]
fn strangers_disturb_no_transfer() {
    let mut server = Server::start(&[]);
    let address = format!("127.0.0.1:{}", server.port);
    let connect = || TcpStream::connect(&address).expect("the server listens");
    let mut command = server.client(&["-s", "4M", "-t", "2", "-w", "1"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let client = Running::start(command);
    let mut strangers = Vec::new();
    for round in 0..20 {
        let mut stranger = connect();
        match round % 3 {
            0 => {}
            1 => stranger.write_all(b"\x16\x03\x01 garbage").expect("it is taken"),
            _ => stranger.write_all(b"GTSN\x02\x00").expect("it is taken"),
        }
        strangers.push(stranger);
        thread::sleep(Duration::from_millis(20));
    }
    expect(&client.output(), 0);
    let line = server.hear("served the client");
    assert!(line.contains("stray connections dropped"), "{line}");
    expect(&finish(server.client(&small(&["-q"]))), 0);
}

#[test]
fn who_greets_and_says_no_more_keeps_an_honest_client_waiting_for_a_moment_only() {
    let mut server = Server::start(&["--timeout", "60"]);
    let silent = greet(&server.port);
    let since = Instant::now();
    expect(&finish(server.client(&small(&["-q"]))), 0);
    assert!(since.elapsed() < Duration::from_secs(5), "it took {:?}", since.elapsed());
    server.hear("was silent for 2.0 s while agreeing on the settings");
    drop(silent);
}

#[test]
fn a_second_client_waits_its_turn_or_is_told() {
    let server = Server::start(&[]);
    let first = measuring(server.client(&["-s", "1M", "-t", "60"]));
    let output = finish(server.client(&small(&["--timeout", "1"])));
    expect(&output, 5);
    let said = stderr(&output);
    assert_eq!(
        said.matches("it is serving another client").count(),
        2,
        "once on the way, once at the end: {said}"
    );
    assert!(said.starts_with("waiting up to 1s: "), "{said}");
    drop(first);
}

#[test]
fn both_ends_need_the_same_key() {
    let folder = std::env::temp_dir();
    let write = |name: &str, text: &str| {
        let path = folder.join(format!("{name}-{}.key", std::process::id()));
        fs::write(&path, text).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its owner's alone");
        path.to_str().expect("it is text").to_owned()
    };
    let right = write("right", "an example of a key\n");
    let wrong = write("wrong", "another key altogether\n");
    let short = write("short", "short\n");
    let server = Server::start(&["--key-file", &right]);
    let client =
        |more: &[&str]| run(&[&["client", "127.0.0.1", "-p", &server.port], more, &small(&[])].concat());
    fails(&client(&[]), 5, "it asks for a key: give --key-file");
    fails(&client(&["--key-file", &wrong]), 5, "the key is another");
    expect(&client(&["--key-file", &right]), 0);
    fails(&client(&["--key-file", &short]), 2, "at least 16 are needed");
    expect(&client(&["--key-file", "/no/such/file"]), 2);
    let mut command = gputcp(&["client", "127.0.0.1", "-p", &server.port]);
    command.args(small(&[])).env("GPUTCP_KEY", "an example of a key");
    expect(&finish(command), 0);
    drop(server);
    [right, wrong, short].iter().for_each(|path| fs::remove_file(path).expect("it was there"));
}
