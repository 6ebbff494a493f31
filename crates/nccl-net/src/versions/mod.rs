//! The versions of the net interface, 5 to 12: a file each, which lists the fields of the version's
//! properties and table, in C's order.
//!
//! A table's version is the number in its symbol's name, `ncclNetPlugin_v8`. [`find`] looks for the symbols
//! in a library and gives a [`TablePlace`]; [`crate::export!`] defines them in a plugin. `define` has the
//! macros that the files are written with: the structs, and their translation into the shape of all versions.

// The names are NCCL's, and the meaning of a function is said at its type.
#![expect(missing_docs, reason = "fields bear NCCL's names; functions are described at their types")]

mod define;
mod place;

pub use self::{
    define::Net,
    place::{TablePlace, VERSIONS, find},
};

/// Calls a macro, whose path stands in braces, with all known versions: module and symbol, the newest first.
/// The tokens behind the path come before them.
#[macro_export]
macro_rules! each_version {
    ({$($callback:tt)*} $($first:tt)*) => {
        $($callback)*! {
            $($first)*
            v12 ncclNetPlugin_v12,
            v11 ncclNetPlugin_v11,
            v10 ncclNetPlugin_v10,
            v9 ncclNetPlugin_v9,
            v8 ncclNetPlugin_v8,
            v7 ncclNetPlugin_v7,
            v6 ncclNetPlugin_v6,
            v5 ncclNetPlugin_v5,
        }
    };
}

macro_rules! modules {
    ($($module:ident $symbol:ident,)*) => { $(pub mod $module;)* };
}
each_version!({ modules });

/// Exports a [`crate::export::Network`] under the symbols that NCCL looks up: one for each version that is
/// known.
#[macro_export]
macro_rules! export {
    ($network:ty) => {
        $crate::each_version!({ $crate::export } @ $network;);
    };
    (@ $network:ty; $($module:ident $symbol:ident,)*) => {
        $(
            /// The table of this version.
            #[unsafe(no_mangle)]
            pub static $symbol: $crate::versions::$module::Net =
                <$crate::versions::$module::Net as $crate::export::Export<$network>>::TABLE;
        )*
    };
}
