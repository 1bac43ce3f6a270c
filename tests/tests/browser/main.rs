//! The console in a real browser: the shipped binary, the simulator, and everything that people do with them.

mod adding;
mod author;

use acceptance::{browser::Browser, service::Service};

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater-under-test");

/// A service and a window that looks at it; none where there is no browser.
async fn console() -> Option<(Service, Browser)> {
    let service = Service::start(HEADWATER, &[]);
    let browser = Browser::start(&service.address).await?;
    Some((service, browser))
}
