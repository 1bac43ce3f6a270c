//! Clari Copilot's limit of 10 requests a second, on the real clock.
//!
//! In a binary of its own, so that no other test takes the processor away between a request and its arrival.

use acceptance::copilot::{Reading, answer};
use headwater::Timestamp;
use headwater_sandbox::CopilotOptions;

#[tokio::test]
async fn the_limit_per_second_is_never_run_into() {
    let sandbox = acceptance::sandbox(CopilotOptions::default()).await;
    let (source, context) = acceptance::open("clari-copilot", answer(&sandbox.base_url()));
    let stream = source.stream("call_details").unwrap();
    let mut reading = Reading::begin(&stream, None, Timestamp::now()).unwrap();
    for _ in 0..60 {
        reading.step().await.unwrap();
    }
    assert_eq!(context.meter.retries(), 0);
    let stats = sandbox.stats();
    assert_eq!(stats.requests, 60);
    assert_eq!(stats.throttled, 0, "{stats:?}");
}
