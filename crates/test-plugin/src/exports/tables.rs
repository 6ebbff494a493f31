//! The tables of all versions: which form of each function a version has, and what its properties have room for.

use std::{
    ffi::{c_int, c_void},
    mem, ptr,
};

use gputcp_nccl_abi::sys::{
    self,
    device::{VProps, VPropsV12},
    functions::Devices,
};

use super::{NAME, NAME_BEFORE, calls, forms, late::Parts};
use crate::knobs::Knobs;

/// Makes the module of a version: its table, and its properties.
macro_rules! version {
    (
        $(#[$doc:meta])*
        $version:ident: init $init:ident, listen $listen:ident, connect $connect:ident, accept $accept:ident,
        reg_mr $reg_mr:ident, isend $isend:ident, irecv $irecv:ident, and { $($field:ident: $value:expr,)* }
        properties of $facts:ident { $($property:ident: $says:expr,)* }
        $(unpack $unpack:ident)?
    ) => {
        $(#[$doc])*
        pub mod $version {
            use super::*;

            /// The table of the file for this version alone: a slot is free when `test` has said that it is done.
            pub const PLAIN: sys::$version::Net = sys::$version::Net {
                name: NAME.as_ptr(),
                init: Some(forms::$init::<false>),
                devices: Some(forms::devices),
                get_properties: Some(properties),
                listen: Some(forms::$listen),
                connect: Some(forms::$connect),
                accept: Some(forms::$accept),
                reg_mr: Some(forms::$reg_mr),
                dereg_mr: Some(forms::dereg_mr),
                isend: Some(forms::$isend),
                irecv: Some(forms::$irecv),
                iflush: Some(forms::iflush),
                test: Some(forms::test),
                close_send: Some(forms::close_send),
                close_recv: Some(forms::close_recv),
                close_listen: Some(forms::close_listen),
                $($field: $value,)*
            };

            impl Parts for sys::$version::Net {
                fn beginning(self) -> Self {
                    Self {
                        name: if self.name.is_null() { self.name } else { NAME_BEFORE.as_ptr() },
                        init: self.init,
                        devices: None,
                        get_properties: None,
                        listen: None,
                        connect: None,
                        accept: None,
                        reg_mr: None,
                        dereg_mr: None,
                        isend: None,
                        irecv: None,
                        iflush: None,
                        test: None,
                        close_send: None,
                        close_recv: None,
                        close_listen: None,
                        $($field: None,)*
                    }
                }

                fn astray(self) -> Self {
                    let name = if Knobs::is_nowhere("table-name") { nowhere().cast() } else { self.name };
                    let devices = match Knobs::is_nowhere("devices") {
                        // SAFETY: none: this is the fault that was asked for.
                        true => Some(unsafe { mem::transmute::<*const c_void, Devices>(nowhere()) }),
                        false => self.devices,
                    };
                    Self { name, devices, ..self }
                }
            }

            $(
                /// The table of the unpack file: a slot is free after `irecvConsumed`.
                pub const UNPACK: sys::$version::Net = sys::$version::Net {
                    init: Some(forms::$init::<true>),
                    irecv_consumed: Some(forms::$unpack),
                    ..PLAIN
                };
            )?

            unsafe extern "C" fn properties(dev: c_int, props: *mut sys::$version::Properties) -> c_int {
                calls::properties(dev, |$facts| {
                    // SAFETY: the host gives room for this version's properties.
                    unsafe {
                        props.write(sys::$version::Properties {
                            name: $facts.name,
                            pci_path: $facts.pci_path,
                            guid: $facts.guid,
                            ptr_support: $facts.ptr_support,
                            speed: $facts.speed_mbit,
                            port: 1,
                            latency: 0.0,
                            max_comms: 65_536,
                            max_recvs: $facts.max_recvs,
                            $($property: $says,)*
                        });
                    }
                })
            }
        }
    };
}

version! {
    /// Version 5.
    v5: init init, listen listen, connect connect, accept accept,
    reg_mr reg_mr, isend isend, irecv irecv, and {}
    properties of facts {}
}

version! {
    /// Version 6: dma-buf.
    v6: init init, listen listen, connect connect, accept accept,
    reg_mr reg_mr, isend isend, irecv irecv, and {
        reg_mr_dma_buf: Some(forms::reg_mr_dma_buf),
    }
    properties of facts {}
}

version! {
    /// Version 7: device handles, `irecvConsumed`.
    v7: init init, listen listen, connect connect_v7, accept accept_v7,
    reg_mr reg_mr, isend isend, irecv irecv, and {
        reg_mr_dma_buf: Some(forms::reg_mr_dma_buf),
        get_device_mr: None,
        irecv_consumed: None,
    }
    properties of facts {
        net_device_type: facts.net_device_type,
        net_device_version: facts.net_device_version,
    }
    unpack irecv_consumed
}

version! {
    /// Version 8: lengths of registrations that are not cut.
    v8: init init, listen listen, connect connect_v7, accept accept_v7,
    reg_mr reg_mr_v8, isend isend, irecv irecv, and {
        reg_mr_dma_buf: Some(forms::reg_mr_dma_buf),
        get_device_mr: None,
        irecv_consumed: None,
    }
    properties of facts {
        net_device_type: facts.net_device_type,
        net_device_version: facts.net_device_version,
        reg_is_global: 0,
    }
    unpack irecv_consumed
}

version! {
    /// Version 9: lengths of messages that are not cut, virtual devices.
    v9: init init, listen listen, connect connect_v7, accept accept_v7,
    reg_mr reg_mr_v8, isend isend_v9, irecv irecv_v9, and {
        reg_mr_dma_buf: Some(forms::reg_mr_dma_buf),
        get_device_mr: None,
        irecv_consumed: None,
        make_v_device: Some(forms::make_v_device),
    }
    properties of facts {
        net_device_type: facts.net_device_type,
        net_device_version: facts.net_device_version,
        reg_is_global: 0,
        force_flush: 0,
        v_props: VProps { ndevs: facts.behind.len() as c_int, devs: places(&facts.behind) },
        max_p2p_bytes: LONGEST_BYTES,
        max_coll_bytes: LONGEST_BYTES,
    }
    unpack irecv_consumed
}

version! {
    /// Version 10: profilers, a configuration.
    v10: init init_v10, listen listen, connect connect_v10, accept accept_v7,
    reg_mr reg_mr_v8, isend isend_v10, irecv irecv_v10, and {
        reg_mr_dma_buf: Some(forms::reg_mr_dma_buf),
        get_device_mr: None,
        irecv_consumed: None,
        make_v_device: Some(forms::make_v_device),
    }
    properties of facts {
        net_device_type: facts.net_device_type,
        net_device_version: facts.net_device_version,
        reg_is_global: 0,
        force_flush: 0,
        v_props: VProps { ndevs: facts.behind.len() as c_int, devs: places(&facts.behind) },
        max_p2p_bytes: LONGEST_BYTES,
        max_coll_bytes: LONGEST_BYTES,
    }
    unpack irecv_consumed
}

version! {
    /// Version 11: communicators.
    v11: init init_v11, listen listen_v11, connect connect_v11, accept accept_v7,
    reg_mr reg_mr_v8, isend isend_v10, irecv irecv_v10, and {
        reg_mr_dma_buf: Some(forms::reg_mr_dma_buf),
        get_device_mr: None,
        irecv_consumed: None,
        make_v_device: Some(forms::make_v_device),
        finalize: Some(forms::finalize),
        set_net_attr: Some(forms::set_net_attr),
    }
    properties of facts {
        net_device_type: facts.net_device_type,
        net_device_version: facts.net_device_version,
        reg_is_global: 0,
        force_flush: 0,
        v_props: VProps { ndevs: facts.behind.len() as c_int, devs: places(&facts.behind) },
        max_p2p_bytes: LONGEST_BYTES,
        max_coll_bytes: LONGEST_BYTES,
        max_multi_request_size: 1,
    }
    unpack irecv_consumed
}

version! {
    /// Version 12: rails and planes.
    v12: init init_v11, listen listen_v11, connect connect_v11, accept accept_v7,
    reg_mr reg_mr_v8, isend isend_v10, irecv irecv_v10, and {
        reg_mr_dma_buf: Some(forms::reg_mr_dma_buf),
        get_device_mr: None,
        irecv_consumed: None,
        make_v_device: Some(forms::make_v_device_v12),
        finalize: Some(forms::finalize),
        set_net_attr: Some(forms::set_net_attr),
    }
    properties of facts {
        net_device_type: facts.net_device_type,
        net_device_version: facts.net_device_version,
        reg_is_global: 0,
        force_flush: 0,
        v_props: VPropsV12 { ndevs: facts.behind.len() as c_int, devs: places(&facts.behind) },
        max_p2p_bytes: LONGEST_BYTES,
        max_coll_bytes: LONGEST_BYTES,
        max_multi_request_size: 1,
        rail_id: -1,
        plane_id: -1,
    }
    unpack irecv_consumed
}

/// The longest message.
const LONGEST_BYTES: usize = 1 << 30;

/// No memory is there.
fn nowhere() -> *const c_void {
    ptr::without_provenance(0x1234)
}

/// The devices behind a device, in as many places as a version has.
fn places<const N: usize>(behind: &[c_int]) -> [c_int; N] {
    let mut places = [0; N];
    places.iter_mut().zip(behind).for_each(|(place, &dev)| *place = dev);
    places
}
