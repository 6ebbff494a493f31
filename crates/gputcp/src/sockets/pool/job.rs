//! A task in a pool. Its worker alone steps it; the thread that ends the connection can shut it out.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
};

use super::worker::Worker;
use crate::{
    Error,
    sockets::{
        locks::lock,
        task::{Rest, Task},
    },
};

/// A task, its worker, and its place there.
pub(crate) struct Job {
    worker: Arc<Worker>,
    place: usize,
    /// Locked during a step. `None` once the task has ended or was shut out.
    task: Mutex<Option<Box<dyn Task>>>,
}

impl Job {
    pub(super) fn new(worker: Arc<Worker>, place: usize, task: Box<dyn Task>) -> Self {
        Self { worker, place, task: Mutex::new(Some(task)) }
    }

    /// Has the task stepped once more.
    pub(crate) fn wake(&self) {
        self.worker.wake(self.place);
    }

    /// Steps the task. A panic fails its connection, and not the worker.
    pub(super) fn step(&self) -> Rest {
        let mut place = lock(&self.task);
        let Some(task) = place.as_mut() else { return Rest::Work };
        let rest = catch_unwind(AssertUnwindSafe(|| task.step())).unwrap_or_else(|_| {
            task.fail(panicked());
            Rest::Ended
        });
        if matches!(rest, Rest::Ended)
            && let Some(task) = place.take()
        {
            self.worker.remove(self.place, &*task);
        }
        rest
    }

    /// Ends the task where it is. Waits for a step under way, which takes no longer than the CPU and a GPU
    /// need: it does not wait for the peer.
    pub(super) fn shut_out(&self) {
        if let Some(task) = lock(&self.task).take() {
            self.worker.remove(self.place, &*task);
        }
    }
}

impl fmt::Debug for Job {
    /// Leaves the task out, as it leads back to its connection, and that to this job.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("place", &self.place).finish_non_exhaustive()
    }
}

pub(super) fn panicked() -> Error {
    let panicked = std::io::Error::other("it panicked, which is a bug in gputcp: please report it");
    Error::system("go on with a connection's work", panicked)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Write},
        os::{
            fd::{AsFd, BorrowedFd},
            unix::net::UnixStream,
        },
        sync::mpsc::{Receiver, RecvTimeoutError::Disconnected, Sender, channel},
        time::Duration,
    };

    use rustix::event::epoll::EventFlags;

    use super::*;
    use crate::sockets::{
        shared::attempt,
        task::{Next, Stop},
    };

    /// Reads byte by byte and reports each; panics at a 0.
    struct Reading {
        socket: UnixStream,
        heard: Sender<Result<u8, Error>>,
    }

    impl Task for Reading {
        fn name() -> &'static str {
            "reading"
        }

        fn go_on(&mut self) -> Next {
            let mut byte = [0];
            match attempt(|| Ok(rustix::io::read(&self.socket, &mut byte)?)).map_err(Stop::Socket)? {
                Some(1) => {
                    assert_ne!(byte, [0]);
                    self.heard.send(Ok(byte[0])).unwrap();
                    Ok(None)
                }
                _ => Ok(Some(Rest::Socket)),
            }
        }

        fn socket_failed(&mut self, error: io::Error) {
            self.fail(Error::system("read a byte", error));
        }

        fn socket(&self) -> BorrowedFd<'_> {
            self.socket.as_fd()
        }

        fn events(&self) -> EventFlags {
            EventFlags::IN | EventFlags::ET
        }

        fn fail(&self, error: Error) {
            self.heard.send(Err(error)).unwrap();
        }
    }

    fn reading(worker: &Arc<Worker>) -> (UnixStream, Arc<Job>, Receiver<Result<u8, Error>>) {
        let (ours, socket) = UnixStream::pair().unwrap();
        socket.set_nonblocking(true).unwrap();
        let (heard, hear) = channel();
        let job = worker.add(Box::new(Reading { socket, heard })).unwrap();
        (ours, job, hear)
    }

    #[test]
    fn a_panic_ends_its_task_and_no_other() {
        const SOON: Duration = Duration::from_secs(10);
        let worker = Arc::new(Worker::new().unwrap());
        let running = worker.clone();
        let thread = std::thread::spawn(move || running.run());
        let (mut first, _first_job, first_hear) = reading(&worker);
        let (mut second, second_job, second_hear) = reading(&worker);
        assert_eq!(worker.tasks(), 2);
        first.write_all(&[1, 0, 2]).unwrap();
        second.write_all(&[3]).unwrap();
        assert_eq!(first_hear.recv_timeout(SOON).unwrap().unwrap(), 1);
        let error = first_hear.recv_timeout(SOON).unwrap().unwrap_err();
        assert!(error.to_string().contains("panicked"), "{error}");
        assert_eq!(first_hear.recv_timeout(SOON).unwrap_err(), Disconnected, "the task was stepped again");
        assert_eq!(second_hear.recv_timeout(SOON).unwrap().unwrap(), 3);
        second.write_all(&[4]).unwrap();
        assert_eq!(second_hear.recv_timeout(SOON).unwrap().unwrap(), 4);
        // Shut out, it is gone when the call returns.
        second_job.shut_out();
        assert_eq!(second_hear.recv_timeout(Duration::ZERO).unwrap_err(), Disconnected);
        assert_eq!(worker.tasks(), 0);
        worker.stop();
        thread.join().unwrap();
    }
}
