//! How large the pages of the program's memory are. The allocator asks for huge ones (2 MiB) where the system has them on
//! demand; whether it gets them is a switch of the whole process. Knows nothing of what the memory is for.
//!
//! Measured with 100 and 300 cells, each a process of its own (docs/performance.md): a lab takes half the CPU time with them
//! and a tenth more memory, a run an eighth less and a third more. A run with its lab in one process was not measured. Where the switch can't be had, it costs no more than that.

/// What the allocator reads when the program starts (mimalloc 3). With 2 it gives memory back by whole huge pages.
#[cfg(target_os = "linux")]
const GIVES_BACK: &str = "MIMALLOC_ALLOW_THP";

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

/// For a lab, before anything else is begun: the program starts again in its own place, unless the allocator has been told how
/// to give memory back. By itself it does so by 64 KiB, which takes a huge page apart for good: after four minutes with a
/// thousand cells half of a lab's memory had none. Where the program is not found again, it goes on as it is.
pub(super) fn kept_whole() {
    #[cfg(target_os = "linux")]
    if std::env::var_os(GIVES_BACK).is_none()
        && let Ok(program) = std::env::current_exe()
    {
        use std::os::unix::process::CommandExt as _;
        let mut words = std::env::args_os();
        let mut again = std::process::Command::new(program);
        if let Some(name) = words.next() {
            again.arg0(name);
        }
        // Comes back only where it could not be started.
        let _ = again.args(words).env(GIVES_BACK, "2").exec();
    }
}
