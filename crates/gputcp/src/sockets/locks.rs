//! Locks that no panicking thread can leave half-changed: a poisoned one is still good.

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn read_lock<T>(place: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    place.read().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn write_lock<T>(place: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    place.write().unwrap_or_else(PoisonError::into_inner)
}
