//! A plugin at the lowest level: its functions in one shape for all versions, and their answers. Nothing is
//! judged or forbidden: a check makes calls that a careful caller would not, and sees the effect.

mod guarded;
mod text;

pub use self::guarded::Handle;
pub(crate) use self::{guarded::Sizes, text::text};

use std::ptr;

use gputcp_nccl_drive::Library;
use gputcp_nccl_net::{
    Properties, VirtualDevice,
    call::{Calls, Functions, Receives, TooLong},
    layout::{
        c_int, c_void, constants,
        device::{Config, DeviceHandle},
    },
    versions::TablePlace,
};

/// C's `void*`.
pub type P = *mut c_void;

/// A loaded table, with the state that its calls need besides their arguments. Copies are the same plugin.
#[derive(Debug, Clone, Copy)]
pub struct Raw {
    place: TablePlace,
    /// The table as it was read last: before `init`, and after it.
    functions: Functions,
    /// The functions once the table is whole.
    calls: Option<Calls>,
    /// The communicator, in versions that have such.
    ctx: P,
}

// SAFETY: functions of a library that is never closed, and a pointer that only they use. The interface
// demands that they may be called from several threads.
unsafe impl Send for Raw {}

/// The arrays of a grouped receive.
#[derive(Debug, Clone, Default)]
pub struct Group {
    /// The destination of each part.
    pub data: Vec<P>,
    /// The room of each part in bytes.
    pub sizes: Vec<usize>,
    /// The sender's tag of each part.
    pub tags: Vec<c_int>,
    /// The registration of each part, or NULL.
    pub mhandles: Vec<P>,
}

#[expect(
    clippy::not_unsafe_ptr_arg_deref,
    reason = "a check makes calls that a careful caller would not, in a process of its own"
)]
impl Raw {
    /// Opens a plugin by its path, or by a name as in NCCL's `NCCL_NET_PLUGIN`. Takes the table of a version,
    /// or of the newest version it has.
    ///
    /// # Errors
    /// A sentence that says what is missing, and what to do.
    pub fn load(name: &str, version: Option<u32>) -> Result<Self, String> {
        let place = Library::open(name).and_then(|library| library.find(version));
        let place = place.map_err(|error| error.to_string())?;
        // SAFETY: libraries are never closed, and no `init` is under way.
        let functions = unsafe { place.read() };
        if functions.init.is_none() {
            return Err(format!("{name} has no function init: it is broken, ask its authors"));
        }
        Ok(Self { place, functions, calls: functions.calls().ok(), ctx: ptr::null_mut() })
    }

