//! How large the pages of the program's memory are. The allocator asks for huge ones (2 MiB) where the system has them on
//! demand; whether it gets them is a switch of the whole process. Knows nothing of what the memory is for.
//!
//! Measured with 100 and 300 cells, each a process of its own (docs/performance.md): a lab takes half the CPU time with them
//! and a tenth more memory, a run an eighth less and a third more. A run with its lab in one process was not measured. Where the switch can't be had, it costs no more than that.

/// For a program of which most waits: a huge page is cleared and kept whole for a few bytes.
pub(super) fn small() {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// For a lab: it holds many small objects, and looks at all of them all the time. In a virtual machine a page that is not at
/// hand is looked up twice.
pub(super) fn huge() {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(false);
}
