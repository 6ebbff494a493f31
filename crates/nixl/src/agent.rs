//! An agent: the backend of one NIXL agent.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use gputcp::{
    Device, SoftOptions,
    onesided::{Address, Operation},
};

use crate::{
    after::After,
    lists::Lists,
    log,
    memory::{Local, Registered, Remote},
    notes::{self, Incoming, Notification},
    request::{Part, Request},
    settings::{Settings, Vram},
    status::{Status, failed, refused},
    unit::Unit,
};

/// The backend of one NIXL agent.
#[derive(Debug)]
pub(crate) struct Agent {
    name: Vec<u8>,
    settings: Settings,
    /// The unit of host memory, whose address remote agents connect to.
    base: Arc<Unit>,
    /// The units of GPUs, made when memory of them is registered.
    gpus: Mutex<BTreeMap<u32, Arc<Unit>>>,
    registered: Registered,
    /// The base addresses of the remote agents that are known.
    agents: Mutex<HashMap<Vec<u8>, Address>>,
    /// The addresses of remote memory: one object each.
    addresses: Mutex<HashMap<Address, Weak<Address>>>,
    incoming: Mutex<Incoming>,
    notifications: AtomicU64,
    after: Arc<After>,
}

impl Agent {
    /// Starts the backend of an agent.
    ///
    /// # Errors
    /// A sentence, if a parameter is bad, or it cannot listen.
    pub(crate) fn start(name: &[u8], parameters: &[(String, String)]) -> Result<Self, String> {
        if name.len() > notes::NAME_BYTES_MAX {
            let (found, most) = (name.len(), notes::NAME_BYTES_MAX);
            return Err(format!("the agent's name has {found} bytes; give it at most {most}"));
        }
        let settings = Settings::read(parameters)?;
        let base = Unit::bind(&settings.ips, settings.port, None, settings.options.clone());
        let base = base.map_err(|error| error.to_string())?;
        let after = After::new()?;
        after.watch(&base.endpoint).map_err(|error| error.to_string())?;
        Ok(Self {
            name: name.to_vec(),
            settings,
            base: Arc::new(base),
            gpus: Mutex::default(),
            registered: Registered::default(),
            agents: Mutex::default(),
            addresses: Mutex::default(),
            incoming: Mutex::default(),
            notifications: AtomicU64::new(0),
            after,
        })
    }

    /// Returns the unit of a kind of memory.
    ///
    /// # Errors
    /// A status, after a sentence, if the GPU cannot be used.
    fn unit(&self, kind: Kind, device: u64) -> Result<Arc<Unit>, Status> {
        if kind == Kind::Host {
            return Ok(self.base.clone());
        }
        let Ok(number) = u32::try_from(device) else {
            return Err(refused(Status::INVALID_PARAMETER, &format!("there is no GPU {device}")));
        };
        let mut gpus = lock(&self.gpus);
        if let Some(unit) = gpus.get(&number) {
            return Ok(unit.clone());
        }
        let device = match self.settings.vram {
            Vram::Cuda => Device::cuda(&number.to_string()).map_err(gputcp::Error::from),
            Vram::Soft => Ok(Device::soft(SoftOptions::default())),
        };
        let Settings { ips, port, options, .. } = &self.settings;
        let unit = device.and_then(|device| Unit::bind(ips, *port, Some((number, device)), options.clone()));
        let unit = unit.and_then(|unit| self.after.watch(&unit.endpoint).map(|()| unit));
        let unit = Arc::new(unit.map_err(|error| failed(&format!("use GPU {number}"), &error))?);
        gpus.insert(number, unit.clone());
        Ok(unit)
    }

