//! One message on its whole way, a segment at a time: ranges of a source → slab → socket → slab → ranges of a
//! destination.

use std::{
    io::Read as _,
    os::{fd::AsFd as _, unix::net::UnixStream},
    time::{Duration, Instant},
};

use gputcp_gpu::{Device, Error, Lane, LaneSpec, ReadClaim, UnpackMode, WriteClaim};
use gputcp_proto::{
    bounce::Filling,
    frame::SegmentHeader,
    layout::Layout,
    recv::RecvSide,
    send::{Carrier, SendSide},
    stage::Staging,
    window::Window,
};

/// Both ends of a connection with one stream, and all they need.
pub(crate) struct Ends {
    sender: (SendSide<4>, Window<2>, Lane, UnixStream),
    receiver: (RecvSide<4>, Window<2>, Lane, UnixStream),
}

impl Ends {
    pub(crate) fn new(device: &Device, segment_bytes: u64) -> Self {
        let lane = || device.lane(LaneSpec { slots: 2, slab_bytes: segment_bytes }).unwrap();
        let (near, far) = UnixStream::pair().unwrap();
        Self {
            sender: (SendSide::new(4, segment_bytes, 4), Window::new(), lane(), near),
            receiver: (RecvSide::new(4, segment_bytes, 0), Window::new(), lane(), far),
        }
    }

    /// Carries a message from the ranges of `from` to the ranges of `to`.
    pub(crate) fn carry(
        &mut self,
        (source, from): (&ReadClaim, &Layout),
        (destination, to): (&WriteClaim, &Layout),
        bytes: u64,
        mode: UnpackMode,
    ) -> Result<(), Error> {
        let (sends, free, sender, near) = &mut self.sender;
        let (receives, ring, receiver, far) = &mut self.receiver;
        let (receive, announce) = receives.post(bytes, false).unwrap();
        let send = sends.post(bytes, false).unwrap();
        sends.announced(&announce).unwrap();
        while let Some(segment) = sends.deal(Carrier::Any).unwrap() {
            let header = segment.header().encode();
            let mut gather = sender.gather_from(source, from, mode);
            let staging = Staging::start(free.issue().unwrap(), segment, &mut gather)?;
            assert!(staging.completion().wait(soon())?);
            let staged = staging.poll()?.unwrap();
            let bytes = staged.segment().bytes();
            // A segment fits the socket's buffer.
            let taken = sender.send(&staged, &header, near.as_fd()).unwrap();
            assert_eq!(taken as u64, SegmentHeader::BYTES as u64 + bytes);
            let (slot, segment) = staged.written(bytes).unwrap();
            free.release(slot);
            sends.written(segment);

            let mut header = [0; SegmentHeader::BYTES];
            far.read_exact(&mut header).unwrap();
            let landing = receives.begin(&SegmentHeader::decode(&header).unwrap()).unwrap();
            let mut filling = Filling::new(ring.issue().unwrap(), landing);
            let filled = loop {
                let got = receiver.recv(&filling, far.as_fd()).unwrap();
                match filling.advance(got as u64) {
                    Ok(filled) => break filled,
                    Err(again) => filling = again,
                }
            };
            let unpacking = filled.unpack(&mut receiver.scatter_into(destination, to, mode))?;
            assert!(unpacking.completion().wait(soon())?);
            let (slot, placed) = unpacking.poll()?.unwrap();
            ring.release(slot);
            receives.place(placed);
        }
        assert_eq!(sends.finish(send).unwrap().bytes, bytes);
        assert_eq!(receives.finish(receive).unwrap().bytes, bytes);
        Ok(())
    }
}

pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}
