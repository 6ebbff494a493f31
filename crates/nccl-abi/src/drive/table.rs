//! The place of a plugin's table. Before the plugin is started, only `init` and a name are read from it, as
//! in NCCL. The other functions are read after `init`, since some plugins fill their table in only there.

use std::ptr::NonNull;

use crate::sys::{c_char, c_int, c_void, device::Config, functions as f, v5, v6, v7, v8, v9, v10, v11, v12};

/// A table of a version that is known. It is named by its place, since `init` may change what stands there.
#[derive(Debug, Clone, Copy)]
pub(super) enum Found {
    V5(NonNull<v5::Net>),
    V6(NonNull<v6::Net>),
    V7(NonNull<v7::Net>),
    V8(NonNull<v8::Net>),
    V9(NonNull<v9::Net>),
    V10(NonNull<v10::Net>),
    V11(NonNull<v11::Net>),
    V12(NonNull<v12::Net>),
}

/// A table's `init`; each form is named by the version that it came with.
#[derive(Debug, Clone, Copy)]
pub(super) enum Init {
    V5(f::Init),
    V10(f::InitV10),
    V11(f::InitV11),
}

/// One expression for whichever version it is.
macro_rules! each {
    ($found:expr, $table:ident => $body:expr) => {
        match $found {
            Found::V5($table) => $body,
            Found::V6($table) => $body,
            Found::V7($table) => $body,
            Found::V8($table) => $body,
            Found::V9($table) => $body,
            Found::V10($table) => $body,
            Found::V11($table) => $body,
            Found::V12($table) => $body,
        }
    };
}

impl Found {
    /// Its version.
    pub(super) const fn version(self) -> u32 {
        match self {
            Self::V5(_) => 5,
            Self::V6(_) => 6,
            Self::V7(_) => 7,
            Self::V8(_) => 8,
            Self::V9(_) => 9,
            Self::V10(_) => 10,
            Self::V11(_) => 11,
            Self::V12(_) => 12,
        }
    }

    /// Its plugin's name, before or after `init`.
    pub(super) fn name(self) -> *const c_char {
        // SAFETY: the table's symbol says its type; it stays where it is, as libraries are never closed.
        each!(self, table => unsafe { (*table.as_ptr()).name })
    }

    /// The function that starts its plugin.
    pub(super) fn init(self) -> Option<Init> {
        // SAFETY: as above, in each line.
        unsafe {
            match self {
                Self::V5(table) => (*table.as_ptr()).init.map(Init::V5),
                Self::V6(table) => (*table.as_ptr()).init.map(Init::V5),
                Self::V7(table) => (*table.as_ptr()).init.map(Init::V5),
                Self::V8(table) => (*table.as_ptr()).init.map(Init::V5),
                Self::V9(table) => (*table.as_ptr()).init.map(Init::V5),
                Self::V10(table) => (*table.as_ptr()).init.map(Init::V10),
                Self::V11(table) => (*table.as_ptr()).init.map(Init::V11),
                Self::V12(table) => (*table.as_ptr()).init.map(Init::V11),
            }
        }
    }

    /// The function that ends its plugin, where the version has one.
    pub(super) fn finalize(self) -> Option<f::Finalize> {
        match self {
            // SAFETY: as above.
            Self::V11(table) => unsafe { (*table.as_ptr()).finalize },
            // SAFETY: as above.
            Self::V12(table) => unsafe { (*table.as_ptr()).finalize },
            _ => None,
        }
    }

    /// Where it lies.
    pub(super) fn address(self) -> usize {
        each!(self, table => table.addr().get())
    }
}

impl Init {
    /// # Safety
    /// `ctx` has room for a pointer; `config` lives as long as the plugin; one thread at a time makes this
    /// call.
    pub(super) unsafe fn call(self, ctx: *mut *mut c_void, config: *mut Config, logger: f::Logger) -> c_int {
        // SAFETY: as the interface says for each version; the rest is the caller's promise.
        unsafe {
            match self {
                Self::V5(init) => init(logger),
                Self::V10(init) => init(logger, None),
                Self::V11(init) => init(ctx, std::process::id().into(), config, logger, None),
            }
        }
    }
}