    /// Registers memory of the agent's program.
    ///
    /// # Errors
    /// A status, after a sentence.
    ///
    /// # Safety
    /// The memory is the program's, and stays mapped until it is deregistered.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn register(
        &self,
        kind: Kind,
        device: u64,
        start: u64,
        bytes: u64,
    ) -> Result<Local, Status> {
        let register = || {
            let unit = self.unit(kind, device)?;
            // SAFETY: the caller's promise.
            let local = unsafe { self.registered.register(unit, start, bytes) };
            local.map_err(|why| {
                refused(Status::INVALID_PARAMETER, &format!("could not register memory: {why}"))
            })
        };
        match kind {
            Kind::Host => register(),
            // On a thread of its own: the GPU becomes current there, and the program's threads keep theirs.
            Kind::Gpu => thread::scope(|scope| {
                let thread = thread::Builder::new().name("gputcp-register".into());
                let thread = thread.spawn_scoped(scope, register).map_err(|error| {
                    refused(Status::BACKEND, &format!("could not start a thread: {error}"))
                })?;
                thread.join().unwrap_or(Err(Status::BACKEND))
            }),
        }
    }

    /// Ends the use of memory: it waits for transfers that touch it, at most for the timeout.
    pub(crate) fn deregister(&self, local: Local) -> Result<(), Status> {
        let ended = self.registered.deregister(local, self.settings.options.timeout);
        ended.map_err(|error| failed("deregister memory, which stays in use", &error))
    }

    /// Returns the bytes by which remote agents connect.
    pub(crate) fn connection_info(&self) -> [u8; Address::BYTES] {
        self.base.address.to_bytes()
    }

    /// Learns a remote agent, or its new address.
    pub(crate) fn load_connection_info(&self, name: &[u8], info: &[u8]) -> Result<(), Status> {
        let address = Address::from_bytes(info).map_err(|error| {
            let agent = String::from_utf8_lossy(name);
            refused(Status::MISMATCH, &format!("the metadata of {agent} is none of this backend's: {error}"))
        })?;
        lock(&self.agents).insert(name.to_vec(), address);
        Ok(())
    }

    /// Begins to connect to a remote agent, or says that it is this one.
    pub(crate) fn connect(&self, name: &[u8]) -> Result<(), Status> {
        if name == self.name {
            return Ok(());
        }
        let address = self.address_of(name)?;
        let peer = self.base.endpoint.connect(&address);
        peer.map(drop).map_err(|error| failed("connect to a remote agent", &error))
    }

    /// Forgets a remote agent.
    pub(crate) fn disconnect(&self, name: &[u8]) {
        lock(&self.agents).remove(name);
    }

    /// Reads what a remote agent says of its memory.
    pub(crate) fn load_remote(
        &self,
        start: u64,
        bytes: u64,
        blob: &[u8],
        name: &[u8],
    ) -> Result<Remote, Status> {
        let parsed = Remote::parse(blob, start, bytes).map_err(|why| {
            let agent = String::from_utf8_lossy(name);
            refused(Status::MISMATCH, &format!("could not read the metadata of memory of {agent}: {why}"))
        });
        let (address, key) = parsed?;
        Ok(Remote { address: self.shared_address(address), key, start, bytes })
    }

    /// Returns this agent's memory as its own transfers name it.
    pub(crate) fn load_local(&self, local: &Local) -> Remote {
        let address = self.shared_address(local.unit.address);
        Remote { address, key: local.region.key(), start: local.start, bytes: local.bytes }
    }

    /// Prepares a transfer.
    pub(crate) fn prepare(
        &self,
        operation: Operation,
        lists: Lists<'_>,
        name: &[u8],
    ) -> Result<Arc<Request>, Status> {
        let parts = lists.parts().map_err(|why| {
            refused(Status::INVALID_PARAMETER, &format!("could not prepare a {operation}: {why}"))
        })?;
        let doing = || format!("prepare a {operation} with {}", String::from_utf8_lossy(name));
        let prepared = parts.iter().map(|part| {
            let peer = part.unit.endpoint.connect(part.address)?;
            let transfer = peer.prepare(operation, lists.blocks(part))?;
            Ok(Part::new(peer, transfer))
        });
        let prepared: gputcp::Result<Vec<Part>> = prepared.collect();
        let prepared = prepared.map_err(|error| failed(&doing(), &error))?;
        Ok(Request::new(prepared, self.after.clone()))
    }

    /// Posts a transfer, with a notification or without.
    pub(crate) fn post(&self, request: &Arc<Request>, notification: Option<&[u8]>) -> Result<Status, Status> {
        let notes = notification.map(|bytes| self.frame(bytes)).transpose()?;
        Ok(request.post(notes.unwrap_or_default()))
    }

    /// Sends a notification alone.
    pub(crate) fn notify(&self, name: &[u8], bytes: &[u8]) -> Result<(), Status> {
        let address = self.address_of(name)?;
        let notes = self.frame(bytes)?;
        let sent = self
            .base
            .endpoint
            .connect(&address)
            .and_then(|peer| notes.iter().try_for_each(|note| peer.notify(note)));
        sent.map_err(|error| failed("send a notification", &error))
    }

    /// Returns the notifications that have come.
    pub(crate) fn take_notifications(&self) -> Vec<Notification> {
        let mut incoming = lock(&self.incoming);
        let mut all = Vec::new();
        let units: Vec<_> =
            std::iter::once(self.base.clone()).chain(lock(&self.gpus).values().cloned()).collect();
        let mut bad = None;
        for note in units.iter().flat_map(|unit| unit.endpoint.notes()) {
            match incoming.take(&note) {
                Ok(notification) => all.extend(notification),
                Err(why) => bad = Some(why),
            }
        }
        // One sentence, however many a hostile peer has sent.
        if let Some(why) = bad {
            log::say(&why);
        }
        all
    }

    fn frame(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, Status> {
        let (found, most) = (bytes.len(), notes::BYTES_MAX);
        if found > most {
            let why = format!("a notification of {found} bytes was given; it has at most {most}");
            return Err(refused(Status::INVALID_PARAMETER, &why));
        }
        Ok(notes::frame(&self.name, self.notifications.fetch_add(1, Ordering::Relaxed), bytes))
    }

    fn address_of(&self, name: &[u8]) -> Result<Address, Status> {
        if name == self.name {
            return Ok(self.base.address);
        }
        lock(&self.agents).get(name).copied().ok_or_else(|| {
            let agent = String::from_utf8_lossy(name);
            refused(Status::NOT_FOUND, &format!("no metadata of the agent {agent} was loaded"))
        })
    }

    fn shared_address(&self, address: Address) -> Arc<Address> {
        let mut addresses = lock(&self.addresses);
        if let Some(known) = addresses.get(&address).and_then(Weak::upgrade) {
            return known;
        }
        addresses.retain(|_, known| known.strong_count() > 0);
        let new = Arc::new(address);
        addresses.insert(address, Arc::downgrade(&new));
        new
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.after.stop();
    }
}

/// A kind of memory that the backend knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Host,
    Gpu,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
