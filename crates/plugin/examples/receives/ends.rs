//! A connection of the plugin's, through the functions of its table.

use std::{
    env,
    path::PathBuf,
    ptr, thread,
    time::{Duration, Instant},
};

use gputcp_nccl_check::raw::{Group, Handle, P, Raw};

/// A result of C's functions, with its error in words.
pub(crate) type Answer<T> = Result<T, String>;

/// One end of a connection; its caller knows which functions are for it.
#[derive(Clone, Copy)]
pub(crate) struct End {
    raw: Raw,
    /// The connection, by its exposed address: pointers do not go from thread to thread.
    comm: usize,
}

/// A request in flight.
#[derive(Clone, Copy)]
pub(crate) struct OpenRequest(P);

/// Returns both ends of a new connection: the sending one and the receiving one.
pub(crate) fn meet(version: u32) -> Answer<(End, End)> {
    // Examples lie in a folder beside the library.
    let own = env::current_exe().map_err(|error| error.to_string())?;
    let folder = own.parent().and_then(|examples| examples.parent()).map_or_else(PathBuf::new, Into::into);
    let path = folder.join("libnccl_net_gputcp.so");
    let mut raw = Raw::load(&path.to_string_lossy(), Some(version))?;
    ok("init", raw.init())?;
    let mut handle = Handle::empty();
    let (code, listener) = raw.listen(0, &mut handle);
    ok("listen", code)?;
    let (mut sending, mut receiving): (P, P) = (ptr::null_mut(), ptr::null_mut());
    until("a connection", || {
        let mut nothing = ptr::null_mut();
        if sending.is_null() {
            let (code, comm) = raw.connect(0, &mut handle, &raw mut nothing);
            ok("connect", code)?;
            sending = comm;
        }
        if receiving.is_null() {
            let (code, comm) = raw.accept(listener, &raw mut nothing);
            ok("accept", code)?;
            receiving = comm;
        }
        Ok((!sending.is_null() && !receiving.is_null()).then_some(()))
    })?;
    ok("closeListen", raw.close_listen(listener))?;
    let end = |comm: P| End { raw, comm: comm.expose_provenance() };
    Ok((end(sending), end(receiving)))
}

impl End {
    fn comm(self) -> P {
        ptr::with_exposed_provenance_mut(self.comm)
    }

    /// Returns the most receives of one request.
    pub(crate) fn max_receives(self) -> Answer<usize> {
        let said = self.raw.properties(0).map_err(|code| format!("getProperties answered {code}"))?;
        Ok(said.max_recvs as usize)
    }

    /// Posts a send, and asks again as often as the plugin says "not yet". The bytes stay lent until it is
    /// done.
    pub(crate) fn send(self, bytes: &mut [u8], tag: i32) -> Answer<OpenRequest> {
        until("a place for a send", || self.try_send(bytes, tag))
    }

    /// Posts a send, unless the plugin says "not yet".
    pub(crate) fn try_send(self, bytes: &mut [u8], tag: i32) -> Answer<Option<OpenRequest>> {
        let data = bytes.as_mut_ptr().cast();
        let (code, request) = self.raw.isend(self.comm(), data, bytes.len(), tag, ptr::null_mut());
        ok("isend", code)?;
        Ok((!request.is_null()).then_some(OpenRequest(request)))
    }

    /// Posts a request of as many receives as there are parts, and asks again likewise.
    pub(crate) fn receive(self, parts: &mut [Vec<u8>], tags: &[i32]) -> Answer<OpenRequest> {
        until("room for a receive", || self.try_receive(parts, tags))
    }

    /// Does the same, unless the plugin says "not yet".
    pub(crate) fn try_receive(self, parts: &mut [Vec<u8>], tags: &[i32]) -> Answer<Option<OpenRequest>> {
        let mut group = Group {
            data: parts.iter_mut().map(|part| part.as_mut_ptr().cast()).collect(),
            sizes: parts.iter().map(Vec::len).collect(),
            tags: tags.to_vec(),
            mhandles: vec![ptr::null_mut(); parts.len()],
        };
        let (code, request) = self.raw.irecv(self.comm(), &mut group, ptr::null_mut());
        ok("irecv", code)?;
        Ok((!request.is_null()).then_some(OpenRequest(request)))
    }

    /// Tests a request, and returns the sizes of its messages once it is done: no more than eight.
    pub(crate) fn test(self, request: OpenRequest) -> Answer<Option<[i32; 8]>> {
        let (mut done, mut sizes) = (0, [-1; 8]);
        ok("test", self.raw.test(request.0, &raw mut done, sizes.as_mut_ptr()))?;
        Ok((done != 0).then_some(sizes))
    }

    pub(crate) fn wait(self, request: OpenRequest) -> Answer<[i32; 8]> {
        until("the end of a request", || self.test(request))
    }

    pub(crate) fn close_send(self) -> Answer<()> {
        ok("closeSend", self.raw.close_send(self.comm()))
    }

    pub(crate) fn close_receive(self) -> Answer<()> {
        ok("closeRecv", self.raw.close_recv(self.comm()))
    }
}

fn ok(function: &str, code: i32) -> Answer<()> {
    if code == 0 { Ok(()) } else { Err(format!("{function} answered {code}")) }
}

/// Polls until there is an answer, within a bound. Yields to other threads, as NCCL's thread does when
/// nothing has moved.
fn until<T>(what: &str, mut poll: impl FnMut() -> Answer<Option<T>>) -> Answer<T> {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(answer) = poll()? {
            return Ok(answer);
        }
        thread::yield_now();
        if Instant::now() >= until {
            return Err(format!("{what} did not come"));
        }
    }
}
