//! A panic is a bug of this program: it costs the cell in which it happens its verdict, and nothing else. The
//! others go on, and what the cell has made is torn down.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;

use crate::event::Problem;
use crate::tasks::boxed;

/// What `work` came to; a panic in it becomes a problem. What it shared is guarded by locks that are read again
/// after a panic, or by the ledger.
pub(super) fn caught<T>(what: &str, work: impl Future<Output = T>) -> impl Future<Output = Result<T, Problem>> {
    AssertUnwindSafe(boxed(work)).catch_unwind().map(move |done| {
        done.map_err(|panic| {
            let mut problem = Problem::new(format!("mtv-matrix broke while {what}: {}", words(&*panic)));
            problem.details.push("this is a bug of mtv-matrix: standard error has the place in its code".to_owned());
            problem
        })
    })
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_becomes_a_problem_that_names_it() {
        let broken = caught("verifying", async {
            let none: Option<u8> = std::hint::black_box(None);
            none.expect("a VM that is not there")
        });
        let problem = broken.await.unwrap_err();
        assert!(problem.message.contains("while verifying: a VM that is not there"), "{}", problem.message);
        assert_eq!(caught("counting", async { 3 }).await.unwrap(), 3);
    }
}
