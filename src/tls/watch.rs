//! A thread that looks now and then whether certificates have changed.

use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Source;
use super::certificates::Certificates;

/// Between two looks. A change counts when it was seen twice, so within three seconds.
const INTERVAL: Duration = Duration::from_secs(1);

/// Starts the thread, if any of these can change. It ends when nobody else has any of them.
///
/// # Errors
///
/// The system's, if there can be no more threads.
pub(crate) fn watch(all: &[Arc<Certificates>]) -> io::Result<()> {
    let all: Vec<Weak<Certificates>> = all
        .iter()
        .filter(|certificates| certificates.can_change())
        .map(Arc::downgrade)
        .collect();
    if all.is_empty() {
        return Ok(());
    }
    std::thread::Builder::new()
        .name("ringhall-certs".to_owned())
        .spawn(move || {
            loop {
                rest();
                let mut alive = all.iter().filter_map(Weak::upgrade).peekable();
                if alive.peek().is_none() {
                    break;
                }
                alive.for_each(|certificates| look(&certificates));
            }
        })
        .map(drop)
}

#[allow(
    clippy::disallowed_methods,
    reason = "this thread is no core, and has nothing else to do"
)]
fn rest() {
    std::thread::sleep(INTERVAL);
}

fn look(certificates: &Certificates) {
    let Source::Files { chain, .. } = certificates.source() else {
        return;
    };
    let chain = chain.display();
    match certificates.refresh() {
        None => {}
        Some(Ok(())) => log::info!("new connections get the new certificate of {chain}"),
        Some(Err(problem)) => log::warn!(
            "the certificate of {chain} has changed and cannot be used, so the old one stays: setting `{}` {}",
            problem.setting,
            problem.text
        ),
    }
}
