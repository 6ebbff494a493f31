//! Tables that the plugin writes itself. Before `init` they may hold no more than a name and `init`, like
//! those of NVIDIA's nccl-rdma-sharp-plugins.

use std::{
    cell::UnsafeCell,
    sync::{Mutex, PoisonError},
};

use crate::knobs::Knobs;

/// A table as its symbol holds it.
#[repr(transparent)]
pub struct Table<Net>(UnsafeCell<Net>);

// SAFETY: it is written while the file is loaded, and within `init`. The host reads it at neither time.
unsafe impl<Net> Sync for Table<Net> {}

/// A version's table.
pub trait Parts: Copy + 'static {
    /// Returns the table before `init`: another name, and `init`.
    fn beginning(self) -> Self;

    /// Returns the table with the stray pointers that the knobs ask for.
    fn astray(self) -> Self;
}

trait Complete: Sync {
    fn complete(&self);
}

/// A table, and its content after `init`.
struct Late<Net: 'static>(&'static Table<Net>, Net);

// SAFETY: functions and a pointer to a constant text.
unsafe impl<Net> Sync for Late<Net> {}

impl<Net: Parts> Table<Net> {
    /// Returns a table that is whole.
    pub const fn new(net: Net) -> Self {
        Self(UnsafeCell::new(net))
    }

    /// Changes the table as the knobs ask, while the file is loaded.
    pub fn load(&'static self) {
        // SAFETY: see `Sync`.
        let whole = unsafe { self.0.get().read() }.astray();
        // SAFETY: see `Sync`.
        unsafe { self.0.get().write(if Knobs::is_late() { whole.beginning() } else { whole }) };
        if !Knobs::is_late() {
            return;
        }
        LATE.lock().unwrap_or_else(PoisonError::into_inner).push(Box::leak(Box::new(Late(self, whole))));
    }
}

impl<Net: Parts> Complete for Late<Net> {
    fn complete(&self) {
        // SAFETY: see `Sync`.
        unsafe { self.0.0.get().write(self.1) };
    }
}

/// Completes the file's tables.
pub(super) fn complete() {
    LATE.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(|late| late.complete());
}

static LATE: Mutex<Vec<&'static dyn Complete>> = Mutex::new(Vec::new());

/// Exports a table under the symbol that NCCL looks up.
#[macro_export]
macro_rules! export {
    ($symbol:ident: $net:ty = $table:expr) => {
        /// The symbol that NCCL looks up.
        #[unsafe(no_mangle)]
        pub static $symbol: $crate::exports::Table<$net> = $crate::exports::Table::new($table);

        const _: () = {
            extern "C" fn load() {
                $symbol.load();
            }

            // SAFETY: functions without arguments are what the loader runs of this section.
            #[used]
            #[unsafe(link_section = ".init_array")]
            static LOAD: extern "C" fn() = load;
        };
    };
}
