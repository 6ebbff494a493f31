//! The examples run, each as a user starts it.

#[path = "../../test-plugin/built.rs"]
mod built;

use std::{
    net::TcpListener,
    process::{Child, Command, Output, Stdio},
};

use self::built::built;

fn example(name: &str) -> Command {
    let mut command = Command::new(built().join("examples").join(name));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Returns the words of an example that ends well. Each bounds its own waits.
fn said(child: Child) -> String {
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{status}: {stdout}{stderr}");
    stdout.into_owned()
}

#[test]
fn two_processes_send_and_receive() {
    let reserved = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = reserved.local_addr().unwrap().to_string();
    drop(reserved);
    // In either order: the sender asks until the receiver is up.
    let sender = example("send").arg(&address).spawn().unwrap();
    let receiver = example("recv").arg(&address).spawn().unwrap();
    let (sent, received) = (said(sender), said(receiver));
    assert!(sent.starts_with("sent 1048576 bytes to 127.0.0.1:"), "{sent}");
    assert!(received.starts_with("received 1048576 bytes from 127.0.0.1:"), "{received}");
    assert!(received.ends_with("the last is 255\n"), "{received}");
}

#[test]
fn a_gpu_buffer_moves() {
    let said = said(example("gpu_buffer").spawn().unwrap());
    assert!(said.contains("16777216 bytes are in the memory of "), "{said}");
}

#[test]
fn an_existing_pointer_moves_or_says_that_there_is_no_gpu() {
    let said = said(example("cuda_pointer").spawn().unwrap());
    assert!(said.starts_with("skipped: no GPU") || said.contains("of another library's memory"), "{said}");
    print!("{said}");
}

#[test]
fn two_ranks_exchange() {
    let said = said(example("both_ways").spawn().unwrap());
    for (rank, other) in [(0, 1), (1, 0)] {
        assert!(said.contains(&format!("rank {rank} has 4194304 bytes of rank {other}")), "{said}");
    }
}

#[test]
fn a_server_takes_many_peers() {
    let said = said(example("server").spawn().unwrap());
    assert_eq!(said, "8388608 bytes came from 8 peers\n");
}

#[test]
fn the_page_shows_the_code_of_the_examples() {
    let page = include_str!("../../../README.md");
    let code =
        page.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block of Rust");
    let (recv, send) = (include_str!("../examples/recv.rs"), include_str!("../examples/send.rs"));
    for (block, example) in code.split("\n\n").zip([recv, send]) {
        for line in block.lines().filter(|line| !line.starts_with("//")) {
            assert!(example.lines().any(|known| known.trim() == line), "{line}");
        }
    }
}
