//! A plugin at the lowest level: its functions in one shape for all versions, and what they answered. Nothing is judged,
//! nothing forbidden: a check must be able to do what a careful caller would not, and see what comes of it.

mod guarded;
mod table;
mod text;

pub use self::{guarded::Handle, table::Table};
pub(crate) use self::{guarded::Sizes, text::text};

use std::ptr;

use gputcp_nccl_abi::sys::{
    c_char, c_int, c_void, constants,
    device::{Config, DeviceHandle},
};
use libloading::Library;

/// What C calls `void*`.
pub type P = *mut c_void;

/// A loaded table, and what its calls need besides their arguments. Copies are the same plugin.
#[derive(Debug, Clone, Copy)]
pub struct Raw {
    table: Table,
    library: &'static Library,
    /// The communicator, in versions that have such.
    ctx: P,
}

// SAFETY: functions of a library that is never closed, and a pointer that only they use; that they may be called from
// several threads is the interface's demand.
unsafe impl Send for Raw {}

/// What a device says of itself, in the newest version's terms; what a version does not say is `None`.
#[derive(Debug, Clone, Copy)]
pub struct Properties {
    /// Its name.
    pub name: *const c_char,
    /// Where its PCI device is in `/sys`, or NULL.
    pub pci_path: *const c_char,
    /// The sum of the `PTR_*` types that it takes.
    pub ptr_support: c_int,
    /// In Mbit/s.
    pub speed: c_int,
    /// In µs.
    pub latency: f32,
    /// The most connections.
    pub max_comms: c_int,
    /// The most receives of one request.
    pub max_recvs: c_int,
    /// Who unpacks, and the version of how; from version 7 on.
    pub net_device: Option<(u32, c_int)>,
    /// Whether `iflush` is needed on every GPU; from version 9 on.
    pub force_flush: Option<c_int>,
    /// How many devices are behind it, and the first; from version 9 on.
    pub behind: Option<(c_int, c_int)>,
    /// The longest send; from version 9 on.
    pub max_p2p_bytes: Option<usize>,
}

/// The arrays of a grouped receive.
#[derive(Debug, Clone, Default)]
pub struct Group {
    /// Where each part goes.
    pub data: Vec<P>,
    /// How much room each has, in bytes.
    pub sizes: Vec<usize>,
    /// What its sender calls it.
    pub tags: Vec<c_int>,
    /// Its registration, or NULL.
    pub mhandles: Vec<P>,
}

impl Raw {
    /// Opens a plugin by its path, or by what NCCL's `NCCL_NET_PLUGIN` may be, and takes the table of a version, or of the
    /// newest version it has.
    ///
    /// # Errors
    /// A sentence that says what is missing, and what to do.
    pub fn load(name: &str, version: Option<u32>) -> Result<Self, String> {
        let found = gputcp_nccl_abi::drive::Library::open(name).map_err(|error| error.to_string())?;
        // SAFETY: the library is open already. It is never closed: its threads may outlive every use.
        let library = unsafe { Library::new(found.name()) }.map_err(|error| error.to_string())?;
        let library = Box::leak(Box::new(library));
        match Table::find(library, version) {
            Some(table) if !table.starts() => {
                Err(format!("{name} has no function init: it is broken, ask its authors"))
            }
            Some(table) => Ok(Self { table, library, ctx: ptr::null_mut() }),
            None => Err(found.no_table(version).to_string()),
        }
    }

