//! The callee of a variadic call with five named arguments. It follows the architecture's procedure call
//! standard: it saves the registers that hold arguments, and passes the named ones and a `va_list` to
//! [`take`].

use std::ffi::{c_char, c_int, c_ulong};

use super::{Sink, take};

/// Takes a variadic call of System V for AMD64, "Variable Argument Lists". The list is `{ gp_offset: u32,
/// fp_offset: u32, overflow_arg_area, reg_save_area }`. The five named arguments are in the first five of six
/// registers, so the first offset is 40.
///
/// The frame has 216 bytes, with the return address a multiple of 16: the list at 0, the saved registers at
/// 32.
#[cfg(all(target_os = "linux", target_arch = "x86_64", target_pointer_width = "64"))]
#[unsafe(naked)]
pub(super) unsafe extern "C" fn entry<S: Sink>(
    _: c_int,
    _: c_ulong,
    _: *const c_char,
    _: c_int,
    _: *const c_char,
) {
    std::arch::naked_asm!(
        ".cfi_startproc",
        "sub rsp, 216",
        ".cfi_adjust_cfa_offset 216",
        "mov [rsp + 32 + 40], r9",
        // An upper bound of the vector registers that the caller has used.
        "test al, al",
        "je 2f",
        "movaps [rsp + 32 + 48], xmm0",
        "movaps [rsp + 32 + 64], xmm1",
        "movaps [rsp + 32 + 80], xmm2",
        "movaps [rsp + 32 + 96], xmm3",
        "movaps [rsp + 32 + 112], xmm4",
        "movaps [rsp + 32 + 128], xmm5",
        "movaps [rsp + 32 + 144], xmm6",
        "movaps [rsp + 32 + 160], xmm7",
        "2:",
        "mov dword ptr [rsp], 40",
        "mov dword ptr [rsp + 4], 48",
        // The caller's arguments on the stack, above the return address.
        "lea rax, [rsp + 216 + 8]",
        "mov [rsp + 8], rax",
        "lea rax, [rsp + 32]",
        "mov [rsp + 16], rax",
        "mov r9, rsp",
        "call {take}",
        "add rsp, 216",
        ".cfi_adjust_cfa_offset -216",
        "ret",
        ".cfi_endproc",
        take = sym take::<S>,
    )
}

/// Takes a variadic call of AAPCS64, "Variadic functions". The list is `{ stack, gr_top, vr_top, gr_offs:
/// i32, vr_offs: i32 }`. The five named arguments are in `x0` to `x4`, so three general registers are left.
///
/// The frame has 208 bytes: `x29` and `x30` at 0, the list at 16, `x5` to `x7` at 56, `q0` to `q7` at 80.
#[cfg(all(target_os = "linux", target_arch = "aarch64", target_pointer_width = "64"))]
#[unsafe(naked)]
pub(super) unsafe extern "C" fn entry<S: Sink>(
    _: c_int,
    _: c_ulong,
    _: *const c_char,
    _: c_int,
    _: *const c_char,
) {
    std::arch::naked_asm!(
        ".cfi_startproc",
        "stp x29, x30, [sp, #-208]!",
        ".cfi_adjust_cfa_offset 208",
        ".cfi_offset x29, -208",
        ".cfi_offset x30, -200",
        "mov x29, sp",
        "str x5, [sp, #56]",
        "stp x6, x7, [sp, #64]",
        "stp q0, q1, [sp, #80]",
        "stp q2, q3, [sp, #112]",
        "stp q4, q5, [sp, #144]",
        "stp q6, q7, [sp, #176]",
        // The caller's arguments on the stack, which is also where the saved vectors end.
        "add x9, sp, #208",
        "add x10, sp, #80",
        "stp x9, x10, [sp, #16]",
        "str x9, [sp, #32]",
        "mov w9, #-24",
        "mov w10, #-128",
        "stp w9, w10, [sp, #40]",
        "add x5, sp, #16",
        "bl {take}",
        "ldp x29, x30, [sp], #208",
        ".cfi_adjust_cfa_offset -208",
        ".cfi_restore x29",
        ".cfi_restore x30",
        "ret",
        ".cfi_endproc",
        take = sym take::<S>,
    )
}

/// Takes the named arguments alone. On these architectures a variadic call passes them as any other call
/// does, and the caller removes the rest.
#[cfg(all(
    target_os = "linux",
    any(
        target_arch = "riscv64",
        target_arch = "loongarch64",
        target_arch = "powerpc64",
        target_arch = "s390x"
    )
))]
pub(super) unsafe extern "C" fn entry<S: Sink>(
    level: c_int,
    flags: c_ulong,
    file: *const c_char,
    line: c_int,
    format: *const c_char,
) {
    // SAFETY: there is no list.
    unsafe { take::<S>(level, flags, file, line, format, std::ptr::null_mut()) }
}

#[cfg(not(all(
    target_os = "linux",
    target_pointer_width = "64",
    any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "riscv64",
        target_arch = "loongarch64",
        target_arch = "powerpc64",
        target_arch = "s390x"
    )
)))]
compile_error!("how a variadic call passes its arguments is not known here for this system");
