//! The macros that each version's file is written with: the structs as C has them, and their translation.

use crate::{call::Functions, layout::Table};

/// A table of the net interface.
pub trait Net: Table {
    /// A table without name and functions.
    const EMPTY: Self;

    /// Returns the functions that the table has.
    fn functions(&self) -> Functions;
}

/// Defines a version's properties, field by field as in C, and their translation.
macro_rules! properties {
    ($($field:ident: $type:ty,)*) => {
        /// A device's properties; see [`crate::Properties`] for their meaning.
        #[repr(C)]
        #[derive(Debug, Clone, Copy)]
        pub struct Properties {
            $(pub $field: $type,)*
        }

        impl From<&Properties> for crate::Properties {
            fn from(of: &Properties) -> Self {
                let mut all = Self::NONE;
                $(all.$field = of.$field.into();)*
                all
            }
        }

        impl From<&crate::Properties> for Properties {
            fn from(of: &crate::Properties) -> Self {
                Self { $($field: crate::properties::Reported::reported(of.$field),)* }
            }
        }
    };
}

/// Defines a version's table, function by function as in C.
macro_rules! table {
    ($version:literal $symbol:literal { $($function:ident: $type:ty,)* }) => {
        /// The plugin's name and functions.
        #[repr(C)]
        #[derive(Debug, Clone, Copy)]
        pub struct Net {
            pub name: *const crate::layout::c_char,
            $(pub $function: Option<$type>,)*
        }

        // SAFETY: tests compare sizes and offsets with those a C compiler gives.
        unsafe impl crate::layout::Table for Net {
            const SYMBOL: &'static std::ffi::CStr = $symbol;
            const VERSION: u32 = $version;
        }

        // SAFETY: functions and a pointer to a constant text; safe code can only copy them.
        unsafe impl Send for Net {}
        // SAFETY: as above.
        unsafe impl Sync for Net {}

        impl crate::versions::Net for Net {
            const EMPTY: Self = Self { name: std::ptr::null(), $($function: None,)* };

            fn functions(&self) -> crate::call::Functions {
                crate::call::Functions {
                    $($function: self.$function.map(Into::into),)*
                    ..crate::call::Functions::none($version, self.name)
                }
            }
        }

        impl<N: crate::export::Network> crate::export::Export<N> for Net {
            const TABLE: Self = Self {
                name: N::NAME.as_ptr(),
                $($function: crate::export::exported!(N $function),)*
            };
        }
    };
}

pub(super) use {properties, table};