    /// Returns the interface's version.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.place.version()
    }

    /// Returns the plugin's name.
    ///
    /// # Errors
    /// The table's content instead, as a noun for a sentence.
    pub fn name(&self) -> Result<String, &'static str> {
        text(self.functions.name)?.filter(|name| !name.is_empty()).ok_or("nothing")
    }

    /// Returns whether the plugin has a function that registers dma-bufs.
    #[must_use]
    pub const fn takes_dma_bufs(&self) -> bool {
        self.functions.reg_mr_dma_buf.is_some()
    }

    /// Starts the plugin. In versions with communicators, the next calls are of this new one.
    pub fn init(&mut self) -> c_int {
        let mut ctx = ptr::null_mut();
        // It lives as long as the communicator: for ever.
        let config = Box::leak(Box::new(config()));
        let init = self.functions.init.expect("a plugin without it is not loaded");
        // SAFETY: the plugin's own function; one thread starts it.
        let code = unsafe { init.call(&raw mut ctx, COMM_ID, config, crate::logger::logger()) };
        self.ctx = ctx;
        // Some plugins complete their table while they start.
        // SAFETY: libraries are never closed, and `init` has returned.
        self.functions = unsafe { self.place.read() };
        self.calls = self.functions.calls().ok();
        code
    }

    /// Returns the first function that NCCL calls without looking and the table does not have.
    #[must_use]
    pub fn missing(&self) -> Option<&'static str> {
        self.functions.calls().err()
    }

    /// Returns this plugin's communicator.
    #[must_use]
    pub const fn ctx(&self) -> P {
        self.ctx
    }

    /// Ends a communicator; `None` where the version, or the plugin, has no function for that.
    #[must_use]
    pub fn finalize(&self, ctx: P) -> Option<c_int> {
        // SAFETY: the plugin's own function, for a communicator of its `init` or NULL.
        self.functions.finalize.map(|finalize| unsafe { finalize(ctx) })
    }

    /// Returns the code and the number of devices, [`UNWRITTEN`] if the plugin wrote none.
    #[must_use]
    pub fn devices(&self) -> (c_int, c_int) {
        let mut count = UNWRITTEN;
        // SAFETY: see `calls`.
        let code = unsafe { (self.calls().devices)(&raw mut count) };
        (code, count)
    }

    /// Returns a device's properties, as the plugin reports them.
    ///
    /// # Errors
    /// The code that was not success.
    pub fn properties(&self, dev: c_int) -> Result<Properties, c_int> {
        // SAFETY: see `calls`.
        unsafe { self.calls().get_properties(dev) }
    }

    /// Joins up to four devices to one. Returns the code and its number, or [`UNWRITTEN`]; `None` where the
    /// plugin has no function for that.
    #[must_use]
    pub fn make_v_device(&self, devs: &[c_int]) -> Option<(c_int, c_int)> {
        let mut index = UNWRITTEN;
        // SAFETY: see `calls`.
        let code = unsafe { self.calls().make_v_device(&raw mut index, VirtualDevice::new(devs)) }?;
        Some((code, index))
    }

    /// Listens; writes the handle's 128 bytes.
    #[must_use]
    pub fn listen(&self, dev: c_int, handle: &mut Handle) -> (c_int, P) {
        let mut listener = ptr::null_mut();
        // SAFETY: see `calls`.
        let code = unsafe { self.calls().listen(self.ctx, dev, handle.pointer(), &raw mut listener) };
        (code, listener)
    }

    /// Connects, or says "not yet". The handle's memory stays the same for all calls of one connection.
    #[must_use]
    pub fn connect(&self, dev: c_int, handle: &mut Handle, device: *mut *mut DeviceHandle) -> (c_int, P) {
        let mut comm = ptr::null_mut();
        let (mut config, handle) = (config(), handle.pointer());
        // SAFETY: see `calls`.
        let code =
            unsafe { self.calls().connect(self.ctx, &raw mut config, dev, handle, &raw mut comm, device) };
        (code, comm)
    }

    /// Takes a connection, or says "not yet".
    #[must_use]
    pub fn accept(&self, listener: P, device: *mut *mut DeviceHandle) -> (c_int, P) {
        let mut comm = ptr::null_mut();
        // SAFETY: see `calls`.
        let code = unsafe { self.calls().accept(listener, &raw mut comm, device) };
        (code, comm)
    }

    /// Registers memory.
    #[must_use]
    pub fn reg_mr(&self, comm: P, data: P, bytes: usize, kind: c_int) -> (c_int, P) {
        let mut mhandle = ptr::null_mut();
        // SAFETY: see `calls`.
        let code = unsafe { self.calls().reg_mr(comm, data, bytes, kind, &raw mut mhandle) };
        (short(code), mhandle)
    }

    /// Takes a registration back.
    #[must_use]
    pub fn dereg_mr(&self, comm: P, mhandle: P) -> c_int {
        // SAFETY: see `calls`.
        unsafe { (self.calls().dereg_mr)(comm, mhandle) }
    }

    /// Posts a send.
    #[must_use]
    pub fn isend(&self, comm: P, data: P, bytes: usize, tag: c_int, mhandle: P) -> (c_int, P) {
        let mut request = ptr::null_mut();
        // SAFETY: see `calls`.
        let code = unsafe { self.calls().isend(comm, data, bytes, tag, mhandle, &raw mut request) };
        (short(code), request)
    }

    /// Posts a receive. The request holds `before` before the call.
    #[must_use]
    pub fn irecv(&self, comm: P, group: &mut Group, before: P) -> (c_int, P) {
        let mut request = before;
        let Group { data, sizes, tags, mhandles } = group;
        // SAFETY: see `calls`.
        let code =
            unsafe { self.calls().irecv(comm, Receives { data, sizes, tags, mhandles }, &raw mut request) };
        (short(code), request)
    }

    /// Makes received data visible to the GPU; `None` where the plugin has no function for that.
    #[must_use]
    pub fn iflush(&self, comm: P, mut data: P, bytes: usize, mut mhandle: P) -> Option<(c_int, P)> {
        let mut request = ptr::null_mut();
        let mut size = bytes as c_int;
        let iflush = self.functions.iflush?;
        // SAFETY: see `calls`; arrays of one.
        let code =
            unsafe { iflush(comm, 1, &raw mut data, &raw mut size, &raw mut mhandle, &raw mut request) };
        Some((code, request))
    }

    /// Polls a request. The plugin itself writes `done` and `sizes`.
    #[must_use]
    pub fn test(&self, request: P, done: *mut c_int, sizes: *mut c_int) -> c_int {
        // SAFETY: see `calls`.
        unsafe { (self.calls().test)(request, done, sizes) }
    }

    /// Gives a receive's slot back; `None` where the plugin frees it by itself.
    #[must_use]
    pub fn irecv_consumed(&self, comm: P, n: c_int, request: P) -> Option<c_int> {
        // SAFETY: see `calls`.
        self.functions.irecv_consumed.map(|consumed| unsafe { consumed(comm, n, request) })
    }

    /// Returns whether slots are kept until `irecvConsumed`.
    #[must_use]
    pub const fn keeps_slots(&self) -> bool {
        self.functions.irecv_consumed.is_some()
    }

    /// Ends a sending connection.
    #[must_use]
    pub fn close_send(&self, comm: P) -> c_int {
        // SAFETY: see `calls`.
        unsafe { (self.calls().close_send)(comm) }
    }

    /// Ends a receiving connection.
    #[must_use]
    pub fn close_recv(&self, comm: P) -> c_int {
        // SAFETY: see `calls`.
        unsafe { (self.calls().close_recv)(comm) }
    }

    /// Ends a listener.
    #[must_use]
    pub fn close_listen(&self, listener: P) -> c_int {
        // SAFETY: see `calls`.
        unsafe { (self.calls().close_listen)(listener) }
    }
}

impl Raw {
    /// Returns the functions of a plugin that is being checked.
    ///
    /// The pointers of a call lead to this process's own memory. The check is about the plugin's use of it,
    /// in a process of its own.
    fn calls(&self) -> &Calls {
        self.calls.as_ref().expect("a plugin whose table is not whole is not checked")
    }
}

const fn config() -> Config {
    Config { traffic_class: constants::TRAFFIC_CLASS_UNDEFINED }
}

/// Returns the answer to a call with a length that every version can express.
fn short(code: Result<c_int, TooLong>) -> c_int {
    code.expect("no check moves 2 GiB")
}

/// Any number: one communicator per process.
const COMM_ID: u64 = 0x6770_7574_6370;
/// The number that stands where a plugin should write, before the call.
pub const UNWRITTEN: c_int = -77;
