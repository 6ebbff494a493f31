//! Finding a table of any version, and reading it.

use std::{ffi::CStr, ptr::NonNull};

use super::define::Net;
use crate::{
    call::Functions,
    layout::{Table, c_void},
};

/// The place of a table in a loaded library.
///
/// A table is named by its place, as some plugins fill their table in only while `init` runs.
#[derive(Debug, Clone, Copy)]
pub struct TablePlace {
    version: u32,
    table: NonNull<c_void>,
    read: unsafe fn(NonNull<c_void>) -> Functions,
}

// SAFETY: an address, which only `read` dereferences; its caller promises that the table stays.
unsafe impl Send for TablePlace {}

impl TablePlace {
    /// Returns the place of a table.
    #[must_use]
    pub fn new<T: Net>(table: NonNull<T>) -> Self {
        unsafe fn read<T: Net>(table: NonNull<c_void>) -> Functions {
            // SAFETY: the caller's promise; the type is the one that `new` saw.
            unsafe { table.cast::<T>().read() }.functions()
        }
        Self { version: T::VERSION, table: table.cast(), read: read::<T> }
    }

    /// Returns the table's version.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// Returns the table's address, by which a table can be recognized.
    #[must_use]
    pub fn address(&self) -> usize {
        self.table.addr().get()
    }

    /// Copies the table.
    ///
    /// # Safety
    /// The table is still loaded, and no thread writes it: no call of its `init` is under way.
    #[must_use]
    pub unsafe fn read(&self) -> Functions {
        // SAFETY: the caller's promise.
        unsafe { (self.read)(self.table) }
    }
}

/// The oldest and the newest version that are known.
pub const VERSIONS: std::ops::RangeInclusive<u32> = <super::v5::Net as Table>::VERSION..=NEWEST;

macro_rules! newest {
    ($newest:ident $symbol:ident, $($rest:tt)*) => {
        <super::$newest::Net as Table>::VERSION
    };
}
const NEWEST: u32 = crate::each_version!({ newest });

/// Finds the table of a version, or of the newest version that is known. `symbol` returns the address of a
/// symbol.
pub fn find(version: Option<u32>, symbol: impl Fn(&CStr) -> Option<NonNull<c_void>>) -> Option<TablePlace> {
    macro_rules! find {
        ($($module:ident $symbol:ident,)*) => {
            $(if version.is_none_or(|version| version == super::$module::Net::VERSION) {
                let table = symbol(super::$module::Net::SYMBOL).map(NonNull::cast::<super::$module::Net>);
                if let Some(table) = table.filter(|table| table.is_aligned()) {
                    return Some(TablePlace::new(table));
                }
            })*
        };
    }
    crate::each_version!({ find });
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::versions::{v5, v9, v11};

    #[test]
    fn the_newest_known_table_is_found_and_any_that_is_asked_for() {
        let (old, new) = (v5::Net { name: c"old".as_ptr(), ..v5::Net::EMPTY }, v9::Net::EMPTY);
        let symbol = |name: &CStr| match name {
            name if name == v5::Net::SYMBOL => Some(NonNull::from(&old).cast()),
            name if name == v9::Net::SYMBOL => Some(NonNull::from(&new).cast()),
            // Where no table can be.
            name if name == v11::Net::SYMBOL => NonNull::new(std::ptr::without_provenance_mut(0x1001)),
            _ => None,
        };
        let version = |asked| find(asked, symbol).map(|place| place.version());
        assert_eq!((version(None), version(Some(5)), version(Some(8))), (Some(9), Some(5), None));
        assert_eq!(VERSIONS, 5..=12);
        // SAFETY: the table is above.
        let functions = unsafe { find(Some(5), symbol).unwrap().read() };
        assert_eq!((functions.version, functions.name), (5, c"old".as_ptr()));
        assert_eq!(functions.calls().unwrap_err(), "devices");
    }
}