    /// The interface's version.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.table.version()
    }

    /// The plugin's name.
    ///
    /// # Errors
    /// What the table has instead, for a sentence.
    pub fn name(&self) -> Result<String, &'static str> {
        text(self.table.name())?.filter(|name| !name.is_empty()).ok_or("nothing")
    }

    /// Whether it has a function that registers dma-bufs.
    #[must_use]
    pub const fn takes_dma_bufs(&self) -> bool {
        self.table.takes_dma_bufs()
    }

    /// Starts the plugin; for versions with communicators, the next calls are of this new one.
    pub fn init(&mut self) -> c_int {
        let mut ctx = ptr::null_mut();
        let code = self.table.init(&raw mut ctx);
        self.ctx = ctx;
        // Some plugins complete their table while they start.
        self.table = Table::find(self.library, Some(self.version())).unwrap_or(self.table);
        code
    }

    /// The first function that NCCL calls without looking and the table does not have.
    #[must_use]
    pub fn missing(&self) -> Option<&'static str> {
        self.table.missing()
    }

    /// This plugin's communicator.
    #[must_use]
    pub const fn ctx(&self) -> P {
        self.ctx
    }

    /// Ends a communicator; `None` where the version, or the plugin, has no function for that.
    #[must_use]
    pub fn finalize(&self, ctx: P) -> Option<c_int> {
        self.table.finalize(ctx)
    }

    /// How many devices there are. What was not written is −77.
    #[must_use]
    pub fn devices(&self) -> (c_int, c_int) {
        let mut count = UNWRITTEN;
        let code = self.table.devices(&raw mut count);
        (code, count)
    }

    /// What a device says of itself.
    ///
    /// # Errors
    /// The code that was not success.
    pub fn properties(&self, dev: c_int) -> Result<Properties, c_int> {
        self.table.properties(dev)
    }

    /// Joins up to four devices to one, whose number it gives, or [`UNWRITTEN`]; `None` where the plugin has no function for
    /// that.
    #[must_use]
    pub fn make_v_device(&self, devs: &[c_int]) -> Option<(c_int, c_int)> {
        let mut index = UNWRITTEN;
        let code = self.table.make_v_device(&raw mut index, devs)?;
        Some((code, index))
    }

    /// Listens; writes the handle's 128 bytes.
    #[must_use]
    pub fn listen(&self, dev: c_int, handle: &mut Handle) -> (c_int, P) {
        let mut listener = ptr::null_mut();
        let code = self.table.listen(self.ctx, dev, handle.pointer(), &raw mut listener);
        (code, listener)
    }

    /// Connects, or says "not yet". The handle's memory stays the same for all calls of one connection.
    #[must_use]
    pub fn connect(&self, dev: c_int, handle: &mut Handle, device: *mut *mut DeviceHandle) -> (c_int, P) {
        let mut comm = ptr::null_mut();
        let mut config = Config { traffic_class: constants::TRAFFIC_CLASS_UNDEFINED };
        let handle = handle.pointer();
        let code = self.table.connect((self.ctx, &raw mut config), dev, handle, &raw mut comm, device);
        (code, comm)
    }

    /// Takes a connection, or says "not yet".
    #[must_use]
    pub fn accept(&self, listener: P, device: *mut *mut DeviceHandle) -> (c_int, P) {
        let mut comm = ptr::null_mut();
        let code = self.table.accept(listener, &raw mut comm, device);
        (code, comm)
    }

    /// Registers memory.
    #[must_use]
    pub fn reg_mr(&self, comm: P, data: P, bytes: usize, kind: c_int) -> (c_int, P) {
        let mut mhandle = ptr::null_mut();
        let code = self.table.reg_mr(comm, data, bytes, kind, &raw mut mhandle);
        (code, mhandle)
    }

    /// Takes a registration back.
    #[must_use]
    pub fn dereg_mr(&self, comm: P, mhandle: P) -> c_int {
        self.table.dereg_mr(comm, mhandle)
    }

    /// Posts a send.
    #[must_use]
    pub fn isend(&self, comm: P, data: P, bytes: usize, tag: c_int, mhandle: P) -> (c_int, P) {
        let mut request = ptr::null_mut();
        let code = self.table.isend(comm, data, bytes, tag, mhandle, &raw mut request);
        (code, request)
    }

    /// Posts a receive. `before` is what the request holds before the call.
    #[must_use]
    pub fn irecv(&self, comm: P, group: &mut Group, before: P) -> (c_int, P) {
        let mut request = before;
        let code = self.table.irecv(comm, group, &raw mut request);
        (code, request)
    }

    /// Makes received data visible to the GPU; `None` where the plugin has no function for that.
    #[must_use]
    pub fn iflush(&self, comm: P, mut data: P, bytes: usize, mut mhandle: P) -> Option<(c_int, P)> {
        let mut request = ptr::null_mut();
        let mut size = bytes as c_int;
        let code =
            self.table.iflush(comm, &raw mut data, &raw mut size, &raw mut mhandle, &raw mut request)?;
        Some((code, request))
    }

    /// Asks for a request. `done` and `sizes` are written as the plugin writes them.
    #[must_use]
    pub fn test(&self, request: P, done: *mut c_int, sizes: *mut c_int) -> c_int {
        self.table.test(request, done, sizes)
    }

    /// Gives a receive's slot back; `None` where the plugin frees it by itself.
    #[must_use]
    pub fn irecv_consumed(&self, comm: P, n: c_int, request: P) -> Option<c_int> {
        self.table.irecv_consumed(comm, n, request)
    }

    /// Whether slots are kept until `irecvConsumed`.
    #[must_use]
    pub const fn keeps_slots(&self) -> bool {
        self.table.keeps_slots()
    }

    /// Ends a sending connection.
    #[must_use]
    pub fn close_send(&self, comm: P) -> c_int {
        self.table.close_send(comm)
    }

    /// Ends a receiving connection.
    #[must_use]
    pub fn close_recv(&self, comm: P) -> c_int {
        self.table.close_recv(comm)
    }

    /// Ends a listener.
    #[must_use]
    pub fn close_listen(&self, listener: P) -> c_int {
        self.table.close_listen(listener)
    }
}

/// What stands where a plugin should write, before the call.
pub const UNWRITTEN: c_int = -77;
