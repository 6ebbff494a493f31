//! The built library, opened and called as NCCL does.

use std::{
    ffi::{CStr, c_char, c_int, c_ulong, c_void},
    mem, ptr,
    sync::{Mutex, PoisonError},
};

use gputcp_nccl_net::layout::{
    Table,
    functions::Logger,
    tuner::{GetCollInfo, GetCollInfoV4, Init, InitV5, TunerV3, TunerV4, TunerV5, TunerV6},
};
use gputcp_nccl_net::versions::v11;
use libloading::os::unix;

use crate::built::built;

/// Any pointer of the interface.
pub(crate) type P = *mut c_void;

/// The library. NCCL takes the net's table and the tuner's from the same one.
pub(crate) struct Library(unix::Library);

/// The tuner's functions in one version.
#[derive(Clone, Copy)]
pub(crate) struct Tuner {
    pub(crate) version: u32,
    init: InitOf,
    get_coll_info: GetCollInfoOf,
    end: unsafe extern "C" fn(P) -> c_int,
}

#[derive(Clone, Copy)]
enum InitOf {
    V3(Init),
    V5(InitV5),
}

#[derive(Clone, Copy)]
enum GetCollInfoOf {
    V3(GetCollInfo),
    V4(GetCollInfoV4),
}

impl Library {
    pub(crate) fn open() -> Self {
        let path = built().join("libnccl_net_gputcp.so");
        // SAFETY: runs the initialisers of our own library.
        Self(
            unsafe { unix::Library::open(Some(&path), unix::RTLD_NOW | unix::RTLD_LOCAL) }.expect("it opens"),
        )
    }

    /// Returns a version's table.
    fn table<T: Table>(&self) -> T {
        // SAFETY: the symbol is of this type, by the interface; the library is never unmapped.
        unsafe {
            *self
                .0
                .get::<*const T>(T::SYMBOL.to_bytes_with_nul())
                .expect("the symbol")
                .as_raw_ptr()
                .cast::<T>()
        }
    }

    /// Returns the tuners that NCCL finds, the newest first.
    pub(crate) fn tuners(&self) -> Vec<Tuner> {
        let (v3, v4) = (self.table::<TunerV3>(), self.table::<TunerV4>());
        let (v5, v6) = (self.table::<TunerV5>(), self.table::<TunerV6>());
        for name in [v3.name, v4.name, v5.name, v6.name] {
            // SAFETY: NCCL reads it as a text too.
            assert_eq!(unsafe { CStr::from_ptr(name) }, c"gputcp");
        }
        assert!(v6.get_chunk_size.is_none());
        let v5_or_6 = |version, init: Option<InitV5>, info: Option<GetCollInfoV4>, end: Option<_>| Tuner {
            version,
            init: InitOf::V5(init.unwrap()),
            get_coll_info: GetCollInfoOf::V4(info.unwrap()),
            end: end.unwrap(),
        };
        vec![
            v5_or_6(6, v6.init, v6.get_coll_info, v6.finalize),
            v5_or_6(5, v5.init, v5.get_coll_info, v5.finalize),
            Tuner {
                version: 4,
                init: InitOf::V3(v4.init.unwrap()),
                get_coll_info: GetCollInfoOf::V4(v4.get_coll_info.unwrap()),
                end: v4.destroy.unwrap(),
            },
            Tuner {
                version: 3,
                init: InitOf::V3(v3.init.unwrap()),
                get_coll_info: GetCollInfoOf::V3(v3.get_coll_info.unwrap()),
                end: v3.destroy.unwrap(),
            },
        ]
    }

    /// Calls the functions that NCCL calls on a network that it only tries; returns `init`'s answer.
    pub(crate) fn try_network(&self) -> c_int {
        let net: v11::Net = self.table();
        let (mut ctx, mut count) = (ptr::null_mut(), 0);
        // SAFETY: as the interface has it; the plugin reads no configuration.
        unsafe {
            let answer = net.init.unwrap()(&raw mut ctx, 1, ptr::null_mut(), logger(), None);
            if answer == 0 {
                assert_eq!((net.devices.unwrap()(&raw mut count), count > 0), (0, true));
            }
            answer
        }
    }

