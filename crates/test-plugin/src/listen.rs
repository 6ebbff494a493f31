//! A listener: takes sockets that send a hello, sorts them by connection, and drops strays without a word.

use std::{
    collections::HashMap,
    io::{self, Read as _},
    net::{Ipv4Addr, TcpListener},
    time::{Duration, Instant},
};

use gputcp_nccl_net::ResultCode;
use socket2::Socket;

use crate::{
    handle::Handle,
    knobs::Knobs,
    wire::{Hello, tune},
};

/// A port with the sockets that have come to it.
#[derive(Debug)]
pub(crate) struct Listener {
    listener: TcpListener,
    handle: Handle,
    /// Sockets that have not sent all of their hello.
    silent: Vec<Silent>,
    /// Connections that lack sockets, by number.
    partial: HashMap<u64, Vec<Option<Socket>>>,
    /// The number of times that `accept` has said "not yet" to a complete connection.
    refused: u32,
    accepted: u32,
    strays: u32,
}

#[derive(Debug)]
struct Silent {
    socket: Socket,
    said: Vec<u8>,
    since: Instant,
}

impl Listener {
    pub(crate) fn bind() -> Result<Self, ResultCode> {
        let system = |_: io::Error| ResultCode::System;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(system)?;
        listener.set_nonblocking(true).map_err(system)?;
        let port = listener.local_addr().map_err(system)?.port();
        let handle = Handle { port, listener: draw(), calls: 0 };
        Ok(Self {
            listener,
            handle,
            silent: Vec::new(),
            partial: HashMap::new(),
            refused: 0,
            accepted: 0,
            strays: 0,
        })
    }

    pub(crate) const fn handle(&self) -> Handle {
        self.handle
    }

    /// Returns the sockets of a complete connection, the control socket first; `None` if there is none yet.
    pub(crate) fn accept(&mut self, knobs: &Knobs) -> Result<Option<Vec<Socket>>, ResultCode> {
        if knobs.violates("several-accepts") && self.accepted > 0 {
            return Err(ResultCode::InvalidUsage);
        }
        self.take_new().map_err(|_| ResultCode::System)?;
        self.hear();
        if knobs.violates("accept-survives-strays") && self.strays > 0 {
            return Err(ResultCode::System);
        }
        let complete = self.partial.iter().find(|(_, sockets)| sockets.iter().all(Option::is_some));
        let Some(connection) = complete.map(|(&connection, _)| connection) else { return Ok(None) };
        if self.refused < knobs.not_yet {
            self.refused += 1;
            return Ok(None);
        }
        self.refused = 0;
        self.accepted += 1;
        let sockets: Vec<Socket> = self.partial.remove(&connection).into_iter().flatten().flatten().collect();
        for socket in &sockets {
            let ready = socket.set_nonblocking(false).and_then(|()| tune(socket, &knobs.congestion));
            ready.map_err(|_| ResultCode::System)?;
        }
        Ok(Some(sockets))
    }

    fn take_new(&mut self) -> io::Result<()> {
        loop {
            match self.listener.accept() {
                Ok((socket, _)) => {
                    let socket = Socket::from(socket);
                    socket.set_nonblocking(true)?;
                    if self.silent.len() == SILENT_MAX {
                        self.silent.remove(0);
                        self.strays += 1;
                    }
                    let said = Vec::with_capacity(Hello::BYTES);
                    self.silent.push(Silent { socket, said, since: Instant::now() });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // The connection was gone before it was taken.
                Err(error)
                    if [io::ErrorKind::ConnectionAborted, io::ErrorKind::Interrupted]
                        .contains(&error.kind()) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads hellos as far as they have come.
    fn hear(&mut self) {
        for mut silent in std::mem::take(&mut self.silent) {
            match silent.hear() {
                Heard::Nothing if silent.since.elapsed() < TIMEOUT => self.silent.push(silent),
                Heard::Hello(hello) if hello.listener == self.handle.listener => {
                    let sockets = self
                        .partial
                        .entry(hello.connection)
                        .or_insert_with(|| (0..hello.sockets).map(|_| None).collect());
                    match sockets.get_mut(hello.index as usize) {
                        Some(place @ None) => *place = Some(silent.socket),
                        _ => self.strays += 1,
                    }
                }
                Heard::Nothing | Heard::Hello(_) | Heard::Stray => self.strays += 1,
            }
        }
    }
}

enum Heard {
    Nothing,
    Hello(Hello),
    Stray,
}

impl Silent {
    fn hear(&mut self) -> Heard {
        let mut bytes = [0; Hello::BYTES];
        let missing = Hello::BYTES - self.said.len();
        match (&self.socket).read(&mut bytes[..missing]) {
            Ok(0) => Heard::Stray,
            Ok(heard) => {
                self.said.extend_from_slice(&bytes[..heard]);
                match <&[u8; Hello::BYTES]>::try_from(&self.said[..]) {
                    Ok(said) => Hello::decode(said).map_or(Heard::Stray, Heard::Hello),
                    Err(_) => Heard::Nothing,
                }
            }
            Err(error) if [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted].contains(&error.kind()) => {
                Heard::Nothing
            }
            Err(_) => Heard::Stray,
        }
    }
}

/// Returns a number that strangers cannot guess.
pub(crate) fn draw() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

/// The time after which a socket without a hello is a stray.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The most sockets without a hello; a further one displaces the oldest.
const SILENT_MAX: usize = 256;
