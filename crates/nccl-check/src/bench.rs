//! The plugin as a check uses it. Each answer is judged as NCCL would judge it: success goes on, "not yet"
//! asks again, and anything else ends the check with a sentence.

use std::{
    ffi::c_int,
    ptr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use gputcp_nccl_net::{
    Properties, ResultCode,
    layout::{
        constants::PTR_HOST,
        device::{DeviceHandle, DeviceHandleStorage},
    },
};

use crate::{
    block::Block,
    journal::Journal,
    outstanding::Outstanding,
    raw::{Handle, P, Raw},
    stop::{Stop, fail},
};

/// The plugin and its device. Clones are the same, for another thread.
#[derive(Clone)]
pub(crate) struct BenchPlugin {
    pub(crate) raw: Raw,
    pub(crate) dev: c_int,
    /// The GPU whose memory is used, if there is one.
    pub(crate) gpu: Option<String>,
    deadline: Instant,
    journal: Journal,
    /// The number of answers with the code that no function may answer.
    pub(crate) in_progress: Arc<AtomicU32>,
    /// A description of a write of `test` beyond the sizes of its request.
    beyond: Arc<Mutex<Option<String>>>,
    /// Connections by address, each with a registration to be taken back before it is closed.
    registered: Arc<Mutex<Vec<(usize, usize)>>>,
    /// The requests in flight.
    outstanding: Arc<Mutex<Outstanding>>,
}

/// A listener and the handle that leads to it.
pub(crate) struct Listening {
    pub(crate) comm: P,
    pub(crate) handle: Handle,
}

impl BenchPlugin {
    pub(crate) fn new(raw: Raw, dev: u32, gpu: Option<String>, deadline: Instant, journal: Journal) -> Self {
        // The plugin's own properties refuse a device beyond the numbers of C.
        let dev = c_int::try_from(dev).unwrap_or(c_int::MAX);
        Self {
            raw,
            dev,
            gpu,
            deadline,
            journal,
            in_progress: Arc::default(),
            beyond: Arc::default(),
            registered: Arc::default(),
            outstanding: Arc::default(),
        }
    }

    /// Notes that the check goes beyond NCCL's demand from here on: a failure is then "stricter than NCCL".
    pub(crate) fn go_beyond_nccl(&self) {
        self.journal.go_beyond();
    }

    /// Calls a function under its name.
    pub(crate) fn call<T>(&self, function: &str, call: impl FnOnce(&Raw) -> T) -> T {
        self.journal.call(function, || call(&self.raw))
    }

    /// Returns true for success, and false for "in progress", which counts as "not yet" here. One check
    /// counts these codes.
    pub(crate) fn success(&self, function: &str, code: c_int) -> Result<bool, Stop> {
        if code == ResultCode::InProgress.number() {
            self.in_progress.fetch_add(1, Relaxed);
            return Ok(false);
        }
        if code == ResultCode::SUCCESS { Ok(true) } else { fail(answered(function, code)) }
    }

    /// Returns an error once the check has taken too long.
    pub(crate) fn in_time(&self, what: &str) -> Result<(), Stop> {
        if Instant::now() < self.deadline { Ok(()) } else { fail(format!("{what} within the time limit")) }
    }

    /// Returns the time that is left to the check.
    pub(crate) fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    pub(crate) fn init(&mut self) -> Result<(), Stop> {
        let journal = self.journal.clone();
        let code = journal.call("init", || self.raw.init());
        self.success("init", code)?;
        match self.raw.missing() {
            None => Ok(()),
            Some(function) => fail(format!("the plugin has no function {function}")),
        }
    }

    pub(crate) fn properties(&self) -> Result<Properties, Stop> {
        self.call("getProperties", |raw| raw.properties(self.dev))
            .or_else(|code| fail(answered("getProperties", code)))
    }

    pub(crate) fn listen(&self) -> Result<Listening, Stop> {
        let mut handle = Handle::empty();
        let (code, comm) = self.call("listen", |raw| raw.listen(self.dev, &mut handle));
        self.success("listen", code)?;
        if comm.is_null() {
            return fail("listen answered success, but gave no listen comm");
        }
        Ok(Listening { comm, handle })
    }

    /// Connects, asking again as often as the plugin says "not yet".
    pub(crate) fn connect(&self, handle: &mut Handle) -> Result<P, Stop> {
        self.until("connect never gave a connection", || self.connect_once(handle))
    }

    pub(crate) fn connect_once(&self, handle: &mut Handle) -> Result<Option<P>, Stop> {
        self.connect_with(handle, &mut device_handle())
    }

    /// Connects once, with this argument for the device handle.
    pub(crate) fn connect_with(
        &self,
        handle: &mut Handle,
        device: *mut *mut DeviceHandle,
    ) -> Result<Option<P>, Stop> {
        let (code, comm) = self.call("connect", |raw| raw.connect(self.dev, handle, device));
        Ok(self.success("connect", code)?.then_some(comm).filter(|comm| !comm.is_null()))
    }

    /// Accepts, asking again as often as the plugin says "not yet".
    pub(crate) fn accept(&self, listener: P) -> Result<P, Stop> {
        self.until("accept never gave the connection", || self.accept_once(listener))
    }

    pub(crate) fn accept_once(&self, listener: P) -> Result<Option<P>, Stop> {
        self.accept_with(listener, &mut device_handle())
    }

    /// Accepts once, with this argument for the device handle.
    pub(crate) fn accept_with(&self, listener: P, device: *mut *mut DeviceHandle) -> Result<Option<P>, Stop> {
        let (code, comm) = self.call("accept", |raw| raw.accept(listener, device));
        Ok(self.success("accept", code)?.then_some(comm).filter(|comm| !comm.is_null()))
    }

    /// Returns memory for a message, registered for a connection until that is closed.
    pub(crate) fn room(&self, comm: P, bytes: usize) -> Result<Block, Stop> {
        let mut block = Block::new(bytes);
        block.mhandle = self.register(comm, block)?;
        self.registered().push((comm.addr(), block.mhandle.expose_provenance()));
        Ok(block)
    }

    /// Returns memory with the bytes of a message, likewise.
    pub(crate) fn message(&self, comm: P, bytes: usize, message: u64) -> Result<Block, Stop> {
        let block = self.room(comm, bytes)?;
        block.fill(message);
        Ok(block)
    }

    pub(crate) fn register(&self, comm: P, block: Block) -> Result<P, Stop> {
        // A plugin may refuse to register 0 bytes.
        self.register_as(comm, block.pointer(), block.bytes.max(1), PTR_HOST)
    }

    pub(crate) fn register_as(&self, comm: P, data: P, bytes: usize, kind: c_int) -> Result<P, Stop> {
        let (code, mhandle) = self.call("regMr", |raw| raw.reg_mr(comm, data, bytes, kind));
        self.success("regMr", code)?;
        Ok(mhandle)
    }

    pub(crate) fn deregister(&self, comm: P, mhandle: P) -> Result<(), Stop> {
        let code = self.call("deregMr", |raw| raw.dereg_mr(comm, mhandle));
        self.success("deregMr", code).map(drop)
    }

    /// Takes all registrations of a connection back, as NCCL does before it closes.
    fn deregister_all(&self, comm: P) -> Result<(), Stop> {
        let mut own = Vec::new();
        self.registered().retain(|&(of, mhandle)| {
            let keep = of != comm.addr();
            if !keep {
                own.push(mhandle);
            }
            keep
        });
        own.into_iter()
            .try_for_each(|mhandle| self.deregister(comm, ptr::with_exposed_provenance_mut(mhandle)))
    }

    fn registered(&self) -> MutexGuard<'_, Vec<(usize, usize)>> {
        self.registered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn outstanding(&self) -> MutexGuard<'_, Outstanding> {
        self.outstanding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a write of `test` beyond the sizes of its request.
    pub(crate) fn note_beyond(&self, why: String) {
        self.beyond.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
    }

    /// Returns a failure if `test` has written beyond the sizes of a request.
    pub(crate) fn check_sizes(&self) -> Result<(), Stop> {
        let beyond = self.beyond.lock().unwrap_or_else(PoisonError::into_inner).take();
        beyond.map_or(Ok(()), fail)
    }

    pub(crate) fn close_send(&self, comm: P) -> Result<(), Stop> {
        self.deregister_all(comm)?;
        self.close_send_as_it_is(comm)
    }

    /// Closes without taking registrations back, whatever is in flight.
    pub(crate) fn close_send_as_it_is(&self, comm: P) -> Result<(), Stop> {
        self.outstanding().close(comm);
        let code = self.call("closeSend", |raw| raw.close_send(comm));
        self.success("closeSend", code).map(drop)
    }

    pub(crate) fn close_recv(&self, comm: P) -> Result<(), Stop> {
        self.deregister_all(comm)?;
        self.close_recv_as_it_is(comm)
    }

    /// Closes without taking registrations back, whatever is in flight.
    pub(crate) fn close_recv_as_it_is(&self, comm: P) -> Result<(), Stop> {
        self.outstanding().close(comm);
        let code = self.call("closeRecv", |raw| raw.close_recv(comm));
        self.success("closeRecv", code).map(drop)
    }

    pub(crate) fn close_listen(&self, comm: P) -> Result<(), Stop> {
        let code = self.call("closeListen", |raw| raw.close_listen(comm));
        self.success("closeListen", code).map(drop)
    }

    /// Asks until there is an answer, and fails with the words `never` at the check's deadline.
    pub(crate) fn until<T>(
        &self,
        never: &str,
        mut ask: impl FnMut() -> Result<Option<T>, Stop>,
    ) -> Result<T, Stop> {
        let began = Instant::now();
        loop {
            if let Some(found) = ask()? {
                return Ok(found);
            }
            self.in_time(never)?;
            // The plugin's own threads, and the other side, need the cores too.
            if began.elapsed() < Duration::from_millis(1) { thread::yield_now() } else { pause() }
        }
    }
}

/// Returns room for a device handle, which some plugins write to.
pub(crate) fn device_handle() -> *mut DeviceHandle {
    let storage = Box::leak(Box::new(DeviceHandleStorage([0; 512])));
    (&raw mut *storage).cast()
}

/// Returns a function's answer in words.
pub(crate) fn answered(function: &str, code: c_int) -> String {
    match ResultCode::of(code) {
        Some(meaning) => format!("{function} answered {code} ({meaning})"),
        None if code == ResultCode::SUCCESS => format!("{function} answered success"),
        None => format!("{function} answered {code}, which is no code of NCCL's"),
    }
}

/// Waits for the time between two attempts.
pub(crate) fn pause() {
    thread::sleep(Duration::from_micros(200));
}