    /// Calls the function that NCCL calls besides on a network that it chooses.
    pub(crate) fn choose_network(&self) {
        let net: v11::Net = self.table();
        let mut properties = mem::MaybeUninit::<v11::Properties>::uninit();
        // SAFETY: room for the version's properties.
        assert_eq!(unsafe { net.get_properties.unwrap()(0, properties.as_mut_ptr()) }, 0);
    }
}

impl Tuner {
    /// Starts a tuner for a communicator; returns the answer and the context.
    pub(crate) fn init(&self, ranks: usize, nodes: usize) -> (c_int, P) {
        let mut context = ptr::null_mut();
        (self.init_to(ranks, nodes, &raw mut context), context)
    }

    pub(crate) fn init_to(&self, ranks: usize, nodes: usize, out: *mut P) -> c_int {
        // The numbers about NVLink, and the constants, are to be left as they are.
        let (mut domains, mut constants) = ([7 as c_int; 3], [7.0f64; 200]);
        // SAFETY: as the interface has it. `out` has room for a pointer, or is NULL.
        let answer = unsafe {
            match self.init {
                InitOf::V3(init) => init(ranks, nodes, logger(), out),
                InitOf::V5(init) => {
                    let (domains, constants) = (domains.as_mut_ptr().cast(), constants.as_mut_ptr().cast());
                    init(out, 1, ranks, nodes, logger(), domains, constants)
                }
            }
        };
        assert_eq!((domains, constants), ([7; 3], [7.0; 200]));
        answer
    }

    /// Asks about an all-reduce. `costs` has room for a table of the shape, if that is a shape at all.
    pub(crate) fn get_coll_info(
        &self,
        context: P,
        bytes: usize,
        costs: *mut f32,
        (algorithms, protocols): (c_int, c_int),
        channels: *mut c_int,
    ) -> c_int {
        const ALL_REDUCE: c_int = 4;
        let costs = costs.cast();
        // SAFETY: as the interface has it, and pointers that are NULL.
        unsafe {
            match self.get_coll_info {
                GetCollInfoOf::V3(ask) => {
                    ask(context, ALL_REDUCE, bytes, 1, costs, algorithms, protocols, channels)
                }
                GetCollInfoOf::V4(ask) => {
                    ask(context, ALL_REDUCE, bytes, 1, costs, algorithms, protocols, 0, channels)
                }
            }
        }
    }

    pub(crate) fn end(&self, context: P) -> c_int {
        // SAFETY: what `init` gave, once; or NULL.
        unsafe { (self.end)(context) }
    }
}

/// Returns the messages since the last call: level, subsystems, text.
pub(crate) fn logged() -> Vec<(c_int, c_ulong, String)> {
    mem::take(&mut *LOG.lock().unwrap_or_else(PoisonError::into_inner))
}

static LOG: Mutex<Vec<(c_int, c_ulong, String)>> = Mutex::new(Vec::new());

fn logger() -> Logger {
    type Fixed = unsafe extern "C" fn(c_int, c_ulong, *const c_char, c_int, *const c_char);
    type Variadic = unsafe extern "C" fn(c_int, c_ulong, *const c_char, c_int, *const c_char, ...);
    // SAFETY: on Linux, x86-64 and AArch64, named arguments of a variadic call travel as those of any other.
    // The rest is not read (as in `gputcp_nccl_drive::message`).
    Some(unsafe { mem::transmute::<Fixed, Variadic>(log) })
}

unsafe extern "C" fn log(level: c_int, flags: c_ulong, _: *const c_char, _: c_int, format: *const c_char) {
    // SAFETY: the plugin's texts end in zeros.
    let text = unsafe { CStr::from_ptr(format) }.to_string_lossy().into_owned();
    LOG.lock().unwrap_or_else(PoisonError::into_inner).push((level, flags, text));
}
