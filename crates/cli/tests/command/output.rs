//! Results that cannot be written end the command with exit code 1 and a sentence, soon.

use std::{
    fs::OpenOptions,
    io,
    process::Stdio,
    time::{Duration, Instant},
};

use crate::process::{Running, expect, fails, finish, gputcp, small, stderr};

fn into(stdout: Stdio, args: &[&str]) -> std::process::Output {
    let mut command = gputcp(args);
    command.stdout(stdout).stderr(Stdio::piped());
    Running::start(command).output()
}

#[test]
fn a_full_disk() {
    for args in
        [small(&["loopback"]), small(&["loopback", "-J"]), small(&["loopback", "--csv"]), vec!["--help"]]
    {
        let full = OpenOptions::new().write(true).open("/dev/full").expect("there is /dev/full");
        fails(&into(full.into(), &args), 1, "the disk is full");
    }
}

#[test]
fn a_reader_that_left() {
    for args in [small(&["loopback"]), small(&["loopback", "-J"]), vec!["--version"]] {
        let (reader, writer) = io::pipe().expect("a pipe");
        drop(reader);
        fails(&into(writer.into(), &args), 1, "its reader has closed it");
    }
}

#[test]
fn a_reader_that_never_reads() {
    let (_reader, writer) = io::pipe().expect("a pipe");
    let fill = vec![b' '; 64 << 10];
    // A pipe holds 64 KiB: it is full before the command writes its first byte.
    io::Write::write_all(&mut &writer, &fill).expect("it fits");
    let since = Instant::now();
    fails(&into(writer.into(), &small(&["loopback", "--timeout", "0.5"])), 1, "nobody has read from it");
    assert!(since.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_closed_stderr_is_no_reason_to_fail() {
    let (reader, writer) = io::pipe().expect("a pipe");
    drop(reader);
    let mut command = gputcp(&small(&["loopback", "-v"]));
    command.stdout(Stdio::null()).stderr(writer);
    let status = Running::start(command).wait();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn quiet_says_nothing_but_the_result() {
    let output = finish(gputcp(&small(&["loopback", "-q"])));
    expect(&output, 0);
    assert_eq!(stderr(&output), "");
}
