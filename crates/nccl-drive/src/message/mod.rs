//! The logger that a plugin is given, and the messages that arrive by it.
//!
//! The logger is a variadic function of C (`ncclDebugLogger_t`). Stable Rust can call such a function and
//! cannot define one, so `entry` is written in assembly. It gathers a call's arguments into a `va_list`, from
//! which C's `vsnprintf` makes the text. On architectures without such an entry a message is its format.

mod entry;
mod format;

use std::{
    ffi::{c_char, c_int, c_ulong, c_void},
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
};

use self::format::Errno;
use gputcp_nccl_net::layout::functions::Logger;

use crate::foreign;

/// A message of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// One of the `LOG_*` numbers.
    pub level: c_int,
    /// The subsystems that it belongs to.
    pub flags: u64,
    /// The name of the source file, as the plugin gives it.
    pub file: String,
    /// The line in that file.
    pub line: c_int,
    /// The text, on one line and without control characters.
    pub text: String,
}

/// Takes the messages of plugins, on any thread.
pub trait Sink: 'static {
    /// Returns whether the sink takes messages of a level. Others are not formatted.
    fn wants(level: c_int) -> bool;

    /// Takes a message. A panic ends here, and does not reach the plugin.
    fn take(message: Message);
}

/// Returns the logger that brings messages to a sink.
#[must_use]
pub fn logger<S: Sink>() -> Logger {
    type Fixed = unsafe extern "C" fn(c_int, c_ulong, *const c_char, c_int, *const c_char);
    type Variadic = unsafe extern "C" fn(c_int, c_ulong, *const c_char, c_int, *const c_char, ...);
    // SAFETY: a pointer to a function as another: `entry` takes a variadic call as the architecture has it.
    Some(unsafe { mem::transmute::<Fixed, Variadic>(entry::entry::<S>) })
}

/// Takes the named arguments of a call and a `va_list` of the others, NULL where there is none.
unsafe extern "C" fn take<S: Sink>(
    level: c_int,
    flags: c_ulong,
    file: *const c_char,
    line: c_int,
    format: *const c_char,
    arguments: *mut c_void,
) {
    // The plugin may look at `errno` after it has logged something.
    let reason = Errno::now();
    // A panic costs this message.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        if S::wants(level) {
            // SAFETY: the list is of this call.
            let text = unsafe { format::text(format, arguments, reason) };
            let file = foreign::shown(file, FILE_BYTES);
            let file = file.rsplit('/').next().unwrap_or_default().to_owned();
            S::take(Message { level, flags, file, line, text });
        }
    }));
    reason.put_back();
}

/// As long as a path can be (PATH_MAX).
const FILE_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, ptr};

    use super::*;

    struct Kept;

    thread_local! {
        static LAST: RefCell<Option<Message>> = const { RefCell::new(None) };
    }

    impl Sink for Kept {
        fn wants(level: c_int) -> bool {
            level != 5
        }

        fn take(message: Message) {
            assert_ne!(message.text, "panic");
            LAST.replace(Some(message));
        }
    }

    /// The text of a call's message.
    macro_rules! said {
        ($format:expr $(, $argument:expr)*) => {{
            // SAFETY: the texts end in zeros; the arguments are of the format's types.
            unsafe { logger::<Kept>().unwrap()(2, 16, c"/a/b/net.cc".as_ptr(), 7, $format.as_ptr() $(, $argument)*) };
            LAST.take().expect("it arrived").text
        }};
    }

    #[test]
    fn arguments_are_put_in_wherever_they_travel() {
        assert_eq!(said!(c"plain, 100 %%\n"), "plain, 100 %");
        assert_eq!(said!(c"no %s for %d", c"slot".as_ptr(), -5 as c_int), "no slot for -5");
        // More whole numbers, and more fractions, than there are registers for, in turns.
        assert_eq!(
            said!(
                c"%d %.1f %ld %.2f %u %.1f %d %.1f %d %.1f %d %.1f %d %.1f %d %.1f %d %.1f %d %.1f %s",
                1 as c_int,
                1.5f64,
                -2i64,
                2.25f64,
                u32::MAX,
                3.5f64,
                4 as c_int,
                4.5f64,
                5 as c_int,
                5.5f64,
                6 as c_int,
                6.5f64,
                7 as c_int,
                7.5f64,
                8 as c_int,
                8.5f64,
                9 as c_int,
                9.5f64,
                10 as c_int,
                10.5f64,
                c"end".as_ptr()
            ),
            "1 1.5 -2 2.25 4294967295 3.5 4 4.5 5 5.5 6 6.5 7 7.5 8 8.5 9 9.5 10 10.5 end"
        );
        assert_eq!(
            said!(c"%*d|%-4s|%c|%zx", 5 as c_int, 42 as c_int, c"ab".as_ptr(), 88 as c_int, 255usize),
            "   42|ab  |X|ff"
        );
    }

    #[test]
    fn the_named_arguments_arrive_and_the_text_is_fit_for_a_terminal() {
        assert_eq!(said!(c"a\x1b[31m\nb"), "a·[31m·b");
        // SAFETY: as above; the logger takes NULL as well.
        unsafe { logger::<Kept>().unwrap()(3, c_ulong::MAX, c"/a/b/net.cc".as_ptr(), -1, c"x".as_ptr()) };
        let message = LAST.take().unwrap();
        assert_eq!((message.level, message.flags, message.line), (3, u64::MAX, -1));
        assert_eq!((message.file.as_str(), message.text.as_str()), ("net.cc", "x"));
        // SAFETY: as above.
        unsafe { logger::<Kept>().unwrap()(3, 0, ptr::null(), 0, ptr::null()) };
        let message = LAST.take().unwrap();
        assert_eq!((message.file.as_str(), message.text.as_str()), ("", ""));
    }

    #[test]
    fn what_is_no_text_is_said_and_what_is_too_long_is_cut() {
        // SAFETY: a pointer to nothing, which the logger finds out.
        unsafe { logger::<Kept>().unwrap()(2, 0, ptr::null(), 0, ptr::without_provenance(64)) };
        assert_eq!(LAST.take().unwrap().text, "(a pointer to no memory)");
        assert_eq!(said!(c"%2000d", 1 as c_int).trim(), "");
        let long = said!(c"%s%5000s", c"start".as_ptr(), c"end".as_ptr());
        assert!(long.starts_with("start") && long.len() < 1100, "{}", long.len());
        // A format that C refuses is shown as it is.
        assert_eq!(said!(c"a lone %"), "a lone %");
    }

    #[test]
    fn what_nobody_wants_and_what_panics_ends_here() {
        // SAFETY: as above.
        unsafe { logger::<Kept>().unwrap()(5, 0, ptr::null(), 0, c"trace".as_ptr()) };
        // SAFETY: as above.
        unsafe { logger::<Kept>().unwrap()(2, 0, ptr::null(), 0, c"panic".as_ptr()) };
        assert!(LAST.take().is_none());
    }

    #[test]
    fn the_reason_that_the_system_gave_is_left_alone() {
        unsafe extern "C" {
            safe fn close(fd: c_int) -> c_int;
        }
        assert_eq!(close(-1), -1);
        let before = std::io::Error::last_os_error().raw_os_error();
        assert_eq!(said!(c"%m"), "Bad file descriptor");
        assert_eq!(std::io::Error::last_os_error().raw_os_error(), before);
    }
}
