//! The one place where [`Settings`] become options of the library.

use std::net::IpAddr;

use gputcp::{Options, Tuning, transfer::Plan};
use gputcp_gpu::{Device, UnpackMode};
use gputcp_nccl_drive::transport as plugin;
use gputcp_proto::plan::{SegmentPlan, fitting_piece};

use super::{agreed::Settings, kinds::Unpack};
use crate::host::trace;

impl Settings {
    /// Returns the options of one direction's connections: `device` has the messages, `local` is this side's
    /// address.
    #[must_use]
    pub fn options(&self, device: Option<&Device>, slots: u16, local: IpAddr) -> Options {
        self.transport_options()
            .with_bind([local])
            .with_device(device.cloned())
            .with_trace(trace::of_process().cloned())
            .tuned(|tuning| tuning.slots = slots)
    }

    /// Returns the options of one direction's connections over a plugin. This end's may take fewer `requests`
    /// than the other end's.
    #[must_use]
    pub fn plugin_options(&self, device: Option<&Device>, slots: u16, requests: u16) -> plugin::Options {
        plugin::Options {
            gpu: device.cloned(),
            unpack: self.unpack_mode(),
            slots: slots.min(requests),
            timeout: self.timeout(),
        }
    }

    /// Returns how the engine cuts messages, with so many chunks in flight.
    #[must_use]
    pub fn plan(&self, window: u16) -> Plan {
        Plan { chunk_bytes: self.chunk_bytes, window: window.into(), timeout: self.timeout() }
    }

    /// Returns how the transport cuts chunks.
    pub(super) fn segments(&self) -> SegmentPlan {
        let Tuning { segment_bytes, piece_bytes, .. } = self.transport_options().tuning;
        let segment = segment_bytes.into();
        SegmentPlan::new(segment).with_pieces(fitting_piece(segment, piece_bytes.into()))
    }

    /// Returns the length of the longest segments.
    pub(super) fn segment_bytes(&self) -> u64 {
        self.transport_options().tuning.segment_bytes.into()
    }

    /// Returns the number of segments in a stream's ring.
    pub(super) fn slabs(&self) -> u64 {
        self.transport_options().tuning.slabs.into()
    }

    /// Returns the options that do not depend on the direction.
    fn transport_options(&self) -> Options {
        let sockets = &self.sockets;
        Options::default()
            .with_streams(self.streams)
            .with_unpack(self.unpack_mode())
            .with_timeout(self.timeout())
            .tuned(|tuning| {
                tuning.segment_bytes = sockets.segment_bytes.unwrap_or(tuning.segment_bytes);
                tuning.slabs = sockets.slabs.unwrap_or(tuning.slabs);
                tuning.congestion = sockets.congestion_control().cloned();
                tuning.send_buffer_bytes = sockets.send_buffer_bytes;
                tuning.recv_buffer_bytes = sockets.recv_buffer_bytes;
            })
    }

    /// Returns how the receiver unpacks. A sender with a device and a host destination at the other end still
    /// stages.
    const fn unpack_mode(&self) -> UnpackMode {
        match self.unpack {
            Unpack::Kernel | Unpack::None | Unpack::InPlace => UnpackMode::Kernel,
            Unpack::Copy => UnpackMode::Copy,
            Unpack::Host => UnpackMode::Host,
        }
    }
}
