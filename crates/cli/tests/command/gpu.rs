//! GPU memory where there is no GPU: a sentence that names the side, or the software GPU.

use crate::process::{Server, document, expect, fails, finish, run, small, stderr, stdout};

#[test]
fn a_gpu_that_this_side_lacks() {
    for args in
        [&["-m", "cuda"][..], &["-m", "cuda:0"], &["-g", "0"], &["--peer-gpu", "1"], &["-R", "-m", "cuda"]]
    {
        let output = run(&small(&[&["loopback"], args].concat()));
        expect(&output, 1);
        let said = stderr(&output);
        assert!(said.contains("on this side no GPU can be used: "), "{args:?}: {said}");
        assert_eq!((stdout(&output).as_str(), said.lines().count()), ("", 1), "{args:?}: {said}");
    }
}

#[test]
fn a_gpu_that_the_server_lacks() {
    // The client receives into host memory, in place, and needs no GPU.
    let cuda = ["-m", "cuda", "-R", "--unpack", "none"];
    fails(&run(&small(&[&["loopback"], &cuda[..]].concat())), 5, "on the server no GPU can be used: ");
    let mut server = Server::start(&[]);
    expect(&finish(server.client(&small(&cuda))), 5);
    server.hear("asked for what cannot be done here");
    expect(&finish(server.client(&small(&["-q"]))), 0);
}

#[test]
fn without_a_gpu_the_software_gpu_is_the_default() {
    for args in [&[][..], &["-R", "--unpack", "none"]] {
        let output = run(&small(&[&["loopback", "-J"], args].concat()));
        let report = document(&output, 0);
        assert_eq!(report["config"]["memory"], "soft");
        assert_eq!(report["sides"]["sender"]["memory"], "soft");
        assert!(report["sides"]["sender"]["gpu"].is_null());
        assert_eq!(
            (&report["ceiling"]["kind"], &report["ceiling"]["memory"]),
            (&"sockets".into(), &"host".into())
        );
        assert!(!stderr(&output).contains("GPU"), "{}", stderr(&output));
    }
}
