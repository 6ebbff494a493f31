//! Short messages that come before their receives are posted.

use std::{
    io::Write,
    thread,
    time::{Duration, Instant},
};

use gputcp::Error;
use gputcp_proto::{Violation, frame::Control};

use super::common::{TIMEOUT, TestMemory, soon};
use super::impostor::{Impostor, early};

/// Returns the error of a receiver that has posted nothing, and to which an impostor sends early messages.
fn outcome_of_early(misbehave: impl FnOnce(&mut Impostor)) -> Error {
    let (mut impostor, mut receiver) = Impostor::connect_with(8, 1);
    misbehave(&mut impostor);
    let to = TestMemory::Host.buffer(64);
    // While the test has the memory no receive is posted: each attempt only asks whether the connection has
    // failed.
    let _claim = to.write(0, 64).unwrap();
    let until = soon();
    loop {
        match receiver.irecv(&to, 0, 64) {
            Err(Error::Usage(_)) => {}
            Err(error) => return error,
            Ok(request) => panic!("a receive was posted into memory in use: {request:?}"),
        }
        assert!(Instant::now() < until, "the misbehaviour was never noticed");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn early_messages_without_a_place_end_the_connection() {
    let violation = |misbehave: fn(&mut Impostor)| match outcome_of_early(misbehave) {
        Error::PeerMisbehaved { violation, .. } => violation,
        other => panic!("{other:?}"),
    };
    let one_too_many = violation(|peer| {
        (0..9).for_each(|seq| peer.control.write_all(&early(seq, 10)).unwrap());
    });
    assert_eq!(one_too_many, Violation::Sequence { seq: 8 });
    // Longer than the 4096 bytes agreed, and not the first: that may have its receive by then.
    let too_long = violation(|peer| peer.control.write_all(&early(1, 5000)).unwrap());
    assert_eq!(too_long, Violation::Overflow { seq: 1, total: 5000, capacity: 4096 });
    let twice = violation(|peer| {
        (0..2).for_each(|_| peer.control.write_all(&early(3, 10)).unwrap());
    });
    assert_eq!(twice, Violation::Twice { seq: 3, offset: 0 });
}

#[test]
fn an_early_message_for_a_finished_receive_ends_the_connection() {
    let (mut impostor, mut receiver) = Impostor::connect_with(8, 32);
    impostor.control.write_all(&early(0, 10)).unwrap();
    let to = TestMemory::Host.buffer(64);
    let request = receiver.irecv(&to, 0, 64).unwrap().unwrap();
    assert_eq!(receiver.wait(request, TIMEOUT).unwrap().bytes, 10);
    impostor.control.write_all(&early(0, 10)).unwrap();
    // The background reader may have read it already.
    let posted = receiver.irecv(&to, 0, 64);
    let error = posted.and_then(|request| receiver.wait(request.unwrap(), TIMEOUT)).unwrap_err();
    assert!(
        matches!(error, Error::PeerMisbehaved { violation: Violation::Sequence { seq: 0 }, .. }),
        "{error:?}"
    );
}

#[test]
fn wants_of_anything_do_no_harm() {
    let (mut impostor, mut receiver) = Impostor::connect_with(8, 32);
    for seq in [0, 5, u64::MAX, 1] {
        impostor.control.write_all(&Control::Want { seq }.encode()).unwrap();
    }
    let to = TestMemory::Host.buffer(64);
    let request = receiver.irecv(&to, 0, 64).unwrap().unwrap();
    assert_eq!(impostor.announced().seq, 0);
    impostor.control.write_all(&early(0, 10)).unwrap();
    assert_eq!(receiver.wait(request, TIMEOUT).unwrap().bytes, 10);
}
